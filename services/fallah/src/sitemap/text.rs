//! A plain list: one URL a line.

use std::io::{BufRead, Read};

use super::draft::{Draft, Field};
use super::entry::Sink;
use super::source::Source;
use super::{Entry, EntryKind, Kind, NotASitemap};
use crate::address::{Address, trim};

/// A longer line is no URL.
const LINE_BYTES_MAX: usize = 8 * 1024;

pub(super) fn read<R: Read>(
    mut source: Source<R>,
    sink: &mut Sink<'_, impl FnMut(Entry)>,
) -> Result<Kind, NotASitemap> {
    let mut line = Vec::new();
    let mut is_list = false;
    while sink.cut.is_none() && next_line(&mut source, &mut line) {
        let text = String::from_utf8_lossy(&line);
        let text = trim(&text);
        if text.is_empty() {
            continue;
        }
        // Whatever comes first decides; behind it a line that is no URL is just that.
        if !is_list && Address::parse(text).is_err() {
            return Err(NotASitemap::Other);
        }
        is_list = true;
        if Address::parse(text).is_err() {
            sink.note(|| {
                format!("a line is no URL: {}", crate::exit::printable(&text.chars().take(60).collect::<String>()))
            });
            continue;
        }
        let mut draft = Draft::new(EntryKind::Page, false, "");
        draft.set(Field::Loc, text);
        sink.accept(draft);
    }
    sink.cut = sink.cut.take().or(source.cut.take());
    if is_list { Ok(Kind::Text) } else { Err(sink.cut.clone().map_or(NotASitemap::Empty, NotASitemap::Cut)) }
}

/// The next line, or as much of it as may be read; false at the end.
fn next_line<R: Read>(source: &mut Source<R>, line: &mut Vec<u8>) -> bool {
    line.clear();
    let mut any = false;
    loop {
        source.begin_token();
        let Ok(available) = source.fill_buf() else { return any };
        if available.is_empty() {
            return any;
        }
        any = true;
        let end = available.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let bytes = end.unwrap_or(available.len());
        line.extend_from_slice(&available[..bytes.min((LINE_BYTES_MAX).saturating_sub(line.len()))]);
        source.consume(end.map_or(bytes, |end| end + 1));
        if end.is_some() {
            return true;
        }
    }
}
