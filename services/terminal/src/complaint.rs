//! What is said when flags or settings are wrong, or a verb fails: one line, and an exit code.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Parser};

use crate::secret_file::{self, with_files};
use crate::setting::credentials;

/// All was done; or the answer is yes.
pub const EXIT_DONE: u8 = 0;
/// Something failed; or the answer is no.
pub const EXIT_FAILED: u8 = 1;
/// Wrong flags or settings (EX_USAGE).
pub const EXIT_USAGE: u8 = 64;

/// A setting or a file is wrong: the sentence says which, and how. A verb that fails with it exits with 64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// The same as an error of a verb.
pub fn unusable(sentence: impl Into<String>) -> anyhow::Error {
    Unusable(sentence.into()).into()
}

/// The command line, or the code to leave with: what was asked for, or what is wrong with it, has been printed then.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    let mut wrong = vec![];
    let command = with_files(C::command(), &|variable| std::env::var_os(variable), &mut wrong);
    let command = without_variables(command, &is_empty);
    let command = without_passwords(command, &|variable| std::env::var_os(variable));
    let matches = command.clone().try_get_matches();
    if let Some(complaint) = matches.as_ref().ok().and_then(|matches| secret_file::complaint(&wrong, matches)) {
        eprintln!("{}: {complaint}", command.get_name());
        return Err(ExitCode::from(EXIT_USAGE));
    }
    let parsed = matches.and_then(|mut matches| C::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| ExitCode::from(explain(&command, &error)))
}

/// Settings as the environment has them, with these flags on top: for a program that runs another one inside.
pub fn settings<C: Parser>(flags: &[String]) -> Result<C, Unusable> {
    let mut wrong = vec![];
    let command = with_files(C::command(), &|variable| std::env::var_os(variable), &mut wrong);
    let command = without_variables(command, &is_empty);
    let line = std::iter::once(command.get_name().to_owned()).chain(flags.iter().cloned());
    let matches = command.clone().try_get_matches_from(line);
    if let Some(complaint) = matches.as_ref().ok().and_then(|matches| secret_file::complaint(&wrong, matches)) {
        return Err(Unusable(complaint.to_string()));
    }
    let parsed = matches.and_then(|mut found| C::from_arg_matches_mut(&mut found));
    parsed.map_err(|error| Unusable(sentence(&command, &error)))
}

fn is_empty(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}

/// A variable that is set to nothing is not set: compose files and unit files leave such behind.
fn without_variables(command: Command, empty: &dyn Fn(&OsStr) -> bool) -> Command {
    let command = command.mut_args(|argument| match argument.get_env() {
        Some(variable) if empty(variable) => argument.env(Resettable::Reset),
        _ => argument,
    });
    command.mut_subcommands(|verb| without_variables(verb, empty))
}

/// `--help` shows what a variable is set to; an address with credentials in it is not shown, whatever the variable is for.
fn without_passwords(command: Command, var: &dyn Fn(&OsStr) -> Option<OsString>) -> Command {
    let has_credentials = |value: OsString| credentials(&value.to_string_lossy()).is_some();
    let command = command.mut_args(|argument| match argument.get_env().and_then(var).is_some_and(has_credentials) {
        true => argument.hide_env_values(true),
        false => argument,
    });
    command.mut_subcommands(|verb| without_passwords(verb, var))
}

/// Prints what clap has to say. A wrong value is one sentence that names the flag and its variable.
fn explain(command: &Command, error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            EXIT_DONE
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            EXIT_USAGE
        }
        _ => {
            eprintln!("{}: {}", command.get_name(), sentence(command, error));
            EXIT_USAGE
        }
    }
}

fn sentence(command: &Command, error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut lines = text.lines();
    let mut sentence = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    // What is missing stands on lines of its own.
    for line in lines.take_while(|line| line.starts_with("  ")) {
        let _ = write!(sentence, " {}", line.trim());
    }
    sentence = in_plain_words(&without_credentials(&sentence));
    if let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && let Some(variable) = variable_of(command, argument)
    {
        let _ = write!(sentence, " ({variable})");
    }
    if let Some(meant) = suggestion(error) {
        let _ = write!(sentence, "; did you mean '{meant}'?");
    }
    sentence
}

/// What Rust has to say of numbers, for people who have never seen it.
fn in_plain_words(sentence: &str) -> String {
    let words = [
        ("invalid digit found in string", "a whole number is needed"),
        ("cannot parse integer from empty string", "a whole number is needed"),
        ("number would be zero for non-zero type", "it must be at least 1"),
        ("number too large to fit in target type", "it is too large"),
    ];
    words.iter().fold(sentence.to_owned(), |sentence, (theirs, ours)| sentence.replace(theirs, ours))
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
    let words = sentence.split(' ').map(|word| match word.split_once("://") {
        Some((_, rest)) if rest.contains('@') => "'...'",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The environment variable of a flag such as `--retention <DURATION>`, wherever among the verbs it stands.
fn variable_of(command: &Command, argument: &str) -> Option<String> {
    let flag = argument.split(' ').next()?.strip_prefix("--")?;
    let here = command.get_arguments().find(|argument| argument.get_long() == Some(flag));
    match here {
        Some(found) => Some(found.get_env()?.to_string_lossy().into_owned()),
        None => command.get_subcommands().find_map(|verb| variable_of(verb, argument)),
    }
}

/// Prints why a verb failed, causes and all, in one line, and answers with the exit code.
pub fn complain(program: &str, error: &anyhow::Error) -> ExitCode {
    eprintln!("{program}: {}", outbox::in_words(error.as_ref()));
    let usage = error.chain().any(|cause| cause.is::<Unusable>());
    ExitCode::from(if usage { EXIT_USAGE } else { EXIT_FAILED })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Subcommand};

    #[derive(Debug, Parser)]
    #[command(name = "tool")]
    struct Line {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Debug, Subcommand)]
    enum Verb {
        Run {
            #[arg(long, env = "TOOL_WAIT", value_parser = crate::duration)]
            wait: Option<std::time::Duration>,
            #[arg(long)]
            url: Option<u16>,
        },
    }

    fn complaint(line: &[&str]) -> String {
        let error = Line::try_parse_from(line).expect_err("must be refused");
        sentence(&Line::command(), &error)
    }

    #[test]
    fn a_wrong_value_names_its_flag_and_its_variable_in_one_line() {
        assert_eq!(
            complaint(&["tool", "run", "--wait", "soon"]),
            "invalid value 'soon' for '--wait <WAIT>': a duration is a number and a unit, such as 300ms, 2s or 24h (TOOL_WAIT)"
        );
        assert_eq!(
            complaint(&["tool", "run", "--url", "4M"]),
            "invalid value '4M' for '--url <URL>': a whole number is needed"
        );
        assert_eq!(complaint(&["tool", "rum"]), "unrecognized subcommand 'rum'; did you mean 'run'?");
        assert_eq!(
            complaint(&["tool", "run", "--wai", "2s"]),
            "unexpected argument '--wai' found; did you mean '--wait'?"
        );
    }

    #[test]
    fn a_variable_that_is_empty_is_not_set() {
        let command = without_variables(Line::command(), &|variable| variable == "TOOL_WAIT");
        let run = command.find_subcommand("run").expect("a verb");
        assert!(run.get_arguments().all(|argument| argument.get_env().is_none()));
        let command = without_variables(Line::command(), &|_| false);
        let run = command.find_subcommand("run").expect("a verb");
        assert!(run.get_arguments().any(|argument| argument.get_env().is_some()));
    }

    #[test]
    fn an_address_with_a_password_is_not_shown_in_the_help() {
        let help = |value: &'static str| {
            let shown = without_passwords(Line::command(), &move |_| Some(value.into()));
            let run = shown.find_subcommand("run").expect("a verb").clone();
            run.get_arguments().all(|argument| argument.get_env().is_none() || argument.is_hide_env_values_set())
        };
        assert!(help("http://me:hunter2@host") && !help("http://host"));
    }

    #[test]
    fn a_password_in_the_wrong_place_is_not_repeated() {
        assert!(!complaint(&["tool", "run", "--url", "store://me:hunter2@x"]).contains("hunter2"));
    }
}
