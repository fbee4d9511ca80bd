//! The body: where it stands, what in it is not its text, and how it reads as paragraphs.

mod cards;
mod choose;
mod deck;
mod lines;
mod render;
mod weigh;

use super::html::Tree;
use super::linked::Linked;
use super::rules::Rules;
use weigh::Weights;

/// A shorter text from the page gives way to the one in its JSON-LD.
const BODY_CHARS_MIN: usize = 250;

/// So short a text is worth a second look.
const SPARSE_CHARS: usize = 500;

/// The body as plain text, paragraphs apart by a blank line, and where it was found.
pub(super) struct Body {
    pub(super) text: String,
    /// The element that holds it.
    pub(super) root: Option<usize>,
}

/// What is known about the article when its body is sought.
pub(super) struct About<'a> {
    pub(super) url: &'a str,
    pub(super) title: Option<&'a str>,
    /// Where the title stands.
    pub(super) place: usize,
    /// The authors, who may stand above and below the text without belonging to it.
    pub(super) names: &'a [String],
    /// The page's own descriptions of the article.
    pub(super) leads: &'a [String],
}

/// Finds the body.
pub(super) fn body(tree: &Tree, linked: &Linked, rules: &Rules, about: &About<'_>) -> Body {
    let About { url, title, place, names, leads } = *about;
    let dropped: Vec<usize> = rules.drop.as_ref().map(|s| s.find(tree).collect()).unwrap_or_default();
    let weigh = |strict: bool| {
        let mut weights = Weights::of(tree, &dropped, strict);
        weights.kill_all(tree, &cards::cards(tree, &weights, url));
        weights
    };
    let mut weights = weigh(true);
    let told = linked.article_text(&["articleBody", "text"]).filter(|t| t.chars().count() >= BODY_CHARS_MIN);
    let ruled: Vec<usize> = rules.body.as_ref().map(|s| s.find(tree).collect()).unwrap_or_default();
    if !ruled.is_empty() {
        return Body { text: render::outermost(tree, &weights, &ruled, title, names), root: ruled.first().copied() };
    }
    let read = |weights: &Weights| {
        let root = choose::root(tree, weights, told.as_deref());
        (root, root.map(|root| render::outermost(tree, weights, &[root], title, names)).unwrap_or_default())
    };
    let (mut root, mut text) = read(&weights);
    if text.chars().count() < SPARSE_CHARS {
        // Some pages name the boxes of their text like what stands beside texts elsewhere.
        let trusting = weigh(false);
        let (other_root, other) = read(&trusting);
        if other.chars().count() > text.chars().count() * 2 + SPARSE_CHARS / 4 {
            (root, text, weights) = (other_root, other, trusting);
        }
    }
    match told {
        // The page shows a teaser, or builds its text by script; its description holds the whole.
        Some(told) if text.chars().count() * 2 < told.chars().count() => {
            Body { text: paragraphs(linked, &told), root }
        }
        _ => {
            let deck = deck::deck(tree, &weights, root, title, place, leads, &text);
            let text = deck.into_iter().chain((!text.is_empty()).then_some(text)).collect::<Vec<_>>().join("\n\n");
            Body { text, root }
        }
    }
}

/// The article's text from JSON-LD, with its line breaks where it has them.
fn paragraphs(linked: &Linked, squeezed: &str) -> String {
    let raw = linked.article_raw("articleBody").unwrap_or_default();
    let text = super::linked::strip_tags(&super::html::entities::unescape(&raw));
    let lines: Vec<String> = text.split('\n').map(super::html::squeeze).filter(|l| !l.is_empty()).collect();
    if lines.is_empty() { squeezed.to_owned() } else { lines.join("\n\n") }
}
