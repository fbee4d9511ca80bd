//! `hasad import-ndjson`: events from a file of JSON lines.
//!
//! How far it is, is written in the transaction of what was read: an import that died goes on where it was.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::progress::bar;
use super::{CONNECTIONS, count};
use crate::archive::{Wrote, own, write};
use crate::config::{Database, LIMITS, OUTPUT, Place};
use crate::store::{self, Progress};
use crate::told::{self, Heard, Told};
use crate::{Error, Objects};

/// So many lines share a transaction, or fewer with so many bytes.
const LINES_MAX: usize = 500;
const BYTES_MAX: usize = 4 << 20;
/// Of lines that cannot be read, so many are told.
const ERRORS_MAX: u64 = 1_000;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad import-ndjson archive.ndjson
  hasad import-ndjson archive.ndjson --dry-run         whether every line can be read
  hasad import-ndjson archive.ndjson --from-start      once more: what is there already stays as it is

A line is {\"type\", \"data\"} with an optional \"ver\" and \"id\", as `export-ndjson` writes it. A line that cannot be read is told
with its number and left out; the others are imported. Objects that are missing or have a wrong size are written anew. Exit
codes: 0, and 1 if a line could not be read.")]
pub(crate) struct Arguments {
    /// The file
    file: PathBuf,

    /// Read and check every line, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Begin with the first line, however far an earlier import has come
    #[arg(long)]
    from_start: bool,

    /// An article with more bytes is left out
    #[arg(long, env = "HASAD_OBJECT_BYTES_MAX", default_value = "4194304", value_name = "BYTES", help_heading = LIMITS)]
    object_bytes_max: usize,

    /// As JSON
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    place: Place,
}

/// A line.
#[derive(Deserialize)]
struct Line<'a> {
    r#type: String,
    ver: Option<u32>,
    id: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Some lines of the file, to be written together.
#[derive(Default)]
struct Chunk {
    told: Vec<Told>,
    lines: usize,
    bytes: usize,
}

/// A file as it is read.
struct Source {
    lines: BufReader<std::fs::File>,
    hasher: blake3::Hasher,
    progress: Progress,
    line: Vec<u8>,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let objects = arguments.place.open_lasting()?;
    let failed = |source| Error::File { what: arguments.file.display().to_string(), source };
    let file = arguments.file.canonicalize().map_err(failed)?;
    let name = file.display().to_string();
    let length = file.metadata().map_err(failed)?.len();
    let db = arguments.database.pool(CONNECTIONS).await?;
    own(&db, &objects).await?;
    let mut known = None;
    if !arguments.from_start && !arguments.dry_run {
        let mut connection = db.acquire().await.map_err(Error::Database)?;
        known = store::progress(&mut connection, &name).await.map_err(Error::Database)?;
    }
    let mut source = Source::open(&file, known).map_err(failed)?.ok_or_else(|| {
        terminal::unusable(format!(
            "{name} is not the file whose beginning was imported: say --from-start to import it anew"
        ))
    })?;
    let already = source.progress.lines;
    if already > 0 {
        eprintln!("hasad: {already} lines were imported before");
    }
    let bar = bar(length, "{elapsed_precise} [{bar:40}] {bytes}/{total_bytes}, {msg}, {eta} left");
    let (mut total, mut told_count) = (Wrote::default(), 0_u64);
    loop {
        let mut chunk = Chunk::default();
        source
            .fill(&mut chunk, arguments.object_bytes_max, &|sentence| bar.suspend(|| eprintln!("hasad: {sentence}")))
            .map_err(failed)?;
        if chunk.lines == 0 {
            break;
        }
        told_count += chunk.told.len() as u64;
        if !arguments.dry_run {
            let wrote = import(&db, &objects, &mut source, &name, &chunk, &|sentence| {
                bar.suspend(|| eprintln!("hasad: {sentence}"))
            })
            .await?;
            total.versions += wrote.versions;
            total.objects += wrote.objects;
            total.rewritten += wrote.rewritten;
            total.passed_over += wrote.passed_over;
        }
        bar.set_position(source.progress.bytes.unsigned_abs());
        bar.set_message(format!("{} lines", source.progress.lines));
    }
    bar.finish_and_clear();
    let progress = &source.progress;
    if arguments.json {
        terminal::print_json(&json!({
            "lines": progress.lines, "already": already, "bad_lines": progress.bad_lines, "events": told_count,
            "versions": total.versions, "objects": total.objects, "objects_rewritten": total.rewritten,
            "purged": total.passed_over, "dry_run": arguments.dry_run,
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
    Ok(if progress.bad_lines == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes a chunk. One that contradicts what is archived is written line by line, and the line at fault is told.
async fn import(
    db: &sqlx::PgPool,
    objects: &Objects,
    source: &mut Source,
    file: &str,
    chunk: &Chunk,
    complain: &(dyn Fn(&str) + Sync),
) -> Result<Wrote, Error> {
    source.progress.prefix_hash = source.hasher.finalize().to_hex().to_string();
    let all: Vec<&Told> = chunk.told.iter().collect();
    let mut tx = db.begin().await?;
    match write(&mut tx, objects, &all).await {
        Ok(wrote) => {
            store::save_progress(&mut tx, file, &source.progress).await?;
            tx.commit().await?;
            return Ok(wrote);
        }
        Err(Error::Contradiction { .. }) => tx.rollback().await?,
        Err(error) => return Err(error),
    }
    let mut wrote = Wrote::default();
    for told in all {
        let mut tx = db.begin().await?;
        match write(&mut tx, objects, &[told]).await {
            Ok(one) => {
                tx.commit().await?;
                wrote.versions += one.versions;
                wrote.objects += one.objects;
                wrote.rewritten += one.rewritten;
                wrote.passed_over += one.passed_over;
            }
            Err(error @ Error::Contradiction { .. }) => {
                tx.rollback().await?;
                source.progress.bad_lines += 1;
                complain(&error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    let mut tx = db.begin().await?;
    store::save_progress(&mut tx, file, &source.progress).await?;
    tx.commit().await?;
    Ok(wrote)
}

impl Source {
    /// The file, behind what is known of it. None: its beginning is not what was imported.
    fn open(file: &std::path::Path, known: Option<Progress>) -> std::io::Result<Option<Self>> {
        let mut read = std::fs::File::open(file)?;
        let (mut hasher, progress) = (blake3::Hasher::new(), known.unwrap_or_default());
        let before = progress.bytes.unsigned_abs();
        std::io::copy(&mut Read::by_ref(&mut read).take(before), &mut hasher)?;
        if before > 0 && hasher.finalize().to_hex().to_string() != progress.prefix_hash {
            return Ok(None);
        }
        read.seek(SeekFrom::Start(before))?;
        Ok(Some(Self { lines: BufReader::new(read), hasher, progress, line: vec![] }))
    }

    /// The next lines. What cannot be read is told with its number.
    fn fill(&mut self, chunk: &mut Chunk, object_bytes_max: usize, complain: &dyn Fn(&str)) -> std::io::Result<()> {
        // An article, all escaped, and what stands beside it.
        let line_bytes_max = object_bytes_max.saturating_mul(6).saturating_add(1 << 20);
        while chunk.lines < LINES_MAX && chunk.bytes < BYTES_MAX {
            self.line.clear();
            let read = self.lines.by_ref().take(line_bytes_max as u64).read_until(b'\n', &mut self.line)?;
            if read == 0 {
                return Ok(());
            }
            self.hasher.update(&self.line);
            let is_too_long = read == line_bytes_max && self.line.last() != Some(&b'\n');
            let mut bytes = read as i64;
            if is_too_long {
                bytes += skip_line(&mut self.lines, &mut self.hasher)?;
            }
            self.progress.bytes += bytes;
            self.progress.lines += 1;
            chunk.lines += 1;
            chunk.bytes += read;
            let number = self.progress.lines;
            let heard = match is_too_long {
                true => Err(format!("is longer than {line_bytes_max} bytes")),
                false => read_line(&self.line, number, object_bytes_max),
            };
            match heard {
                Ok(Some(told)) => chunk.told.push(told),
                Ok(None) => {}
                Err(why) => {
                    self.progress.bad_lines += 1;
                    match self.progress.bad_lines.unsigned_abs() {
                        bad if bad <= ERRORS_MAX => complain(&format!("line {number}: {why}")),
                        bad if bad == ERRORS_MAX + 1 => complain("and more of them"),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a line tells. None: nothing that the archive has a use for.
fn read_line(line: &[u8], number: i64, object_bytes_max: usize) -> Result<Option<Told>, String> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| format!("is not an event: {error}"))?;
    let id = line.id.unwrap_or_else(|| format!("imported-{number}"));
    match told::read(&line.r#type, line.ver.unwrap_or(1), line.data.get(), &id, object_bytes_max)? {
        Heard::Version(told) => Ok(Some(*told)),
        Heard::Nothing => Ok(None),
    }
}

/// The rest of a line that is too long to be kept.
fn skip_line(lines: &mut impl BufRead, hasher: &mut blake3::Hasher) -> std::io::Result<i64> {
    let mut skipped = 0;
    loop {
        let buffer = lines.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(buffer.len());
        hasher.update(&buffer[..taken]);
        skipped += taken as i64;
        lines.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(skipped);
        }
    }
}
