//! Writes a page anew so that parsing it is safe and quick, before any parser sees it.
//!
//! The tree builder behind `select` aborts the process on deep nesting and is quadratic in depth, in unclosed
//! formatting elements, and in what stands loose in tables. So this pass keeps its own stack of open elements and lets
//! through only well-nested HTML of bounded depth and size: what HTML would close by implication is closed in writing,
//! an end tag without a start is dropped, and what is nested too deep is flattened, with its text kept.

use std::borrow::Cow;

use super::kinds::{Kind, is_scope, kind};
use super::tokens::{Token, Tokens};
use super::writer::{Open, Seen, WRITTEN_BYTES_MAX, Writer};

/// The page is cut behind this many start tags.
const TAGS_MAX: usize = 150_000;
/// Elements that are opened again behind a link that ends inside them.
const REOPENED_MAX: usize = 8;

/// A page that is safe to parse.
pub(super) struct Tidy<'a> {
    /// Well-nested HTML.
    pub(super) html: String,
    /// The raw text of every JSON-LD script.
    pub(super) json_ld: Vec<&'a str>,
    /// The raw text of other scripts.
    pub(super) scripts: Vec<&'a str>,
}

/// Rewrites `html` into a well-nested page of bounded depth and size.
pub(super) fn tidy(html: &str) -> Tidy<'_> {
    let mut tokens = Tokens::new(html);
    let mut writer = Writer {
        out: String::with_capacity(html.len() / 2 + 64),
        open: Vec::new(),
        depth: 0,
        tags: 0,
        seen: Seen::default(),
    };
    while let Some(token) = tokens.next() {
        match token {
            Token::Text(text) => writer.text(text),
            Token::Start(name) => writer.start(name, &tokens.attrs),
            Token::End(name) => writer.end(&name),
            Token::Title(text) => writer.title(text),
        }
        if writer.tags > TAGS_MAX || writer.out.len() > WRITTEN_BYTES_MAX {
            break;
        }
    }
    writer.close_to(0);
    Tidy { html: writer.out, json_ld: tokens.json_ld, scripts: tokens.scripts }
}

impl<'a> Writer<'a> {
    fn start(&mut self, name: Cow<'a, str>, attrs: &[(&str, &str)]) {
        self.tags += 1;
        match &*name {
            // Attributes of a late `html` or `body` are merged into the one that is open.
            "html" if !std::mem::replace(&mut self.seen.html, true) => return self.write_tag("html", attrs),
            "body" if !std::mem::replace(&mut self.seen.body, true) => return self.write_tag("body", attrs),
            "html" | "head" | "body" | "frameset" | "frame" | "colgroup" | "plaintext" | "wbr" | "input"
            | "embed" | "param" | "source" | "track" | "area" | "col" | "applet" | "marquee" | "bgsound"
            | "keygen" | "rb" | "rp" | "rt" | "rtc" | "option" | "optgroup" | "menuitem" | "basefont" | "nobr" => {
                return;
            }
            // A second form inside the first is none, for HTML.
            "form" if self.open.iter().any(|o| &*o.name == "form") => return,
            _ => {}
        }
        let name = if name == "caption" { Cow::Borrowed("figcaption") } else { name };
        let kind = kind(&name);
        self.imply_ends(kind);
        let void = matches!(&*name, "br" | "hr" | "img" | "image" | "link" | "meta" | "base");
        if !matches!(kind, Kind::TableBody | Kind::Row | Kind::Cell) && self.in_table_structure() {
            if matches!(&*name, "link" | "meta" | "form") {
                return;
            }
            self.imply_cell();
        }
        match kind {
            Kind::TableBody | Kind::Row | Kind::Cell if !self.table_is_open() => return,
            Kind::Cell if !self.in_row() => self.push("tr".into(), Kind::Row, &[]),
            _ => {}
        }
        if void {
            return self.write_tag(&name, attrs);
        }
        self.push(name, kind, attrs);
    }

    /// Closes what this start tag closes by implication.
    fn imply_ends(&mut self, kind: Kind) {
        match kind {
            Kind::Inline => return,
            Kind::Link => {
                if let Some(at) = self.find(|o| o.kind == Kind::Link, |o| is_scope(o.kind)) {
                    self.close_to(at);
                }
                return;
            }
            Kind::Button => {
                if let Some(at) = self.find(|o| o.kind == Kind::Button, |o| is_scope(o.kind)) {
                    self.close_to(at);
                }
                return;
            }
            Kind::TableBody | Kind::Row | Kind::Cell => return self.imply_table_ends(kind),
            Kind::Item | Kind::Term => {
                let stops = |o: &Open<'_>| {
                    !matches!(o.kind, Kind::Inline | Kind::Link | Kind::Paragraph) && &*o.name != "div"
                };
                if let Some(at) = self.find(|o| o.kind == kind, stops) {
                    self.close_to(at);
                }
            }
            Kind::Heading => {
                if self.open.last().is_some_and(|o| o.kind == Kind::Heading) {
                    self.close_to(self.open.len() - 1);
                }
            }
            Kind::Paragraph | Kind::Block | Kind::Table => {}
        }
        if let Some(at) = self.find(|o| o.kind == Kind::Paragraph, |o| is_scope(o.kind) || o.kind == Kind::Button) {
            // A link around a block was meant to go on inside the block.
            let link = self.open[at..].iter().find(|o| o.kind == Kind::Link).map(|o| o.tag.clone());
            self.close_to(at);
            if let Some(tag) = link
                && !matches!(kind, Kind::Paragraph | Kind::Item | Kind::Term)
            {
                self.reopen(Cow::Borrowed("a"), Kind::Link, tag);
            }
        }
    }

    fn imply_table_ends(&mut self, kind: Kind) {
        let closes = |o: &Open<'_>| match kind {
            Kind::Cell => o.kind == Kind::Cell,
            Kind::Row => matches!(o.kind, Kind::Cell | Kind::Row),
            _ => matches!(o.kind, Kind::Cell | Kind::Row | Kind::TableBody),
        };
        while let Some(at) = self.find(closes, |o| o.kind == Kind::Table) {
            self.close_to(at);
        }
        // Whatever else stands between the table and its part cannot stay open.
        if let Some(at) = self.find(|o| matches!(o.kind, Kind::Table | Kind::TableBody | Kind::Row), |_| false) {
            self.close_to(at + 1);
        }
    }

    fn end(&mut self, name: &str) {
        let name = if name == "caption" { "figcaption" } else { name };
        let kind = kind(name);
        if name == "br" {
            return self.out.push_str("<br>");
        }
        match kind {
            Kind::Link => self.end_link(),
            Kind::Inline => {
                let stops = |o: &Open<'_>| !matches!(o.kind, Kind::Inline | Kind::Link);
                if let Some(at) = self.find(|o| o.name == name, stops) {
                    self.close_to(at);
                }
            }
            Kind::Heading => {
                if let Some(at) = self.find(|o| o.kind == Kind::Heading, |o| is_scope(o.kind)) {
                    self.close_to(at);
                }
            }
            Kind::TableBody | Kind::Row | Kind::Cell => {
                if let Some(at) = self.find(|o| o.name == name, |o| o.kind == Kind::Table) {
                    self.close_to(at);
                }
            }
            Kind::Table => {
                if let Some(at) = self.find(|o| o.kind == Kind::Table, |_| false) {
                    self.close_to(at);
                }
            }
            _ => {
                if let Some(at) = self.find(|o| o.name == name, |o| is_scope(o.kind)) {
                    self.close_to(at);
                }
            }
        }
    }

    /// Ends a link even inside blocks that began within it; they go on behind it.
    fn end_link(&mut self) {
        let Some(at) = self.find(|o| o.kind == Kind::Link, |o| is_scope(o.kind)) else { return };
        let inside: Vec<_> = self.open[at + 1..]
            .iter()
            .filter(|o| !matches!(o.kind, Kind::Inline) && !o.tag.is_empty())
            .map(|o| (o.name.clone(), o.kind, o.tag.clone()))
            .collect();
        self.close_to(at);
        if inside.len() <= REOPENED_MAX {
            for (name, kind, tag) in inside {
                self.reopen(name, kind, tag);
            }
        }
    }

    /// The topmost open element that is `wanted`, unless one that `stops` the search stands above it.
    fn find(&self, wanted: impl Fn(&Open<'_>) -> bool, stops: impl Fn(&Open<'_>) -> bool) -> Option<usize> {
        for (at, open) in self.open.iter().enumerate().rev() {
            if wanted(open) {
                return Some(at);
            }
            if stops(open) {
                return None;
            }
        }
        None
    }

    fn table_is_open(&self) -> bool {
        self.open.iter().any(|o| o.kind == Kind::Table)
    }
}
