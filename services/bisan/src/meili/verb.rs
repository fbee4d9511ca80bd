//! `bisan index-settings`: how the server's settings differ from ours, and how they are made ours.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use terminal::{EXIT_DONE, EXIT_FAILED, print, print_json, table, unusable};

use super::{Drift, Meili, SearchServer, Trouble, drift, settings};

/// The flags.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    #[command(flatten)]
    server: SearchServer,

    /// Make them ours: the server reads all its documents again
    #[arg(long)]
    apply: bool,

    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    index: &'a str,
    /// Whether the server has the index at all.
    there: bool,
    /// Whether its settings were made ours just now.
    applied: bool,
    drift: Vec<Drift>,
}

impl SettingsArgs {
    /// Compares, and applies if that was asked for. The exit code is 1 as long as they differ.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        self.server.check()?;
        let meili = Meili::new(&self.server).map_err(unusable)?;
        let meili = meili.ok_or_else(|| unusable("--meili-url (MEILI_URL) is not set"))?;
        let index = &*self.server.meili_index;
        let found = match meili.settings(index).await {
            Ok(found) => found,
            Err(Trouble::NoIndex) => serde_json::Value::Null,
            Err(trouble) => return Err(trouble.into()),
        };
        let there = !found.is_null();
        let mut drift = drift(&found);
        let applied = self.apply && there && !drift.is_empty();
        if applied {
            meili.done(meili.change_settings(index, &settings()).await?).await?;
            drift = super::drift(&meili.settings(index).await?);
        }
        let code = if drift.is_empty() { EXIT_DONE } else { EXIT_FAILED };
        let report = Report { index, there, applied, drift };
        if self.json {
            print_json(&report)?
        } else {
            print(&words(&report))
        }
        Ok(ExitCode::from(code))
    }
}

fn words(report: &Report<'_>) -> String {
    let Report { index, there, applied, drift } = report;
    if !there {
        return format!("there is no index {index} yet: `bisan run` makes it, with its settings\n");
    }
    if drift.is_empty() {
        let made = if *applied { "have been made ours" } else { "are ours" };
        return format!("the settings of {index} {made}\n");
    }
    let head = ["setting", "wanted", "found"].map(str::to_owned);
    let rows = drift.iter().map(|one| [one.setting.clone(), one.wanted.to_string(), one.found.to_string()]);
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    format!("{}`bisan index-settings --apply` makes them ours\n", table(&rows))
}
