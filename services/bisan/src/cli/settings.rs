//! What `run` would use, and where each setting comes from.

use std::ffi::OsString;

use clap::{Arg, CommandFactory};
use serde_json::json;
use terminal::{print, print_json, table};

use super::Cli;

/// A setting that must not be seen is shown as this.
const HIDDEN: &str = "...";

pub(super) fn show(json: bool) -> anyhow::Result<()> {
    let command = Cli::command();
    let run = command.get_subcommands().find(|verb| verb.get_name() == "run");
    let variables = run.map(terminal::variables).unwrap_or_default();
    let arguments = run.into_iter().flat_map(clap::Command::get_arguments);
    let rows: Vec<_> = arguments.filter_map(|argument| setting(argument, &variables)).collect();
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|[flag, variable, value, from]| json!({ "flag": flag, "variable": variable, "value": value, "from": from }))
            .collect();
        return Ok(print_json(&rows)?);
    }
    let head = ["flag", "variable", "value", "from"].map(str::to_owned);
    print(&table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    Ok(())
}

/// Flag, variable, value, and whence.
fn setting(argument: &Arg, variables: &[OsString]) -> Option<[String; 4]> {
    let (flag, variable) =
        (format!("--{}", argument.get_long()?), argument.get_env()?.to_string_lossy().into_owned());
    let default =
        || argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
    let (value, from) = match std::env::var_os(&variable) {
        Some(_) if argument.is_hide_env_values_set() => (HIDDEN.to_owned(), "environment"),
        Some(value) => (value.to_string_lossy().into_owned(), "environment"),
        None if terminal::secret_file(argument, variables).is_some() => (HIDDEN.to_owned(), "file"),
        None => (default(), "default"),
    };
    Some([flag, variable, value, from.to_owned()])
}
