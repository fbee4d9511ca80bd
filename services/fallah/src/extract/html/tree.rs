//! A parsed page as an array: `select` stores its nodes in the order of the page, so a subtree is a range of indexes,
//! and every walk is a loop.

use std::ops::Range;

use select::document::Document;
use select::node::Data;

/// A page's nodes by index.
pub(in crate::extract) struct Tree {
    doc: Document,
    /// Behind the last node below each node.
    end: Vec<usize>,
}

impl Tree {
    pub(in crate::extract) fn new(doc: Document) -> Self {
        let mut end: Vec<usize> = (1..=doc.nodes.len()).collect();
        for at in (0..end.len()).rev() {
            if let Some(parent) = doc.nodes[at].parent {
                end[parent] = end[parent].max(end[at]);
            }
        }
        Tree { doc, end }
    }

    pub(in crate::extract) fn len(&self) -> usize {
        self.end.len()
    }

    /// The name of an element, or the empty string for text.
    pub(in crate::extract) fn name(&self, at: usize) -> &str {
        match &self.doc.nodes[at].data {
            Data::Element(name, _) => &name.local,
            _ => "",
        }
    }

    pub(in crate::extract) fn is_element(&self, at: usize) -> bool {
        matches!(self.doc.nodes[at].data, Data::Element(..))
    }

    /// The text of a text node.
    pub(in crate::extract) fn own_text(&self, at: usize) -> Option<&str> {
        match &self.doc.nodes[at].data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An attribute that is present and not blank.
    pub(in crate::extract) fn attr(&self, at: usize, key: &str) -> Option<&str> {
        self.raw_attr(at, key).map(str::trim).filter(|v| !v.is_empty())
    }

    /// Whether the attribute is present at all.
    pub(in crate::extract) fn has_attr(&self, at: usize, key: &str) -> bool {
        self.raw_attr(at, key).is_some()
    }

    fn raw_attr(&self, at: usize, key: &str) -> Option<&str> {
        match &self.doc.nodes[at].data {
            Data::Element(_, attrs) => attrs.iter().find(|(name, _)| &*name.local == key).map(|(_, v)| &**v),
            _ => None,
        }
    }

    pub(in crate::extract) fn parent(&self, at: usize) -> Option<usize> {
        self.doc.nodes[at].parent
    }

    pub(in crate::extract) fn prev(&self, at: usize) -> Option<usize> {
        self.doc.nodes[at].prev
    }

    /// The node itself and everything below it.
    pub(in crate::extract) fn subtree(&self, at: usize) -> Range<usize> {
        at..self.end[at]
    }

    /// Behind the last node below this one: where a walk goes on that leaves this one out.
    pub(in crate::extract) fn end(&self, at: usize) -> usize {
        self.end[at]
    }

    pub(in crate::extract) fn children(&self, at: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.doc.nodes[at].first_child, |&n| self.doc.nodes[n].next)
    }

    pub(in crate::extract) fn ancestors(&self, at: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.parent(at), |&n| self.parent(n))
    }

    pub(in crate::extract) fn elements(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).filter(|&n| self.is_element(n))
    }

    pub(in crate::extract) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        (0..self.len()).filter(move |&n| self.name(n) == name)
    }

    /// Whether `class` is one of the element's classes.
    pub(in crate::extract) fn has_class(&self, at: usize, class: &str) -> bool {
        self.attr(at, "class").is_some_and(|all| all.split_ascii_whitespace().any(|c| c == class))
    }

    /// All text below, blanks squeezed, blocks apart.
    pub(in crate::extract) fn text(&self, at: usize) -> String {
        let mut out = String::new();
        for n in self.subtree(at) {
            match &self.doc.nodes[n].data {
                Data::Text(text) => out.push_str(text),
                Data::Element(name, _) if is_block(&name.local) => out.push(' '),
                _ => {}
            }
        }
        squeeze(&out)
    }
}

/// Elements that stand on lines of their own.
pub(in crate::extract) fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "br"
            | "button"
            | "center"
            | "dd"
            | "details"
            | "dialog"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hr"
            | "html"
            | "li"
            | "main"
            | "menu"
            | "nav"
            | "ol"
            | "p"
            | "pre"
            | "search"
            | "section"
            | "summary"
            | "table"
            | "tbody"
            | "td"
            | "tfoot"
            | "th"
            | "thead"
            | "tr"
            | "ul"
            | "listing"
            | "title"
            | "dir"
            | "hgroup"
    )
}

/// One blank between words, none around; marks without width are left out.
pub(in crate::extract) fn squeeze(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            blank = true;
        } else if matches!(c, '\u{200b}' | '\u{feff}' | '\u{ad}' | '\u{2060}' | '\u{fffc}') {
            // Nothing to see.
        } else {
            if blank && !out.is_empty() {
                out.push(' ');
            }
            blank = false;
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_a_range() {
        let tree = Tree::new(Document::from("<div><p>a<b>c</b></p><p>d</p></div>e"));
        let div = tree.named("div").next().expect("a div");
        assert_eq!(tree.text(div), "ac d");
        assert_eq!(tree.children(div).count(), 2);
        assert_eq!(tree.subtree(div).count(), 7);
    }

    #[test]
    fn blanks_of_all_kinds_are_squeezed() {
        assert_eq!(squeeze("\u{feff} a\u{a0}\n b\u{200b}c \t"), "a bc");
    }
}
