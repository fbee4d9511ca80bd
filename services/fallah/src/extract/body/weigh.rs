//! How much text each part of a page holds, and which parts are dead: never read, whatever is chosen.

use crate::extract::hints::{Hint, hint};
use crate::extract::html::Tree;

/// A block of text that may be a paragraph has at least this many letters outside of links.
const PARAGRAPH_CHARS_MIN: usize = 40;
/// What holds this share of the page's paragraphs is not dead, whatever its name.
const SPARED_SHARE: f32 = 0.35;

/// Readers may write more than the author; only a page of nothing else is about what they say.
const SPARED_TALK_SHARE: f32 = 0.8;

/// Weights of all nodes.
pub(super) struct Weights {
    /// Text below that is not in links and stands in paragraphs of some length.
    pub(super) prose: Vec<f32>,
    /// Letters below.
    pub(super) chars: Vec<u32>,
    /// Letters below that stand in links.
    pub(super) linked: Vec<u32>,
    /// Parts that are not read.
    pub(super) dead: Vec<bool>,
    /// What the names say.
    pub(super) hints: Vec<Hint>,
}

impl Weights {
    /// Weighs a page. `dropped` are the roots of parts that a rule leaves out; with `strict`, names of noise are believed.
    pub(super) fn of(tree: &Tree, dropped: &[usize], strict: bool) -> Self {
        let count = tree.len();
        let (chars, linked) = count_chars(tree);
        let mut weights = Weights {
            prose: prose(tree, &chars, &linked),
            chars,
            linked,
            dead: vec![false; count],
            hints: vec![Hint::Nothing; count],
        };
        let total = weights.prose.first().copied().unwrap_or(0.0).max(weights.body_prose(tree));
        for &root in dropped {
            weights.kill(tree, root);
        }
        let mut at = 0;
        while at < count {
            if weights.dead[at] {
                at = tree.end(at);
                continue;
            }
            if tree.is_element(at) {
                weights.hints[at] = hint(tree, at);
                let spared = if weights.hints[at] == Hint::Talk { SPARED_TALK_SHARE } else { SPARED_SHARE };
                let believed = strict || weights.hints[at] != Hint::Noise;
                let hint = if believed { weights.hints[at] } else { Hint::Nothing };
                if is_dead(tree, at, hint) && weights.prose[at] <= total * spared {
                    weights.kill(tree, at);
                    at = tree.end(at);
                    continue;
                }
            }
            at += 1;
        }
        weights.recount(tree);
        weights
    }

    /// The share of a part's letters that stand in links.
    pub(super) fn link_density(&self, at: usize) -> f32 {
        if self.chars[at] == 0 { 0.0 } else { self.linked[at] as f32 / self.chars[at] as f32 }
    }

    /// Gives up more parts, each no larger than what is spared.
    pub(super) fn kill_all(&mut self, tree: &Tree, roots: &[usize]) {
        for &root in roots {
            if self.dead[root] {
                continue;
            }
            let (prose, chars, linked) = (self.prose[root], self.chars[root], self.linked[root]);
            for up in tree.ancestors(root) {
                self.prose[up] = (self.prose[up] - prose).max(0.0);
                self.chars[up] = self.chars[up].saturating_sub(chars);
                self.linked[up] = self.linked[up].saturating_sub(linked);
            }
            self.kill(tree, root);
        }
    }

    fn kill(&mut self, tree: &Tree, at: usize) {
        for n in tree.subtree(at) {
            self.dead[n] = true;
        }
    }

    fn body_prose(&self, tree: &Tree) -> f32 {
        tree.named("body").next().map_or(0.0, |n| self.prose[n])
    }

    /// Weighs again without what is dead.
    fn recount(&mut self, tree: &Tree) {
        for at in (0..tree.len()).rev() {
            if self.dead[at] {
                // Taken from what stands above once, at the root of the dead part.
                let root = tree.parent(at).is_none_or(|p| !self.dead[p]);
                if root {
                    let (prose, chars, linked) = (self.prose[at], self.chars[at], self.linked[at]);
                    for up in tree.ancestors(at) {
                        self.prose[up] = (self.prose[up] - prose).max(0.0);
                        self.chars[up] = self.chars[up].saturating_sub(chars);
                        self.linked[up] = self.linked[up].saturating_sub(linked);
                    }
                }
            }
        }
    }
}

fn count_chars(tree: &Tree) -> (Vec<u32>, Vec<u32>) {
    let count = tree.len();
    let (mut chars, mut linked) = (vec![0_u32; count], vec![0_u32; count]);
    let mut link_end = 0;
    for at in 0..count {
        if tree.name(at) == "a" && tree.has_attr(at, "href") {
            link_end = link_end.max(tree.end(at));
        }
        if let Some(text) = tree.own_text(at) {
            chars[at] = text.chars().filter(|c| !c.is_whitespace()).count() as u32;
            linked[at] = if at < link_end { chars[at] } else { 0 };
        }
    }
    for at in (0..count).rev() {
        if let Some(up) = tree.parent(at) {
            chars[up] += chars[at];
            linked[up] += linked[at];
        }
    }
    (chars, linked)
}

/// Sums paragraphs upwards. A paragraph is a block whose own inline content is long enough.
fn prose(tree: &Tree, chars: &[u32], linked: &[u32]) -> Vec<f32> {
    let count = tree.len();
    // Inline content that belongs to each block directly.
    let (mut own, mut own_linked) = (vec![0_u32; count], vec![0_u32; count]);
    for at in 0..count {
        if tree.own_text(at).is_some()
            && chars[at] > 0
            && let Some(block) = tree.ancestors(at).take(24).find(|&n| is_container(tree.name(n)))
        {
            own[block] += chars[at];
            own_linked[block] += linked[at];
        }
    }
    let mut prose = vec![0.0_f32; count];
    for at in (0..count).rev() {
        let plain = own[at].saturating_sub(own_linked[at]) as usize;
        if plain >= PARAGRAPH_CHARS_MIN && own_linked[at] * 2 < own[at] {
            let weight = match tree.name(at) {
                "p" | "blockquote" | "pre" => 1.0,
                "li" | "dd" | "td" => 0.6,
                "figcaption" | "button" | "label" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => 0.0,
                _ => 0.8,
            };
            prose[at] += plain as f32 * weight;
        }
        if let Some(up) = tree.parent(at) {
            prose[up] += prose[at];
        }
    }
    prose
}

fn is_container(name: &str) -> bool {
    !matches!(
        name,
        "a" | "span"
            | "b"
            | "i"
            | "em"
            | "strong"
            | "font"
            | "u"
            | "s"
            | "small"
            | "sup"
            | "sub"
            | "code"
            | "mark"
            | "q"
            | "cite"
            | "abbr"
            | "big"
            | "bdi"
            | "bdo"
            | "ins"
            | "del"
            | "kbd"
            | "tt"
            | "br"
            | ""
            | "ruby"
            | "strike"
            | "time"
            | "var"
            | "dfn"
            | "data"
    )
}

fn is_dead(tree: &Tree, at: usize, hint: Hint) -> bool {
    match tree.name(at) {
        "nav" | "footer" | "aside" | "button" | "figcaption" | "dialog" | "head" | "label" | "fieldset" | "menu"
        | "search" | "hr" | "amp-ad" | "amp-embed" | "amp-sidebar" => return true,
        "body" | "html" | "h1" => return false,
        // A form around a whole page is a habit of old servers; a form in it asks for something.
        "form" => return true,
        _ => {}
    }
    if matches!(hint, Hint::Noise | Hint::Talk) {
        return true;
    }
    let role = tree.attr(at, "role").unwrap_or_default();
    if matches!(
        role,
        "navigation"
            | "banner"
            | "complementary"
            | "contentinfo"
            | "search"
            | "dialog"
            | "alertdialog"
            | "menu"
            | "menubar"
            | "toolbar"
            | "tooltip"
            | "tablist"
    ) {
        return true;
    }
    if tree.has_attr(at, "hidden") || tree.attr(at, "aria-hidden") == Some("true") {
        return true;
    }
    tree.attr(at, "style").is_some_and(|style| {
        let style: String = style.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
        style.contains("display:none") || style.contains("visibility:hidden")
    })
}
