//! Sitemaps and feeds in XML.
//!
//! Files are taken as they come: end tags that match nothing, ampersands that begin nothing, entries that were not closed.
//! Namespaces are told by prefix, not by name, since the names are wrong as often as right: what belongs to an entry has the
//! entry's own prefix, so `image:loc` never passes for `loc`.

use std::io::Read;

use quick_xml::Reader;
use quick_xml::errors::{Error, SyntaxError};
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::draft::{Draft, Field};
use super::entry::Sink;
use super::source::Source;
use super::vocabulary::{Meaning, Place, attribute, kind_of_entry, kind_of_root, meaning};
use super::{Cut, Entry, Kind, Limits, NotASitemap};
use crate::address::trim;

/// Elements that were opened and never closed; the parser keeps their names.
const OPEN_MAX: usize = 100_000;
/// The longest name of an element.
const NAME_BYTES_MAX: usize = 256;
/// Text of one field that is kept: an address with some room.
const FIELD_BYTES_MAX: usize = 8 * 1024;
/// A buffer that has grown beyond this is given back.
const BUFFER_BYTES_KEPT: usize = 64 * 1024;

pub(super) fn read<R: Read>(
    source: Source<R>,
    limits: &Limits,
    sink: &mut Sink<'_, impl FnMut(Entry)>,
) -> Result<Kind, NotASitemap> {
    let mut reader = Reader::from_reader(source);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut document = Document::new(limits);
    let mut buffer = Vec::new();
    while sink.cut.is_none() && !document.closed {
        buffer.clear();
        buffer.shrink_to(BUFFER_BYTES_KEPT);
        reader.get_mut().begin_token();
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) => {
                sink.cut = reader.get_mut().cut.take().or(document.kind.map(|_| Cut::Truncated));
                break;
            }
            Ok(event) => document.take(event, sink)?,
            // It says that it can go on behind these.
            Err(Error::IllFormed(error)) => sink.note(|| error.to_string()),
            Err(error) => sink.cut = Some(reader.get_mut().cut.take().unwrap_or_else(|| cut(&error))),
        }
    }
    // What was read of the last entry counts too.
    document.finish(sink);
    document.kind.ok_or_else(|| sink.cut.clone().map_or(NotASitemap::Empty, NotASitemap::Cut))
}

fn cut(error: &Error) -> Cut {
    match error {
        Error::Syntax(SyntaxError::InvalidBangMarkup) => Cut::Malformed(error.to_string()),
        // Every other one means that the end of something was not found.
        Error::Syntax(_) => Cut::Truncated,
        _ => Cut::Malformed(error.to_string()),
    }
}

/// The file so far.
struct Document<'a> {
    limits: &'a Limits,
    kind: Option<Kind>,
    closed: bool,
    /// The local names of open elements, the root first.
    path: Vec<String>,
    /// Open elements as the parser counts them.
    open: usize,
    root_prefix: String,
    /// The language of the whole feed.
    language: String,
    entry: Option<Open>,
    /// The field that is read, and how deep it lies.
    field: Option<(Field, usize)>,
    text: String,
    text_overflowed: bool,
}

/// An entry that is read.
struct Open {
    draft: Draft,
    prefix: String,
    /// The length of the path with the entry in it.
    depth: usize,
}

impl<'a> Document<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            kind: None,
            closed: false,
            path: Vec::new(),
            open: 0,
            root_prefix: String::new(),
            language: String::new(),
            entry: None,
            field: None,
            text: String::new(),
            text_overflowed: false,
        }
    }

    fn take(&mut self, event: Event<'_>, sink: &mut Sink<'_, impl FnMut(Entry)>) -> Result<(), NotASitemap> {
        match event {
            Event::Start(element) => {
                self.open += 1;
                self.start(&element, sink)?;
            }
            Event::Empty(element) => {
                self.start(&element, sink)?;
                let name = self.path.last().cloned().unwrap_or_default();
                self.end(&name, sink);
            }
            Event::End(element) => {
                self.open = self.open.saturating_sub(1);
                self.end(&element.local_name().as_ref().to_ascii_lowercase(), sink);
            }
            Event::Text(text) => self.push(&text.xml10_content()),
            Event::CData(text) => self.push(&text.xml10_content()),
            Event::GeneralRef(reference) => self.push_reference(&reference),
            Event::DocType(text) if text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("html")) => {
                // Behind the root it is as wrong as any other DTD, and as harmless.
                return if self.kind.is_none() { Err(NotASitemap::Html) } else { Ok(()) };
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, element: &BytesStart<'_>, sink: &mut Sink<'_, impl FnMut(Entry)>) -> Result<(), NotASitemap> {
        let name = element.name();
        if name.as_ref().len() > NAME_BYTES_MAX {
            sink.cut = Some(Cut::TokenTooLarge);
            return Ok(());
        }
        let prefix = name.prefix().map_or("", |prefix| prefix.into_inner());
        let local = name.local_name().as_ref().to_ascii_lowercase();
        let Some(kind) = self.kind else { return self.root(prefix, local, element) };
        if self.path.len() >= self.limits.depth_max || self.open > OPEN_MAX {
            sink.cut = Some(Cut::TooDeep);
            return Ok(());
        }
        if let Some(entry_kind) = kind_of_entry(kind, &local, prefix == self.root_prefix) {
            // The one before may not be closed.
            if let Some(open) = &self.entry {
                self.path.truncate(open.depth - 1);
            }
            self.finish(sink);
            let is_of_feed = !matches!(kind, Kind::UrlSet | Kind::Index);
            if !is_of_feed {
                self.path.truncate(1);
            }
            self.path.push(local);
            let draft = Draft::new(entry_kind, is_of_feed, &self.language);
            let mut open = Open { draft, prefix: prefix.to_owned(), depth: self.path.len() };
            if kind == Kind::Rdf
                && let Some(about) = attribute(element, "about")
            {
                open.draft.set(Field::Guid, trim(&about));
            }
            self.entry = Some(open);
            return Ok(());
        }
        if self.field.is_none() {
            self.begin_field(kind, prefix, &local, element);
        }
        self.path.push(local);
        Ok(())
    }

    fn root(&mut self, prefix: &str, local: String, element: &BytesStart<'_>) -> Result<(), NotASitemap> {
        self.kind = kind_of_root(&local);
        if self.kind.is_none() {
            let shown = crate::exit::printable(&local.chars().take(40).collect::<String>());
            return Err(if local == "html" { NotASitemap::Html } else { NotASitemap::Root(shown) });
        }
        prefix.clone_into(&mut self.root_prefix);
        self.language = attribute(element, "lang").unwrap_or_default();
        self.path.push(local);
        Ok(())
    }

    fn begin_field(&mut self, kind: Kind, prefix: &str, local: &str, element: &BytesStart<'_>) {
        let depth = self.path.len() + 1;
        let Some(open) = &mut self.entry else {
            // `<language>` of a channel holds for its items.
            if kind == Kind::Rss && local == "language" && self.path.len() == 2 && prefix.is_empty() {
                self.begin_text(Field::Language, depth);
            }
            return;
        };
        let within: Vec<&str> = self.path[open.depth..].iter().map(String::as_str).collect();
        let place = Place { kind, within: &within, prefix, is_own: prefix == open.prefix, local };
        match meaning(&place, element) {
            Meaning::Text(field) => self.begin_text(field, depth),
            Meaning::Value(field, value) => open.draft.set(field, &value),
            Meaning::Alternate(language, loc) => open.draft.add_alternate(language, loc),
            Meaning::Nothing => {}
        }
    }

    fn begin_text(&mut self, field: Field, depth: usize) {
        self.field = Some((field, depth));
        self.text.clear();
        self.text_overflowed = false;
    }

    fn end(&mut self, local: &str, sink: &mut Sink<'_, impl FnMut(Entry)>) {
        // What was not closed within it is closed with it; an end of nothing is passed over.
        let Some(at) = self.path.iter().rposition(|name| name == local) else { return };
        self.path.truncate(at);
        self.end_field(sink);
        if self.entry.as_ref().is_some_and(|open| at < open.depth) {
            self.finish(sink);
        }
        self.closed = at == 0;
    }

    /// Keeps the text of a field that is closed.
    fn end_field(&mut self, sink: &mut Sink<'_, impl FnMut(Entry)>) {
        let Some((field, _)) = self.field.filter(|(_, depth)| self.path.len() < *depth) else { return };
        self.field = None;
        if self.text_overflowed && field != Field::Title {
            sink.note(|| format!("a text of more than {FIELD_BYTES_MAX} bytes is passed over"));
            return;
        }
        match &mut self.entry {
            Some(open) => open.draft.set(field, trim(&self.text)),
            None => trim(&self.text).clone_into(&mut self.language),
        }
    }

    /// Hands over the entry that is read, if one is.
    fn finish(&mut self, sink: &mut Sink<'_, impl FnMut(Entry)>) {
        // A field that is cut off is no field: half an address is another address.
        self.field = None;
        if let Some(open) = self.entry.take()
            && sink.cut != Some(Cut::TooManyEntries)
            && (sink.cut.is_none() || !open.draft.locs().is_empty())
        {
            sink.accept(open.draft);
        }
    }

    fn push(&mut self, text: &str) {
        if self.field.is_none() {
            return;
        }
        let room = FIELD_BYTES_MAX.saturating_sub(self.text.len());
        if text.len() > room {
            self.text_overflowed = true;
        }
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
    }

    fn push_reference(&mut self, reference: &BytesRef<'_>) {
        let name: &str = reference;
        let character = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            "nbsp" => Some('\u{a0}'),
            _ => reference.resolve_char_ref().ok().flatten(),
        };
        match character {
            Some(character) => self.push(character.encode_utf8(&mut [0; 4])),
            // An entity that only a DTD could tell, or `?a=1&b=2;`: what was written.
            None => {
                self.push("&");
                self.push(name);
                self.push(";");
            }
        }
    }
}
