//! What is said when flags or settings are wrong, or a verb fails: one line, and an exit code.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{Cli, Error};

/// Wrong flags or settings (EX_USAGE).
const EXIT_USAGE: u8 = 64;

/// A setting is wrong: exit 64.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Usage(pub(crate) Error);

pub(crate) fn usage(sentence: &str) -> anyhow::Error {
    Usage(Error::Unusable(sentence.to_owned())).into()
}

/// Prints what clap has against the flags, and answers with the exit code. A wrong value is one sentence that names the
/// flag and its variable.
pub fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(EXIT_USAGE)
        }
        _ => {
            let text = error.render().to_string();
            let mut lines = text.lines();
            let mut sentence = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            // What is missing stands on lines of its own.
            for line in lines.take_while(|line| line.starts_with("  ")) {
                let _ = write!(sentence, " {}", line.trim());
            }
            let sentence = without_credentials(&sentence);
            let meant = suggestion(error).map_or(String::new(), |meant| format!("; did you mean '{meant}'?"));
            let variable = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(argument)) => variable_of(argument),
                _ => None,
            };
            eprintln!("relay: {sentence}{}{meant}", variable.map_or(String::new(), |name| format!(" ({name})")));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// What is alike, of all that there is.
fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(many) => Some(many.join("' or '")),
        _ => None,
    })
}

/// A URL in the wrong place may hold a password.
fn without_credentials(sentence: &str) -> String {
    let words = sentence.split(' ').map(|word| if word.contains("://") { "'...'" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// The environment variable of a flag such as `--retention <DURATION>`.
fn variable_of(argument: &str) -> Option<String> {
    let flag = argument.split(' ').next()?.strip_prefix("--")?;
    let command = Cli::command();
    let of = |command: &clap::Command| {
        let found = command.get_arguments().find(|argument| argument.get_long() == Some(flag))?;
        Some(found.get_env()?.to_string_lossy().into_owned())
    };
    command.get_subcommands().find_map(of).or_else(|| of(&command))
}

/// Prints why a verb failed, causes and all, in one line, and answers with the exit code.
pub fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("relay: {}", outbox::in_words(error.as_ref()));
    if error.is::<Usage>() { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
}
