//! `hasad purge`: erases a page for good.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use terminal::printable;

use super::{CONNECTIONS, count, no};
use crate::archive::own;
use crate::config::{Database, OUTPUT, Place};
use crate::sweep::{Sweep, Swept};
use crate::{Error, store};

/// So many other pages are named of each object that stays.
const REFERRERS_MAX: i64 = 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad purge https://example.org/news/1 --dry-run     what would go, and what would stay
  hasad purge https://example.org/news/1 --reason gdpr
  hasad purge https://example.org/news/1 --lift        let it be archived again

Of its versions remain their numbers, times and the reason. An object that other pages name stays, and they are named. What
lies elsewhere stays, too: the outbox's row and the entry in Redis until their retention, dead letters, exports, backups.
Exit codes: 0, and 1 if objects stayed because of others, or (with --lift) the page was not purged.")]
pub(crate) struct Arguments {
    /// The page
    url: String,

    /// Why: kept beside the page
    #[arg(long, default_value = "gdpr", value_name = "WORDS")]
    reason: String,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Let a purged page be archived again; what was erased does not come back
    #[arg(long, conflicts_with_all = ["dry_run", "reason"])]
    lift: bool,

    /// As JSON
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    place: Place,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if !(arguments.url.starts_with("https://") || arguments.url.starts_with("http://")) {
        return Err(terminal::unusable(format!("{:?} is not an address of a page", arguments.url)));
    }
    let objects = arguments.place.open_shared()?;
    let db = arguments.database.pool(CONNECTIONS).await?;
    if arguments.lift {
        let lifted = store::lift(&db, &arguments.url).await.map_err(Error::Database)?;
        if arguments.json {
            terminal::print_json(&json!({ "lifted": lifted }))?;
        } else if lifted {
            terminal::print("the page may be archived again\n");
        }
        return Ok(if lifted { ExitCode::SUCCESS } else { no("that page was not purged") });
    }
    own(&db, &objects).await?;
    let began = jiff::Timestamp::now();
    let mut tx = db.begin().await.map_err(Error::Database)?;
    let erased = store::erase(&mut tx, &arguments.url, &arguments.reason).await.map_err(Error::Database)?;
    if arguments.dry_run {
        tx.rollback().await.map_err(Error::Database)?;
    } else {
        tx.commit().await.map_err(Error::Database)?;
        // Not in there: writers lock objects first and pages then, and here it would be the other way round.
        store::waive_grace(&db, &erased.objects).await.map_err(Error::Database)?;
    }
    let mut stay = vec![];
    for hash in &erased.objects {
        let mut pages = store::referrers(&db, hash, REFERRERS_MAX).await.map_err(Error::Database)?;
        // In a dry run it is still there.
        pages.retain(|page| *page != arguments.url);
        if !pages.is_empty() {
            stay.push((hash.clone(), pages));
        }
    }
    let mut swept = Swept::default();
    if !arguments.dry_run {
        let sweep = Sweep { db: &db, objects: &objects, grace: Duration::ZERO, tell: &|_| {} };
        sweep.delete(Some(&erased.objects), &mut swept).await?;
        let report = json!({ "versions": erased.versions, "objects": swept.deleted, "stay": stay.len() });
        store::note_run(&db, "purge", began, swept.deleted as i64, &report.to_string())
            .await
            .map_err(Error::Database)?;
    } else {
        swept.deleted = (erased.objects.len() - stay.len()) as u64;
    }
    if arguments.json {
        let stay: Vec<_> = stay.iter().map(|(hash, pages)| json!({ "object": hash, "pages": pages })).collect();
        terminal::print_json(&json!({ "versions": erased.versions, "objects": swept.deleted, "stay": stay,
            "dry_run": arguments.dry_run }))?;
    } else {
        let would = if arguments.dry_run { "would be " } else { "" };
        terminal::print(&format!(
            "{} {would}erased, {} {would}deleted\n",
            count(erased.versions, "version"),
            count(swept.deleted, "object")
        ));
        for (hash, pages) in &stay {
            let pages: Vec<_> = pages.iter().map(|page| printable(page)).collect();
            terminal::print(&format!("{hash} stays: it is also what {} says\n", pages.join(", ")));
        }
    }
    Ok(if stay.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
