//! Fallah's binary: parse, run, exit code.

use clap::Parser;

fn main() -> std::process::ExitCode {
    let cli = match fallah::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return std::process::ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    // One thread for all that waits; pages are understood on threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    let runtime = runtime.expect("a runtime with one thread can always be built");
    let code = match runtime.block_on(fallah::run(cli)) {
        Ok(code) => code,
        Err(error) => fallah::complain(&error),
    };
    // A name that does not resolve must not keep the program from its end.
    runtime.shutdown_background();
    code
}
