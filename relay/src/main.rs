//! The relay's binary: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match terminal::parse::<relay::Cli>() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // One thread is the fastest: the loop waits for one store or the other, and hands nothing over.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.expect("a runtime with one thread can always be built").block_on(relay::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => terminal::complain("relay", &error),
    }
}
