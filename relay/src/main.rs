//! The relay's binary: parse, run, exit code.

use clap::Parser;

fn main() -> std::process::ExitCode {
    let cli = match relay::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return relay::explain(&error),
    };
    // One thread is the fastest: the loop waits for one store or the other, and hands nothing over.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.expect("a runtime with one thread can always be built").block_on(relay::run(cli)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => relay::complain(&error),
    }
}
