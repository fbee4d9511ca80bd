//! The pipeline's binary: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let config = match terminal::parse::<pipeline::Config>() {
        Ok(config) => config,
        Err(code) => return code,
    };
    // What serves and watches; each part has a thread of its own.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(THREADS_MAX).build();
    let runtime = runtime.expect("a runtime with one thread can always be built");
    let code = match runtime.block_on(pipeline::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => terminal::complain("pipeline", &error),
    };
    // What hangs must not keep the program from its end.
    runtime.shutdown_background();
    code
}

/// For readers of the file, and for those who watch the servers.
const THREADS_MAX: usize = 12;
