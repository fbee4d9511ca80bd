//! The file from the archive's export: every version it has, in any order.

use std::io::{BufRead, Read};

use contract::{Export, Line};
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
}

/// Reads an export into the file. What is newer there stays; again: nothing happens. Lines that are wrong are told, and the
/// others are read.
pub fn rebuild(store: &Store, lines: impl BufRead, mut progress: impl FnMut(&Rebuilt)) -> Result<Rebuilt, Failed> {
    let (mut rebuilt, mut batch, mut bytes) = (Rebuilt::default(), vec![], 0);
    let mut lines = Lines { from: lines, number: 0 };
    while let Some((number, line)) = lines.next()? {
        bytes += line.as_ref().map_or(0, String::len);
        match line.and_then(|line| read(&line)) {
            Ok(None) => continue,
            Ok(Some(event)) => batch.push((number, event)),
            Err(reason) => complain(&mut rebuilt, number, reason),
        }
        rebuilt.lines += 1;
        if batch.len() >= LINES_MAX || bytes >= BYTES_MAX {
            write(store, &mut batch, &mut rebuilt)?;
            bytes = 0;
            progress(&rebuilt);
        }
    }
    write(store, &mut batch, &mut rebuilt)?;
    Ok(rebuilt)
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

fn read(line: &str) -> Result<Option<Export>, String> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    event::read(&line.r#type, line.ver, line.data.get()).map(Some).map_err(|error| error.to_string())
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
