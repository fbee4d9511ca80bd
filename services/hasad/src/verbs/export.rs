//! `hasad export-ndjson`: what is archived, as JSON lines.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use contract::{ExportEnd, Line};
use futures_util::{StreamExt, stream};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::progress::bar;
use super::{CONNECTIONS, content};
use crate::archive::look_whose;
use crate::config::{Database, OUTPUT, Place, WHICH};
use crate::{Error, store, told};

/// So many rows are read together.
const CHUNK: i64 = 500;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad export-ndjson > archive.ndjson
  hasad export-ndjson --source daily --current --file daily.ndjson
  hasad export-ndjson | jq -r 'select(.type == \"article.upserted\").data.article.title'

A line is {\"type\", \"ver\", \"id\", \"data\"}: the event as it came. `import-ndjson` reads it. The last line, of the type
`export.end`, says that all is there, and how many lines that are. What is purged is left out. Exit codes: 0, and 1 if an
object is missing or damaged (it is named, and left out), or if it failed: then there is no last line.")]
pub(crate) struct Arguments {
    /// Where to; stdout, if nothing is said
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    file: Option<PathBuf>,

    /// Only this source
    #[arg(long, value_name = "NAME", help_heading = WHICH)]
    source: Option<String>,

    /// Only the current version of each page
    #[arg(long, help_heading = WHICH)]
    current: bool,

    /// The summary on stderr as JSON
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    place: Place,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let objects = arguments.place.open_shared()?;
    let db = arguments.database.pool_for_scans(CONNECTIONS).await?;
    let failed = |source| Error::File { what: "the export cannot be written".to_owned(), source };
    let mut out = Out::open(arguments.file.as_deref()).map_err(failed)?;
    let bar = bar(
        store::size(&db).await.map_err(Error::Database)?.unsigned_abs(),
        "{elapsed_precise} [{bar:40}] {pos}/{len} versions, {eta} left",
    );
    let (mut after, mut written, mut bad) = (None, 0_u64, 0_u64);
    loop {
        let rows = store::export_after(&db, after.as_ref(), arguments.source.as_deref(), arguments.current, CHUNK)
            .await
            .map_err(Error::Database)?;
        let Some(last) = rows.last() else { break };
        after = Some((last.source_url.clone(), last.version));
        let count = rows.len() as u64;
        let reads = stream::iter(rows).map(|row| async { (content(&objects, &row).await, row) });
        let mut reads = reads.buffered(objects.at_once);
        let (mut lines, bad_before) = (vec![], bad);
        while let Some((bytes, row)) = reads.next().await {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                // A store that is away has nothing less in it: what it would leave out is no export.
                Err(error) if error.is::<Error>() => return Err(error),
                Err(error) => {
                    bad += 1;
                    bar.suspend(|| {
                        eprintln!(
                            "hasad: version {} of {}: {error:#}",
                            row.version,
                            terminal::printable(&row.source_url)
                        )
                    });
                    continue;
                }
            };
            if let Some((r#type, data)) = told::again(&row.about, bytes.as_deref()) {
                let data = to_raw_value(&data)?;
                let line =
                    Line { r#type: r#type.into(), ver: told::SHAPE, id: Some(row.event_id.into()), data: &data };
                serde_json::to_writer(&mut lines, &line)?;
                lines.push(b'\n');
                written += 1;
            }
        }
        // Nor has one that is not mounted, where each object looks like one that is missing.
        if bad > bad_before {
            look_whose(&db, &objects).await?;
        }
        match out.write(&lines) {
            // `hasad export-ndjson | head -1` is no failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            done => done.map_err(failed)?,
        }
        bar.inc(count);
    }
    // Without it a part looks like all of it: a pipe that broke, a copy that was cut off, a disk that was full.
    let end =
        ExportEnd { lines: written, left_out: bad, source: arguments.source.clone(), current: arguments.current };
    let end = json!({ "type": ExportEnd::TYPE, "ver": 1, "data": end });
    match out.write(format!("{end}\n").as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        done => done.map_err(failed)?,
    }
    out.finish().map_err(failed)?;
    bar.finish_and_clear();
    let summary = json!({ "written": written, "bad": bad });
    match arguments.json {
        true => eprintln!("{summary}"),
        false => eprintln!("hasad: {written} versions written, {bad} could not be read"),
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where lines go.
enum Out {
    Stdout(std::io::Stdout),
    /// What is no plain file, such as a pipe, is written as it stands.
    There(File),
    /// A file takes its name when it is whole: until then the last export stays under it.
    Beside {
        file: File,
        beside: PathBuf,
        name: PathBuf,
    },
}

impl Out {
    fn open(name: Option<&Path>) -> std::io::Result<Self> {
        let Some(name) = name else { return Ok(Self::Stdout(std::io::stdout())) };
        // A link stays one: what it points to is written.
        let name = name.canonicalize().unwrap_or_else(|_| name.to_owned());
        if name.metadata().is_ok_and(|meta| !meta.is_file()) {
            return Ok(Self::There(File::options().write(true).open(&name)?));
        }
        let mut beside = name.clone().into_os_string();
        beside.push(format!(".{}.part", std::process::id()));
        let beside = PathBuf::from(beside);
        Ok(Self::Beside { file: File::create(&beside)?, beside, name })
    }

    fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Stdout(out) => out.write_all(lines),
            Self::There(file) | Self::Beside { file, .. } => file.write_all(lines),
        }
    }

    /// All of it is there.
    fn finish(mut self) -> std::io::Result<()> {
        match &mut self {
            Self::Stdout(out) => out.flush(),
            Self::There(_) => Ok(()),
            Self::Beside { file, beside, name } => {
                file.sync_all()?;
                std::fs::rename(&*beside, &*name)?;
                let above = name.parent().filter(|above| !above.as_os_str().is_empty());
                File::open(above.unwrap_or(Path::new(".")))?.sync_all()
            }
        }
    }
}

impl Drop for Out {
    /// Half an export is of no use to anybody; a whole one bears its name by now.
    fn drop(&mut self) {
        if let Self::Beside { beside, .. } = self {
            let _ = std::fs::remove_file(beside);
        }
    }
}
