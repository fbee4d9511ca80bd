//! What is being done, on a terminal only, in one line that is gone at the end.

use std::io::{IsTerminal, Write};

pub fn show(what: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{what} ...");
        let _ = stderr.flush();
    }
}

pub fn clear() {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K");
    }
}
