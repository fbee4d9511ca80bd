//! Hasad's binary: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match terminal::parse::<hasad::Cli>() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // One thread for all that waits; files are written, and waited for, by threads of their own.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(FILES_AT_ONCE).build();
    match runtime.expect("a runtime with one thread can always be built").block_on(hasad::execute(cli)) {
        Ok(code) => code,
        Err(error) => hasad::complain(&error),
    }
}

/// A thread waits for the disk most of its time.
const FILES_AT_ONCE: usize = 32;
