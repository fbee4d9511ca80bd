//! Who wrote, and who is the same person.

use std::process::ExitCode;

use clap::Subcommand;
use terminal::{print, print_json, table};

use super::opened;
use crate::Error;
use crate::config::Database;
use crate::store::{self, Person};

/// So many names are listed if nothing is said.
const LISTED_DEFAULT: u32 = 50;
const LISTED_MAX: i64 = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum AuthorsVerb {
    /// People by name, those with the most articles first
    List {
        /// Letters of the name, however spelled
        #[arg(default_value = "")]
        letters: String,

        #[command(flatten)]
        database: Database,

        /// Only of this source
        #[arg(long, value_name = "NAME")]
        source: Option<String>,

        /// How many
        #[arg(long, default_value_t = LISTED_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=LISTED_MAX), value_name = "AUTHORS")]
        limit: u32,

        /// As JSON
        #[arg(long)]
        json: bool,
    },

    /// Make two of them one person; the articles of both are found under the second
    Merge {
        /// Who becomes
        id: i64,

        /// this person
        into: i64,

        #[command(flatten)]
        database: Database,
    },

    /// Take a merge back
    Split {
        /// Who becomes a person of their own again
        id: i64,

        #[command(flatten)]
        database: Database,
    },
}

pub(super) fn run(verb: &AuthorsVerb) -> anyhow::Result<ExitCode> {
    let done = match verb {
        AuthorsVerb::List { letters, database, source, limit, json } => {
            let store = opened(database)?;
            let people = store.read_now(|db| store::people(db, source.as_deref(), letters, *limit))?;
            if *json {
                print_json(&people)?;
            } else if people.is_empty() {
                print("nobody\n");
            } else {
                print(&table(&rows(&people)));
            }
            return Ok(ExitCode::SUCCESS);
        }
        AuthorsVerb::Merge { id, into, database } => {
            let store = opened(database)?;
            store.write_now(|tx| store::merge(tx, *id, *into)).map(|()| {
                format!("author {id} is the same person as {into} now; `bisan authors split {id}` takes it back\n")
            })
        }
        AuthorsVerb::Split { id, database } => {
            let store = opened(database)?;
            store
                .write_now(|tx| store::split(tx, *id))
                .map(|()| format!("author {id} is a person of their own again\n"))
        }
    };
    match done {
        Ok(sentence) => {
            print(&sentence);
            Ok(ExitCode::SUCCESS)
        }
        Err(Error::Rejected(sentence)) => {
            eprintln!("bisan: {sentence}");
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}

fn rows(people: &[Person]) -> Vec<[String; 5]> {
    let head = ["id", "source", "name", "articles", "also"].map(str::to_owned);
    let row = |person: &Person| {
        let also: Vec<_> = person.merged.iter().map(|alias| format!("{} ({})", alias.name, alias.id)).collect();
        let (id, articles) = (person.id.to_string(), person.articles.to_string());
        [id, person.source_name.clone(), person.name.clone(), articles, also.join(", ")]
    };
    std::iter::once(head).chain(people.iter().map(row)).collect()
}
