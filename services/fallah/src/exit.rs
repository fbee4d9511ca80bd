//! Exit codes of the offline verbs, and output that bears a closed pipe.

use std::io;
use std::process::ExitCode;

pub(crate) use terminal::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, printable};

/// A file that cannot be read (EX_NOINPUT).
pub(crate) const EXIT_NO_INPUT: u8 = 66;

/// What a verb found, as an exit code. A closed pipe (`fallah sitemap parse ... | head -1`) is no failure.
pub(crate) fn code(result: io::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fallah: the output could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}
