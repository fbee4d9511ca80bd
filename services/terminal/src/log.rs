//! What is logged, and how lines look. Always to stderr: stdout belongs to the verb's answer.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Checks a filter. A single word that is no level would be a module that nobody has, and silence.
pub fn log_filter(text: &str) -> Result<String, String> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let word = !text.contains(['=', ',', ':']);
    if word && !levels.contains(&text.to_lowercase().as_str()) {
        return Err(format!("a level is one of {}", levels.join(", ")));
    }
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A time as everything else tells it: UTC, to the millisecond.
struct Time;

impl FormatTime for Time {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(w, "{:.3}", jiff::Timestamp::now())
    }
}

/// Lets the log begin. What the driver of Postgres warns of when a connection ends, our own lines say better.
pub fn trace(filter: &str, format: LogFormat) {
    let ours = filter == "off" || filter.contains("sqlx");
    let filter = if ours { filter.to_owned() } else { format!("{filter},sqlx=error") };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_timer(Time)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        assert!(log_filter("info").is_ok() && log_filter("tool=debug,warn").is_ok());
        assert_eq!(
            log_filter("loud").expect_err("no level"),
            "a level is one of off, error, warn, info, debug, trace"
        );
    }
}
