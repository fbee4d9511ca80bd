//! `hasad purge`: erases a page for good.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use sqlx::PgPool;
use terminal::printable;

use super::{CONNECTIONS, count, no};
use crate::archive::{look_whose, own};
use crate::config::{Database, OUTPUT, Place};
use crate::sweep::{Sweep, Swept};
use crate::{Error, Objects, store};

/// So many other pages are named of each object that stays.
const REFERRERS_MAX: i64 = 20;
/// So often a page is looked at again whose versions became more meanwhile.
const LOOKS_MAX: usize = 10;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad purge https://example.org/news/1 --dry-run     what would go, and what would stay
  hasad purge https://example.org/news/1 --reason gdpr
  hasad purge https://example.org/news/1 --lift        let it be archived again

Of its versions remain their numbers, times and the reason. An object that other pages name stays, and they are named. What
lies elsewhere stays, too: the outbox's row and the entry in Redis until their retention, dead letters, exports, backups.
One that was interrupted is done when it is called again. Exit codes: 0, and 1 if objects stayed because of others, if some
are still to be deleted, or (with --lift) if the page was not purged.")]
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
    let done = if arguments.dry_run {
        look_whose(&db, &objects).await?;
        plan(&db, &arguments.url).await?
    } else {
        own(&db, &objects).await?;
        erase(&db, &objects, &arguments.url, &arguments.reason).await?
    };
    show(arguments, &done)?;
    Ok(if done.stay.is_empty() && done.left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was done, or would be.
#[derive(Default)]
struct Purged {
    versions: u64,
    /// Objects that are gone.
    objects: u64,
    /// Objects that are still to be deleted.
    left: u64,
    /// Objects that other pages name, and these.
    stay: Vec<(String, Vec<String>)>,
}

/// What would be done. Nothing is written.
async fn plan(db: &PgPool, url: &str) -> Result<Purged, Error> {
    let versions = store::telling(db, url).await?.unsigned_abs();
    let objects = store::objects_of(&mut *db.acquire().await?, url).await?;
    let stay = others(db, &objects, url).await?;
    Ok(Purged { versions, objects: (objects.len() - stay.len()) as u64, left: 0, stay })
}

/// Erases: first the rows, all at once; then every object that a purge has left to be deleted, also one that was interrupted.
async fn erase(db: &PgPool, objects: &Objects, url: &str, reason: &str) -> Result<Purged, Error> {
    let began = jiff::Timestamp::now();
    let (versions, named) = blank(db, url, reason).await?;
    let stay = others(db, &named, url).await?;
    let mut swept = Swept::default();
    Sweep { db, objects, grace: None, tell: &|_| {} }.delete(&mut swept).await?;
    let left = store::without_grace(db).await?.unsigned_abs();
    let report = json!({ "versions": versions, "objects": swept.deleted, "stay": stay.len(), "left": left });
    store::note_run(db, "purge", began, swept.deleted as i64, &report.to_string()).await?;
    Ok(Purged { versions, objects: swept.deleted, left, stay })
}

/// Takes everything out of a page's rows, and says in the same transaction that the objects may go. Returns how many versions
/// said something, and the objects that they named.
async fn blank(db: &PgPool, url: &str, reason: &str) -> Result<(u64, Vec<String>), Error> {
    for _ in 0..LOOKS_MAX {
        let mut tx = db.begin().await?;
        // As writers do: objects first, in their order, and then the page. Else the two could wait for each other for ever.
        let named = store::objects_of(&mut tx, url).await?;
        store::lock_objects(&mut tx, &named).await?;
        store::close(&mut tx, url, reason).await?;
        // From here on its versions are what they are.
        if store::objects_of(&mut tx, url).await? != named {
            tx.rollback().await?;
            continue;
        }
        let versions = store::blank(&mut tx, url, reason).await?;
        store::waive_grace(&mut tx, &named).await?;
        tx.commit().await?;
        return Ok((versions, named));
    }
    Err(Error::Restless(url.to_owned()))
}

/// Of these objects those that other pages name, too.
async fn others(db: &PgPool, objects: &[String], url: &str) -> Result<Vec<(String, Vec<String>)>, Error> {
    let mut stay = vec![];
    for hash in objects {
        let mut pages = store::referrers(db, hash, REFERRERS_MAX).await?;
        pages.retain(|page| page != url);
        if !pages.is_empty() {
            stay.push((hash.clone(), pages));
        }
    }
    Ok(stay)
}

fn show(arguments: &Arguments, done: &Purged) -> anyhow::Result<()> {
    if arguments.json {
        let stay: Vec<_> = done.stay.iter().map(|(hash, pages)| json!({ "object": hash, "pages": pages })).collect();
        terminal::print_json(&json!({ "versions": done.versions, "objects": done.objects, "left": done.left,
            "stay": stay, "dry_run": arguments.dry_run }))?;
        return Ok(());
    }
    let would = if arguments.dry_run { "would be " } else { "" };
    terminal::print(&format!(
        "{} {would}erased, {} {would}deleted\n",
        count(done.versions, "version"),
        count(done.objects, "object")
    ));
    for (hash, pages) in &done.stay {
        let pages: Vec<_> = pages.iter().map(|page| printable(page)).collect();
        terminal::print(&format!("{hash} stays: it is also what {} says\n", pages.join(", ")));
    }
    if done.left > 0 {
        let left = count(done.left, "object");
        terminal::print(&format!(
            "{left} still to be deleted: a writer or a sweep holds them; call it again in a few minutes\n"
        ));
    }
    Ok(())
}
