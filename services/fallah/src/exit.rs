//! Exit codes of the offline verbs, and output that bears a closed pipe.

use std::io;
use std::process::ExitCode;

/// Everything was as hoped.
pub(crate) const EXIT_FINE: u8 = 0;
/// The verb worked, and its answer is no: disallowed, not a sitemap, not an address.
pub(crate) const EXIT_NO: u8 = 1;
/// Wrong arguments (EX_USAGE).
pub(crate) const EXIT_USAGE: u8 = 64;
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

/// What may be shown of text from the web: control characters could move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The same for text of several lines.
pub(crate) fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}
