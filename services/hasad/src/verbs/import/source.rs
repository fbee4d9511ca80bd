//! The file that is imported: lines, and how far it was read.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use contract::Line;

use crate::store::Progress;
use crate::told::{self, Heard, Told};

/// So many lines share a transaction, or fewer with so many bytes.
const LINES_MAX: usize = 500;
const BYTES_MAX: usize = 4 << 20;
/// Of lines that cannot be read, so many are told.
const ERRORS_MAX: u64 = 1_000;

/// Some lines of the file, to be written together.
#[derive(Default)]
pub(super) struct Chunk {
    /// What they tell, each with the line's number.
    pub(super) told: Vec<(i64, Told)>,
    pub(super) lines: usize,
    bytes: usize,
}

/// A file as it is read.
pub(super) struct Source {
    lines: BufReader<std::fs::File>,
    hasher: blake3::Hasher,
    pub(super) progress: Progress,
    /// It ends with half a line, which is not counted as read.
    pub(super) unfinished: bool,
    object_bytes_max: usize,
    line: Vec<u8>,
}

/// Why a line tells nothing.
enum Bad {
    /// It is no line of an export: one of which the end is missing looks like this.
    Unreadable(String),
    /// It is one, and what it says cannot be.
    Flawed(String),
}

impl Source {
    /// The file, behind what is known of it. None: its beginning is not what was imported.
    pub(super) fn open(
        file: &std::path::Path,
        known: Option<Progress>,
        object_bytes_max: usize,
    ) -> std::io::Result<Option<Self>> {
        let mut read = std::fs::File::open(file)?;
        let (mut hasher, progress) = (blake3::Hasher::new(), known.unwrap_or_default());
        let before = progress.bytes.unsigned_abs();
        std::io::copy(&mut Read::by_ref(&mut read).take(before), &mut hasher)?;
        if before > 0 && hasher.finalize().to_hex().to_string() != progress.prefix_hash {
            return Ok(None);
        }
        read.seek(SeekFrom::Start(before))?;
        let lines = BufReader::new(read);
        Ok(Some(Self { lines, hasher, progress, unfinished: false, object_bytes_max, line: vec![] }))
    }

    /// The next lines; none: there are no more. What cannot be read is told with its number.
    pub(super) fn next(&mut self, tell: &dyn Fn(&str)) -> std::io::Result<Chunk> {
        let mut chunk = Chunk::default();
        // An article, all escaped, and what stands beside it.
        let line_bytes_max = self.object_bytes_max.saturating_mul(6).saturating_add(1 << 20);
        while chunk.lines < LINES_MAX && chunk.bytes < BYTES_MAX && !self.unfinished {
            self.line.clear();
            let read = self.lines.by_ref().take(line_bytes_max as u64).read_until(b'\n', &mut self.line)?;
            if read == 0 {
                break;
            }
            let has_end = self.line.last() == Some(&b'\n');
            let is_too_long = read == line_bytes_max && !has_end;
            let number = self.progress.lines + 1;
            let heard = match is_too_long {
                true => Err(Bad::Flawed(format!("is longer than {line_bytes_max} bytes"))),
                false => read_line(&self.line, number, self.object_bytes_max),
            };
            if !has_end && matches!(heard, Err(Bad::Unreadable(_))) {
                // Whoever writes it may not be done yet, or has died: the next import sees it whole, or sees it again.
                self.unfinished = true;
                break;
            }
            self.hasher.update(&self.line);
            self.progress.bytes += read as i64;
            if is_too_long {
                self.progress.bytes += skip_line(&mut self.lines, &mut self.hasher)?;
            }
            self.progress.lines = number;
            chunk.lines += 1;
            chunk.bytes += read;
            match heard {
                Ok(Some(told)) => chunk.told.push((number, told)),
                Ok(None) => {}
                Err(Bad::Unreadable(why) | Bad::Flawed(why)) => self.is_bad(number, &why, tell),
            }
        }
        Ok(chunk)
    }

    /// What was read so far is about to be written: by this it is known again.
    pub(super) fn close_chunk(&mut self) {
        self.progress.prefix_hash = self.hasher.finalize().to_hex().to_string();
    }

    /// A line is left out.
    pub(super) fn is_bad(&mut self, number: i64, why: &str, tell: &dyn Fn(&str)) {
        self.progress.bad_lines += 1;
        match self.progress.bad_lines.unsigned_abs() {
            bad if bad <= ERRORS_MAX => tell(&format!("line {number}: {why}")),
            bad if bad == ERRORS_MAX + 1 => tell("and more of them"),
            _ => {}
        }
    }
}

/// What a line tells. None: nothing that the archive has a use for.
fn read_line(line: &[u8], number: i64, object_bytes_max: usize) -> Result<Option<Told>, Bad> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let line: Line<'_> =
        serde_json::from_slice(line).map_err(|error| Bad::Unreadable(format!("is not an event: {error}")))?;
    let id = line.id.map_or_else(|| format!("imported-{number}"), |id| id.into_owned());
    match told::read(&line.r#type, line.ver, line.data.get(), &id, object_bytes_max).map_err(Bad::Flawed)? {
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
