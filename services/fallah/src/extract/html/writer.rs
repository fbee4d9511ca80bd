//! Writes well-nested HTML of bounded depth.

use std::borrow::Cow;

use super::kinds::Kind;

/// The page is cut when so much has been written: scripts and such are gone by then.
pub(super) const WRITTEN_BYTES_MAX: usize = 4 << 20;
/// Elements nested deeper than this are flattened into their ancestors. Real articles stay below 100.
pub(super) const DEPTH_MAX: usize = 256;

/// Open elements that are remembered beyond the depth, so that their end tags close nothing else.
const FLATTENED_MAX: usize = 256;

/// No attribute is longer, apart from `content`, where descriptions live.
const VALUE_BYTES_MAX: usize = 2 << 10;

const CONTENT_BYTES_MAX: usize = 16 << 10;

pub(super) struct Open<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) kind: Kind,
    /// Where its start tag stands in what was written; empty when it was flattened.
    pub(super) tag: std::ops::Range<usize>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) title: bool,
    pub(super) html: bool,
    pub(super) body: bool,
}

pub(super) struct Writer<'a> {
    pub(super) out: String,
    pub(super) open: Vec<Open<'a>>,
    pub(super) depth: usize,
    pub(super) tags: usize,
    pub(super) seen: Seen,
}

impl<'a> Writer<'a> {
    pub(super) fn text(&mut self, text: &str) {
        if self.in_table_structure() {
            if text.trim().is_empty() {
                return;
            }
            self.imply_cell();
        }
        self.write_text(text);
    }

    /// A `<` that opens no tag here might open one where something was left out behind it.
    pub(super) fn write_text(&mut self, text: &str) {
        let room = WRITTEN_BYTES_MAX.saturating_sub(self.out.len());
        let mut rest = &text[..text.floor_char_boundary(room)];
        while let Some(at) = rest.find(['<', '\0'])
            && self.out.len() < WRITTEN_BYTES_MAX
        {
            self.out.push_str(&rest[..at]);
            self.out.push_str(if rest.as_bytes()[at] == b'<' { "&lt;" } else { " " });
            rest = &rest[at + 1..];
        }
        if self.out.len() < WRITTEN_BYTES_MAX {
            self.out.push_str(rest);
        }
    }

    /// Only the first title is the page's.
    pub(super) fn title(&mut self, text: &str) {
        if self.open.is_empty() && !std::mem::replace(&mut self.seen.title, true) {
            self.out.push_str("<title>");
            self.write_text(text);
            self.out.push_str("</title>");
        }
    }

    pub(super) fn push(&mut self, name: Cow<'a, str>, kind: Kind, attrs: &[(&str, &str)]) {
        // A table goes flat whole: its rows would otherwise end up in the table around it.
        let depth_max = if kind == Kind::Table { DEPTH_MAX - 4 } else { DEPTH_MAX };
        if self.depth >= depth_max || self.open.last().is_some_and(|o| o.tag.is_empty()) {
            if self.open.len() < DEPTH_MAX + FLATTENED_MAX {
                self.open.push(Open { name, kind, tag: 0..0 });
            }
            // Words on both sides of a flattened block stay apart.
            if kind != Kind::Inline {
                self.out.push(' ');
            }
            return;
        }
        let from = self.out.len();
        self.write_tag(&name, attrs);
        self.depth += 1;
        self.open.push(Open { name, kind, tag: from..self.out.len() });
    }

    pub(super) fn reopen(&mut self, name: Cow<'a, str>, kind: Kind, tag: std::ops::Range<usize>) {
        if tag.is_empty() || self.depth >= DEPTH_MAX {
            return;
        }
        self.tags += 1;
        let from = self.out.len();
        self.out.extend_from_within_str(tag);
        self.depth += 1;
        self.open.push(Open { name, kind, tag: from..self.out.len() });
    }

    pub(super) fn close_to(&mut self, keep: usize) {
        while self.open.len() > keep {
            let Some(open) = self.open.pop() else { return };
            if !open.tag.is_empty() {
                self.depth -= 1;
                self.out.push_str("</");
                self.out.push_str(&open.name);
                self.out.push('>');
            }
        }
    }

    pub(super) fn write_tag(&mut self, name: &str, attrs: &[(&str, &str)]) {
        self.out.push('<');
        self.out.push_str(name);
        for &(key, value) in attrs {
            let key_max = if key.eq_ignore_ascii_case("content") { CONTENT_BYTES_MAX } else { VALUE_BYTES_MAX };
            let handler = key.len() > 2 && key.as_bytes()[..2].eq_ignore_ascii_case(b"on");
            let style =
                key.eq_ignore_ascii_case("style") && !value.contains("display") && !value.contains("visibility");
            if handler || style || value.len() > key_max {
                continue;
            }
            self.out.push(' ');
            self.out.push_str(key);
            if !value.is_empty() {
                let quote = if value.contains('"') && !value.contains('\'') { '\'' } else { '"' };
                self.out.push('=');
                self.out.push(quote);
                if value.contains(quote) || value.contains('\0') {
                    self.out.push_str(&value.replace('"', "&quot;").replace('\0', ""));
                } else {
                    self.out.push_str(value);
                }
                self.out.push(quote);
            }
        }
        self.out.push('>');
    }

    pub(super) fn in_table_structure(&self) -> bool {
        self.open.last().is_some_and(|o| matches!(o.kind, Kind::Table | Kind::TableBody | Kind::Row))
    }

    pub(super) fn in_row(&self) -> bool {
        self.open.last().is_some_and(|o| o.kind == Kind::Row)
    }

    /// Loose content of a table gets a cell of its own, where a browser would move it before the table.
    pub(super) fn imply_cell(&mut self) {
        if !self.in_row() {
            self.push("tr".into(), Kind::Row, &[]);
        }
        self.push("td".into(), Kind::Cell, &[]);
    }
}

/// `String` has no `extend_from_within`.
trait ExtendFromWithin {
    fn extend_from_within_str(&mut self, range: std::ops::Range<usize>);
}

impl ExtendFromWithin for String {
    fn extend_from_within_str(&mut self, range: std::ops::Range<usize>) {
        let piece = self[range].to_owned();
        self.push_str(&piece);
    }
}
