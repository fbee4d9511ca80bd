//! The file from the archive's export: every version it has, in any order.

use std::io::{BufRead, Read};

use contract::{Export, ExportEnd, Line};
use serde::Serialize;

use crate::store::{self, Applied, Store};
use crate::{Error, event};

/// A longer line is no line of an export.
pub const LINE_BYTES_MAX: u64 = 16 << 20;
/// So many lines share a transaction, or fewer with so many bytes.
const LINES_MAX: usize = 500;
const BYTES_MAX: usize = 8 << 20;
/// So many bad lines are named; all are counted.
const COMPLAINTS_MAX: usize = 100;

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Lines, empty ones left out.
    pub lines: u64,
    #[allow(missing_docs)]
    pub new: u64,
    #[allow(missing_docs)]
    pub changed: u64,
    #[allow(missing_docs)]
    pub deleted: u64,
    /// Said nothing new.
    pub older: u64,
    /// Lines that are none.
    pub wrong: u64,
    /// Some of them: number and reason.
    pub complaints: Vec<(u64, String)>,
    /// The last line says that this is the end, and nothing is missing before it.
    pub whole: bool,
    /// Versions that the archive could not read, and left out.
    pub left_out: u64,
    /// The sources that it is of, if it is not of all.
    pub sources: Vec<String>,
}

impl Rebuilt {
    /// Whether all that the archive has was there to be read.
    pub fn is_all(&self) -> bool {
        self.whole && self.sources.is_empty() && self.is_of_use()
    }

    /// Whether there was something, and nothing of it was wrong.
    pub fn is_of_use(&self) -> bool {
        self.lines > 0 && self.wrong == 0
    }
}

/// What becomes of an export without a last line that says that it is whole: one of an older archive, or from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutEnd {
    /// It is taken for cut off: what it has is read, and the file does not count as rebuilt.
    CutOff,
    /// It is taken as it is.
    Taken,
}

/// Reads an export into the file. What is newer there stays; again: nothing happens. Lines that are wrong are told, and the
/// others are read. Only when all of it is written the file counts as rebuilt: never after no lines, nor after wrong ones.
pub fn rebuild(
    store: &Store,
    lines: impl BufRead,
    without_end: WithoutEnd,
    mut progress: impl FnMut(&Rebuilt),
) -> Result<Rebuilt, Failed> {
    let (mut rebuilt, mut batch, mut bytes) = (Rebuilt::default(), vec![], 0);
    let mut ends = Ends::default();
    let mut lines = Lines { from: lines, number: 0 };
    while let Some((number, line)) = lines.next()? {
        bytes += line.as_ref().map_or(0, String::len);
        match line.and_then(|line| read(&line)) {
            Ok(None) => continue,
            Ok(Some(Said::End(end))) => {
                ends.end(end);
                continue;
            }
            Ok(Some(Said::Event(event))) => batch.push((number, *event)),
            Err(reason) => complain(&mut rebuilt, number, reason),
        }
        ends.since += 1;
        rebuilt.lines += 1;
        if batch.len() >= LINES_MAX || bytes >= BYTES_MAX {
            write(store, &mut batch, &mut rebuilt)?;
            bytes = 0;
            progress(&rebuilt);
        }
    }
    write(store, &mut batch, &mut rebuilt)?;
    ends.tell(&mut rebuilt);
    if rebuilt.is_all() || (without_end == WithoutEnd::Taken && rebuilt.is_of_use()) {
        store.write_now(|tx| Ok(store::rebuilt(tx)?))?;
    }
    Ok(rebuilt)
}

/// What a line says.
enum Said {
    Event(Box<Export>),
    /// That an export ends here.
    End(ExportEnd),
}

/// The ends that were seen, and whether something is missing between them.
#[derive(Default)]
struct Ends {
    /// Lines since the last one.
    since: u64,
    /// There was one.
    any: bool,
    /// Before one of them are fewer lines, or more, than it says.
    miscounted: bool,
    left_out: u64,
    sources: Vec<String>,
    of_all: bool,
}

impl Ends {
    fn end(&mut self, end: ExportEnd) {
        self.miscounted |= end.lines != self.since;
        self.since = 0;
        self.left_out += end.left_out;
        match end.source {
            None => self.of_all = true,
            Some(source) => self.sources.push(source),
        }
        self.any = true;
    }

    fn tell(self, rebuilt: &mut Rebuilt) {
        rebuilt.whole = self.any && self.since == 0 && !self.miscounted;
        rebuilt.left_out = self.left_out;
        rebuilt.sources = if self.of_all { vec![] } else { self.sources };
    }
}

/// Why an export was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// It cannot be read.
    #[error("the export cannot be read")]
    Input(#[from] std::io::Error),
    #[allow(missing_docs)]
    #[error(transparent)]
    Store(#[from] Error),
}

fn read(line: &str) -> Result<Option<Said>, String> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if line.r#type == ExportEnd::TYPE {
        return serde_json::from_str(line.data.get())
            .map(|end| Some(Said::End(end)))
            .map_err(|error| error.to_string());
    }
    let event = event::read(&line.r#type, line.ver, line.data.get()).map_err(|error| error.to_string())?;
    Ok(Some(Said::Event(Box::new(event))))
}

fn write(store: &Store, batch: &mut Vec<(u64, Export)>, rebuilt: &mut Rebuilt) -> Result<(), Error> {
    let applied = store.write_now(|tx| {
        let mut all = vec![];
        for (number, event) in batch.iter() {
            match store::apply(tx, event) {
                Ok(applied) => all.push(Ok(applied)),
                // It is refused before anything of it is written.
                Err(Error::Rejected(reason)) => all.push(Err((*number, reason))),
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    })?;
    for one in applied {
        match one {
            Ok(Applied::New) => rebuilt.new += 1,
            Ok(Applied::Changed) => rebuilt.changed += 1,
            Ok(Applied::Deleted) => rebuilt.deleted += 1,
            Ok(Applied::Older) => rebuilt.older += 1,
            Err((number, reason)) => complain(rebuilt, number, reason),
        }
    }
    batch.clear();
    Ok(())
}

fn complain(rebuilt: &mut Rebuilt, number: u64, reason: String) {
    rebuilt.wrong += 1;
    if rebuilt.complaints.len() < COMPLAINTS_MAX {
        rebuilt.complaints.push((number, reason));
    }
}

struct Lines<R> {
    from: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line and its number; or why it is none.
    fn next(&mut self) -> std::io::Result<Option<(u64, Result<String, String>)>> {
        let mut line = vec![];
        let read = self.from.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if !line.ends_with(b"\n") && read as u64 > LINE_BYTES_MAX {
            self.from.skip_until(b'\n')?;
            return Ok(Some((self.number, Err(format!("it is longer than {LINE_BYTES_MAX} bytes")))));
        }
        let line = String::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned());
        Ok(Some((self.number, line)))
    }
}
