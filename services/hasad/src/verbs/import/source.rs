//! The file that is imported: lines, and how far it was read.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use contract::{ExportEnd, Line};

use crate::store::Progress;
use crate::told::{self, Heard, Told};

/// So many lines share a transaction, or fewer with so many bytes.
const LINES_MAX: usize = 500;
const BYTES_MAX: usize = 4 << 20;
/// Of lines that cannot be read, so many are told.
const ERRORS_MAX: u64 = 1_000;
/// The last line of an export, and empty ones behind it, are shorter than this.
const END_BYTES_MAX: u64 = 64 << 10;

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
    /// Lines since the last export ended; none: that was in an earlier import.
    since_end: Option<u64>,
}

/// What a line says.
enum Said {
    Told(Box<Told>),
    /// Nothing that the archive has a use for.
    Nothing,
    /// It is empty.
    Empty,
    /// An export ends here.
    End(ExportEnd),
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
        let since_end = (before == 0).then_some(0);
        Ok(Some(Self { lines, hasher, progress, unfinished: false, object_bytes_max, line: vec![], since_end }))
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
            if !matches!(heard, Ok(Said::Empty | Said::End(_))) {
                self.since_end = self.since_end.map(|lines| lines + 1);
            }
            match heard {
                Ok(Said::Told(told)) => chunk.told.push((number, *told)),
                Ok(Said::Nothing | Said::Empty) => {}
                Ok(Said::End(end)) => self.ends(number, &end, tell),
                Err(Bad::Unreadable(why) | Bad::Flawed(why)) => self.is_bad(number, &why, tell),
            }
        }
        Ok(chunk)
    }

    /// An export ends here, and says what there should have been.
    fn ends(&mut self, number: i64, end: &ExportEnd, tell: &dyn Fn(&str)) {
        match self.since_end.replace(0) {
            Some(lines) if lines != end.lines => {
                self.is_bad(
                    number,
                    &format!("says that {} lines stand before it, and there are {lines}", end.lines),
                    tell,
                );
            }
            _ => {}
        }
        if end.left_out > 0 {
            let left_out = end.left_out;
            self.is_bad(
                number,
                &format!("says that {left_out} versions are missing, which could not be exported"),
                tell,
            );
        }
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

fn read_line(line: &[u8], number: i64, object_bytes_max: usize) -> Result<Said, Bad> {
    if line.trim_ascii().is_empty() {
        return Ok(Said::Empty);
    }
    let line: Line<'_> =
        serde_json::from_slice(line).map_err(|error| Bad::Unreadable(format!("is not an event: {error}")))?;
    if line.r#type == ExportEnd::TYPE {
        let end = serde_json::from_str(line.data.get());
        return end.map(Said::End).map_err(|error| Bad::Flawed(format!("is no end of an export: {error}")));
    }
    let id = line.id.map_or_else(|| format!("imported-{number}"), |id| id.into_owned());
    match told::read(&line.r#type, line.ver, line.data.get(), &id, object_bytes_max).map_err(Bad::Flawed)? {
        Heard::Version(told) => Ok(Said::Told(told)),
        Heard::Nothing => Ok(Said::Nothing),
    }
}

/// Whether a file's last line is the end of an export. What is cut off has another one, or none.
pub(super) fn has_end(file: &std::path::Path) -> std::io::Result<bool> {
    let mut file = std::fs::File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES_MAX)))?;
    let mut tail = vec![];
    file.take(END_BYTES_MAX).read_to_end(&mut tail)?;
    let last = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice::<Line<'_>>(last).is_ok_and(|line| line.r#type == ExportEnd::TYPE))
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
