//! Fallah's binary: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match terminal::parse::<fallah::Cli>() {
        Ok(cli) => cli,
        Err(code) => return code,
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
