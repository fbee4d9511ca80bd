//! A part of the page as lines: paragraphs, headings, items, rows, each with what is needed to judge it.

use super::lines::{self, Line, LineKind};
use super::weigh::Weights;
use crate::extract::hints::Hint;
use crate::extract::html::{Tree, squeeze};

/// A list or a box with more of its letters in links than this leads elsewhere.
const LINKED_BOX_SHARE: f32 = 0.6;

/// The text of some parts; those inside others are not read twice.
pub(super) fn outermost(
    tree: &Tree,
    weights: &Weights,
    roots: &[usize],
    title: Option<&str>,
    names: &[String],
) -> String {
    let mut all = Vec::new();
    let mut behind = 0;
    for &root in roots {
        if root >= behind {
            all.extend(read(tree, weights, root));
            behind = tree.end(root);
        }
    }
    lines::finish(all, title, names)
}

/// A row of a table of facts has no more letters.
const ROW_CHARS_MAX: u32 = 240;

struct Reading {
    lines: Vec<Line>,
    text: String,
    chars: u32,
    linked: u32,
    pre: bool,
    /// Whether the line goes on a paragraph behind a single line break.
    soft: bool,
}

impl Reading {
    fn flush(&mut self, kind: LineKind) {
        let text = if self.pre { self.text.trim_matches('\n').trim_end().to_owned() } else { squeeze(&self.text) };
        self.text.clear();
        if !text.is_empty() {
            self.lines.push(Line { text, kind, chars: self.chars, linked: self.linked, soft: self.soft });
            self.soft = false;
        }
        (self.chars, self.linked) = (0, 0);
    }
}

fn read(tree: &Tree, weights: &Weights, root: usize) -> Vec<Line> {
    let mut out = Reading { lines: Vec::new(), text: String::new(), chars: 0, linked: 0, pre: false, soft: false };
    // Open blocks: where each ends and what its text is.
    let mut open: Vec<(usize, LineKind)> = vec![(tree.end(root), LineKind::Paragraph)];
    let mut link_end = 0;
    let mut at = root;
    while at < tree.end(root) {
        while let Some(&(end, kind)) = open.last()
            && at >= end
        {
            out.flush(kind);
            (out.pre, out.soft) = (false, false);
            open.pop();
        }
        if at != root && (weights.dead[at] || leads_elsewhere(tree, weights, at)) {
            if tree.is_element(at) && crate::extract::html::is_block(tree.name(at)) {
                out.flush(open.last().map_or(LineKind::Paragraph, |o| o.1));
            }
            at = tree.end(at);
            continue;
        }
        if let Some(text) = tree.own_text(at) {
            out.text.push_str(text);
            out.chars += weights.chars[at];
            out.linked += if at < link_end { weights.chars[at] } else { 0 };
            at += 1;
            continue;
        }
        let name = tree.name(at);
        let around = open.last().map_or(LineKind::Paragraph, |o| o.1);
        match name {
            "a" if tree.has_attr(at, "href") => link_end = link_end.max(tree.end(at)),
            "br" if out.pre => out.text.push('\n'),
            // Two line breaks make a paragraph on pages that have no others.
            "br" if follows_break(tree, at) => {
                out.flush(around);
                out.soft = false;
            }
            "br" if around == LineKind::Paragraph => {
                out.flush(around);
                out.soft = true;
            }
            "br" => out.text.push(' '),
            "td" | "th" if around == LineKind::Row => out.text.push(' '),
            _ if crate::extract::html::is_block(name) => {
                out.flush(around);
                out.soft = false;
                let kind = match name {
                    "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => LineKind::Heading,
                    "li" | "dd" | "dt" => LineKind::Item,
                    // A row of much text is a page laid out with tables.
                    "tr" if weights.chars[at] <= ROW_CHARS_MAX => LineKind::Row,
                    "pre" => LineKind::Pre,
                    // A paragraph in an item is the item.
                    _ if around == LineKind::Item || around == LineKind::Row => around,
                    _ => LineKind::Paragraph,
                };
                out.pre = name == "pre";
                open.push((tree.end(at), kind));
            }
            _ => {}
        }
        at += 1;
    }
    while let Some((_, kind)) = open.pop() {
        out.flush(kind);
    }
    out.lines
}

/// Whether a line break follows another, with nothing but blanks between.
fn follows_break(tree: &Tree, at: usize) -> bool {
    let mut before = tree.prev(at);
    while let Some(n) = before {
        match tree.own_text(n) {
            Some(text) if text.trim().is_empty() => before = tree.prev(n),
            _ => return tree.name(n) == "br",
        }
    }
    false
}

/// Boxes of links: related articles, tags, tables of contents. A paragraph with many links is still one.
fn leads_elsewhere(tree: &Tree, weights: &Weights, at: usize) -> bool {
    if !matches!(tree.name(at), "ul" | "ol" | "div" | "section" | "table" | "dl" | "header") || weights.chars[at] == 0
    {
        return false;
    }
    if weights.hints[at] == Hint::Body {
        return false;
    }
    let density = weights.link_density(at);
    let plain = weights.chars[at] - weights.linked[at];
    density > LINKED_BOX_SHARE && plain < 200
}
