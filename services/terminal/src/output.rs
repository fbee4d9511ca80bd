//! What verbs print: tables for people, JSON for programs, and nothing that could disturb a terminal.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;

/// A closed pipe (`relay status | head -1`) is no failure.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A value for programs.
pub fn print_json(value: &impl Serialize) -> serde_json::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?));
    Ok(())
}

/// Columns under a head; each as wide as its widest cell.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{:<width$}", printable(cell))).collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}

/// How long ago, or how long.
pub fn age(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1}s"),
        s if s < 3600.0 => format!("{:.0}m", s / 60.0),
        s if s < 172_800.0 => format!("{:.1}h", s / 3600.0),
        s => format!("{:.0}d", s / 86_400.0),
    }
}

/// What may be shown of text from elsewhere: control characters could move a terminal's cursor, and marks of direction
/// could turn a line around.
pub fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect()
}

/// The same for text of several lines.
pub fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_must_be() {
        let rows = [["stream", "unsent"], ["a\u{1b}[31m", "1000"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "stream  unsent\na [31m  1000\n");
    }

    #[test]
    fn text_from_elsewhere_turns_no_line_around() {
        assert_eq!(printable("a\u{202e}b\u{7}c"), "a b c");
        assert_eq!(printable_lines("a\u{1b}\nb"), "a \nb");
    }

    #[test]
    fn an_age_has_one_unit() {
        assert_eq!([0.5, 90.0, 7200.0, 864_000.0].map(age), ["0.5s", "2m", "2.0h", "10d"]);
    }
}
