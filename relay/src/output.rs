//! What the verbs print: tables, JSON, a line of progress.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;

/// A closed pipe (`relay status | head -1`) is no failure.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?));
    Ok(())
}

/// Columns under a head; each as wide as its widest cell, and what could disturb a terminal left out.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let clean = |cell: &str| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{:<width$}", clean(cell))).collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}

pub(crate) fn age(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1}s"),
        s if s < 3600.0 => format!("{:.0}m", s / 60.0),
        s if s < 172_800.0 => format!("{:.1}h", s / 3600.0),
        s => format!("{:.0}d", s / 86_400.0),
    }
}

/// A line on the terminal that counts, a few times a second; nothing where nobody looks.
pub(crate) struct Progress {
    what: &'static str,
    shown_at: Option<Instant>,
    visible: bool,
}

impl Progress {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, shown_at: None, visible: std::io::stderr().is_terminal() }
    }

    pub(crate) fn show(&mut self, count: i64) {
        if self.visible && self.shown_at.is_none_or(|at| at.elapsed() > Duration::from_millis(200)) {
            self.shown_at = Some(Instant::now());
            eprint!("\r{} {count} rows ...", self.what);
        }
    }

    pub(crate) fn clear(&self) {
        if self.shown_at.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_must_be() {
        let rows = [["stream", "unsent"], ["a\u{1b}[31m", "1000"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "stream  unsent\na [31m  1000\n");
    }
}
