//! `hasad import-ndjson`: events from a file of JSON lines.
//!
//! How far it is, is written in the transaction of what was read: an import that died goes on where it was.

mod source;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use outbox::Failure;
use serde_json::json;
use sqlx::PgPool;

use self::source::{Chunk, Source, has_end};
use super::progress::bar;
use super::{CONNECTIONS, count};
use crate::archive::{Wrote, own, write};
use crate::config::{Database, LIMITS, OUTPUT, Place};
use crate::store;
use crate::told::Told;
use crate::{Error, Objects};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad import-ndjson archive.ndjson
  hasad import-ndjson archive.ndjson --dry-run         whether every line can be read
  hasad import-ndjson archive.ndjson --from-start      once more: what is there already stays as it is
  hasad import-ndjson legacy.ndjson --without-end      lines from elsewhere

A line is {\"type\", \"data\"} with an optional \"ver\" and \"id\", as `export-ndjson` writes it. A line that cannot be read is told
with its number and left out; the others are imported. Objects that are missing or have a wrong size are written anew. A file
without the last line of an export is refused, unless --without-end says that it has none; half a line at its end waits until
it is whole. Exit codes: 0, and 1 if a line could not be read, or the file is cut off.")]
pub(crate) struct Arguments {
    /// The file
    file: PathBuf,

    /// Read and check every line, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Begin with the first line, however far an earlier import has come
    #[arg(long)]
    from_start: bool,

    /// The file is of an older Hasad or from elsewhere: it has no last line that says that it is whole
    #[arg(long)]
    without_end: bool,

    /// An article with more bytes is left out
    #[arg(long, env = "HASAD_OBJECT_BYTES_MAX", default_value = "4194304", value_name = "BYTES", help_heading = LIMITS)]
    object_bytes_max: NonZeroU64,

    /// As JSON
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    place: Place,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let failed = |source| Error::File { what: arguments.file.display().to_string(), source };
    let file = arguments.file.canonicalize().map_err(failed)?;
    let name = file.display().to_string();
    let length = file.metadata().map_err(failed)?.len();
    if !arguments.without_end && !has_end(&file).map_err(failed)? {
        anyhow::bail!(
            "{name} is cut off: it lacks the last line of an export, which says that all is there. Nothing was imported; bring a \
             whole one, or say --without-end if it is of an older Hasad or from elsewhere"
        );
    }
    // A dry run is about the file alone.
    let stores = if arguments.dry_run { None } else { Some(stores(arguments).await?) };
    let known = match &stores {
        Some(stores) if !arguments.from_start => stores.known(&name).await?,
        _ => None,
    };
    let object_bytes_max = usize::try_from(arguments.object_bytes_max.get()).unwrap_or(usize::MAX);
    let mut source = Source::open(&file, known, object_bytes_max).map_err(failed)?.ok_or_else(|| {
        terminal::unusable(format!(
            "{name} is not the file whose beginning was imported: say --from-start to import it anew"
        ))
    })?;
    let already = source.progress.lines;
    if already > 0 {
        eprintln!("hasad: {already} lines were imported before");
    }
    let bar = bar(length, "{elapsed_precise} [{bar:40}] {bytes}/{total_bytes}, {msg}, {eta} left");
    let tell = |sentence: &str| bar.suspend(|| eprintln!("hasad: {}", terminal::printable(sentence)));
    let (mut total, mut told_count) = (Wrote::default(), 0_u64);
    loop {
        let chunk = source.next(&tell).map_err(failed)?;
        if chunk.lines == 0 {
            break;
        }
        told_count += chunk.told.len() as u64;
        if let Some(stores) = &stores {
            let wrote = stores.import(&mut source, &name, &chunk, &tell).await?;
            total.versions += wrote.versions;
            total.objects += wrote.objects;
            total.rewritten += wrote.rewritten;
            total.passed_over += wrote.passed_over;
        }
        bar.set_position(source.progress.bytes.unsigned_abs());
        bar.set_message(format!("{} lines", source.progress.lines));
    }
    bar.finish_and_clear();
    let (progress, unfinished) = (&source.progress, source.unfinished);
    if unfinished {
        eprintln!("hasad: the last line has no end: the next import goes on with it");
    }
    if arguments.json {
        terminal::print_json(&json!({
            "lines": progress.lines, "already": already, "bad_lines": progress.bad_lines, "events": told_count,
            "versions": total.versions, "objects": total.objects, "objects_rewritten": total.rewritten,
            "purged": total.passed_over, "unfinished": unfinished, "dry_run": arguments.dry_run,
        }))?;
    } else {
        terminal::print(&format!(
            "{}, {} could not be read; {}, {}\n",
            count(progress.lines.unsigned_abs(), "line"),
            progress.bad_lines,
            count(total.versions, "new version"),
            count(total.objects, "new object")
        ));
    }
    Ok(if progress.bad_lines == 0 && !unfinished { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where it all goes.
struct Stores {
    db: PgPool,
    objects: Objects,
}

async fn stores(arguments: &Arguments) -> anyhow::Result<Stores> {
    let objects = arguments.place.open_lasting()?;
    let db = arguments.database.pool(CONNECTIONS).await?;
    own(&db, &objects).await?;
    Ok(Stores { db, objects })
}

impl Stores {
    async fn known(&self, file: &str) -> Result<Option<store::Progress>, Error> {
        Ok(store::progress(&mut *self.db.acquire().await?, file).await?)
    }

    /// Writes a chunk. One in which something is at fault is written line by line, and the line is told.
    async fn import(
        &self,
        source: &mut Source,
        file: &str,
        chunk: &Chunk,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<Wrote, Error> {
        source.close_chunk();
        let all: Vec<&Told> = chunk.told.iter().map(|(_, told)| told).collect();
        let mut tx = self.db.begin().await?;
        match write(&mut tx, &self.objects, &all).await {
            Ok(wrote) => {
                store::save_progress(&mut tx, file, &source.progress).await?;
                tx.commit().await?;
                return Ok(wrote);
            }
            Err(error) if is_of_a_line(&error) => tx.rollback().await?,
            Err(error) => return Err(error),
        }
        let mut wrote = Wrote::default();
        for (number, told) in &chunk.told {
            let mut tx = self.db.begin().await?;
            match write(&mut tx, &self.objects, &[told]).await {
                Ok(one) => {
                    tx.commit().await?;
                    wrote.versions += one.versions;
                    wrote.objects += one.objects;
                    wrote.rewritten += one.rewritten;
                    wrote.passed_over += one.passed_over;
                }
                Err(error) if is_of_a_line(&error) => {
                    tx.rollback().await?;
                    source.is_bad(*number, &outbox::in_words(&error), tell);
                }
                Err(error) => return Err(error),
            }
        }
        let mut tx = self.db.begin().await?;
        store::save_progress(&mut tx, file, &source.progress).await?;
        tx.commit().await?;
        Ok(wrote)
    }
}

/// Whether what went wrong is the fault of what a line says.
fn is_of_a_line(error: &Error) -> bool {
    matches!(error.failure(), Failure::Reject(_))
}
