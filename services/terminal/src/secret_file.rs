//! Secrets that stand in files: a variable NAME that must not be seen may be given as NAME_FILE, which names a file that
//! holds the value. Containers, units and orchestrators hand secrets over so.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::Unusable;

/// A longer file is no secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What `--help` says of it, once in each verb that takes a secret.
const HELP: &str = "A secret may stand in a file. So each of these variables may be set as NAME_FILE, too:";

/// What is wrong with the file of one argument. It is only told to who uses that argument.
pub(crate) struct Wrong {
    argument: clap::Id,
    sentence: String,
}

/// The file that holds an argument's value, if one is named. A variable of this name that is an argument itself is left to it.
pub fn secret_file(argument: &Arg, others: &[OsString]) -> Option<OsString> {
    named(argument, others, &|variable| std::env::var_os(variable))
}

fn named(argument: &Arg, others: &[OsString], var: &dyn Fn(&OsStr) -> Option<OsString>) -> Option<OsString> {
    var(&file_variable(argument, others)?).filter(|file| !file.is_empty())
}

/// NAME_FILE, if the argument is a secret and nobody else has that variable.
fn file_variable(argument: &Arg, others: &[OsString]) -> Option<OsString> {
    let mut variable = argument.get_env().filter(|_| argument.is_hide_env_values_set())?.to_owned();
    variable.push("_FILE");
    (!others.contains(&variable)).then_some(variable)
}

/// The variables of a verb's arguments.
pub fn variables(verb: &Command) -> Vec<OsString> {
    verb.get_arguments().filter_map(Arg::get_env).map(OsStr::to_owned).collect()
}

/// The command with the values of all secrets whose files are named, as defaults: a flag is stronger.
pub(crate) fn with_files(
    command: Command,
    var: &dyn Fn(&OsStr) -> Option<OsString>,
    wrong: &mut Vec<Wrong>,
) -> Command {
    let others = variables(&command);
    let command = with_help(command, &others);
    let command = command.mut_args(|argument| {
        let Some(file) = named(&argument, &others, var) else { return argument };
        let mut failed =
            |argument: &Arg, sentence| wrong.push(Wrong { argument: argument.get_id().clone(), sentence });
        let (name, name_file) = (argument.get_env(), file_variable(&argument, &others));
        let [name, name_file] = [name, name_file.as_deref()].map(|name| name.unwrap_or_default().to_string_lossy());
        if argument.get_env().and_then(var).is_some_and(|value| !value.is_empty()) {
            failed(&argument, format!("{name} and {name_file} are both set, and one is enough"));
            return argument;
        }
        match read_secret(Path::new(&file)) {
            // The value lives as long as the program does, like all of its settings.
            Ok(value) => argument.default_value(&*value.leak()).hide_default_value(true),
            Err(why) => {
                failed(&argument, format!("{name_file} {}: {why}", file.to_string_lossy()));
                argument
            }
        }
    });
    command.mut_subcommands(|verb| with_files(verb, var, wrong))
}

fn with_help(verb: Command, others: &[OsString]) -> Command {
    let secret = |argument: &Arg| file_variable(argument, others).and(argument.get_env()).map(OsStr::to_os_string);
    let names: Vec<_> = verb.get_arguments().filter_map(secret).collect();
    if names.is_empty() {
        return verb;
    }
    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
    let before = verb.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
    verb.after_help(format!("{before}{HELP}\n{}", names.join(", ")))
}

/// The line that a file of a secret holds; or why it cannot be used, without what is in it.
pub fn read_secret(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = File::open(file).map_err(|error| error.to_string())?;
    opened.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("there is nothing in it".to_owned()),
        line if line.contains('\n') => Err("it holds more than one line".to_owned()),
        _ if text.len() as u64 > SECRET_BYTES_MAX => Err("that is too long for a secret".to_owned()),
        line => Ok(line.to_owned()),
    }
}

/// The first complaint about a file that the verb which was asked for needs.
pub(crate) fn complaint(wrong: &[Wrong], matches: &ArgMatches) -> Option<Unusable> {
    let needed = |one: &&Wrong| {
        let known = matches.try_contains_id(one.argument.as_str()).is_ok();
        known && matches.value_source(one.argument.as_str()) != Some(ValueSource::CommandLine)
    };
    let here = wrong.iter().find(needed).map(|one| Unusable(one.sentence.clone()));
    here.or_else(|| complaint(wrong, matches.subcommand()?.1))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Write;
    use std::path::PathBuf;

    use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

    use super::*;
    use crate::Secret;

    #[derive(Debug, Parser)]
    #[command(name = "tool")]
    struct Line {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Debug, Subcommand)]
    enum Verb {
        #[command(after_help = "Examples:\n  tool run")]
        Run {
            #[arg(long, env = "TOOL_URL", hide_env_values = true, default_value = "store://here")]
            url: Secret,
            /// Has a file of its own
            #[arg(long, env = "TOOL_KEY", hide_env_values = true)]
            key: Option<Secret>,
            #[arg(long, env = "TOOL_KEY_FILE")]
            key_file: Option<PathBuf>,
            #[arg(long, env = "TOOL_NAME")]
            name: Option<String>,
        },
        Other,
    }

    /// A file that lives as long as the test.
    struct Held(PathBuf);

    impl Held {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("terminal-{}-{name}", std::process::id()));
            File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
            Self(path)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn run(line: &[&str], variables: &[(&str, &str)]) -> Result<Verb, String> {
        let variables: HashMap<OsString, OsString> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut wrong = vec![];
        let command = with_files(Line::command(), &|name| variables.get(name).cloned(), &mut wrong);
        let matches = command.try_get_matches_from(line).map_err(|error| error.to_string())?;
        match complaint(&wrong, &matches) {
            Some(complaint) => Err(complaint.0),
            None => Ok(Line::from_arg_matches(&matches).expect("parsed").verb),
        }
    }

    fn url(line: &[&str], variables: &[(&str, &str)]) -> Result<String, String> {
        run(line, variables).map(|verb| match verb {
            Verb::Run { url, .. } => url.reveal().to_owned(),
            Verb::Other => unreachable!(),
        })
    }

    #[test]
    fn a_secret_is_read_from_the_file_that_its_variable_names() {
        let held = Held::new("one", "store://me:hunter2@there\n");
        let file = [("TOOL_URL_FILE", held.0.to_str().expect("a name"))];
        assert_eq!(url(&["tool", "run"], &file).expect("read"), "store://me:hunter2@there");
        // A flag is stronger; nothing at all leaves the default.
        assert_eq!(url(&["tool", "run", "--url", "store://x"], &file).expect("a flag"), "store://x");
        for unset in [&[][..], &[("TOOL_URL_FILE", "")]] {
            assert_eq!(url(&["tool", "run"], unset).expect("the default"), "store://here");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_its_secret_is_not() {
        let empty = Held::new("empty", "\n");
        let lines = Held::new("lines", "hunter2\nhunter3\n");
        let files = [
            (empty.0.as_path(), "there is nothing in it"),
            (lines.0.as_path(), "more than one line"),
            (std::path::Path::new("/nowhere/url"), "No such file"),
        ];
        for (path, why) in files {
            let path = path.to_str().expect("a name");
            let said = url(&["tool", "run"], &[("TOOL_URL_FILE", path)]).expect_err("must be refused");
            assert!(said.starts_with(&format!("TOOL_URL_FILE {path}: ")) && said.contains(why), "{said}");
            assert!(!said.contains("hunter"), "{said}");
        }
        let both = [("TOOL_URL", "store://a"), ("TOOL_URL_FILE", "/nowhere/url")];
        assert_eq!(
            url(&["tool", "run"], &both).expect_err("both"),
            "TOOL_URL and TOOL_URL_FILE are both set, and one is enough"
        );
    }

    #[test]
    fn who_needs_no_secret_does_not_hear_of_its_file() {
        let file = [("TOOL_URL_FILE", "/nowhere/url")];
        assert!(matches!(run(&["tool", "other"], &file), Ok(Verb::Other)));
        assert_eq!(url(&["tool", "run", "--url", "store://x"], &file).expect("a flag"), "store://x");
    }

    #[test]
    fn a_variable_that_is_an_argument_itself_stays_one_and_what_is_no_secret_has_no_file() {
        let mine = [("TOOL_KEY_FILE", "/some/key"), ("TOOL_NAME_FILE", "/nowhere/name")];
        match run(&["tool", "run"], &mine).expect("left alone") {
            Verb::Run { key: None, key_file, name: None, .. } => {
                assert!(key_file.is_none(), "this test's variables are not clap's");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn help_says_it_once_and_shows_no_value() {
        let held = Held::new("help", "store://me:hunter2@there\n");
        let file = [("TOOL_URL_FILE", held.0.to_str().expect("a name"))];
        let help = run(&["tool", "run", "--help"], &file).expect_err("help");
        assert!(
            help.contains("tool run\n\nA secret may stand in a file.") && help.contains("too:\nTOOL_URL\n"),
            "{help}"
        );
        assert!(!help.contains("hunter2"), "{help}");
        assert!(!run(&["tool", "other", "--help"], &file).expect_err("help").contains("NAME_FILE"));
    }
}
