//! The sentence or two between the title and the text: part of the article, though it stands outside of its text.

use super::weigh::Weights;
use crate::extract::hints::is_elsewhere;
use crate::extract::html::Tree;
use crate::extract::site::fold;

const DECK_CHARS_MIN: usize = 20;
const DECK_CHARS_MAX: usize = 600;
/// It is looked for in this many nodes behind the title.
const NODES_MAX: usize = 160;
/// So many folded letters alike make two texts the same.
const ALIKE_CHARS: usize = 50;

/// The deck, when it is visible and not part of `body` already. `leads` are the page's descriptions of itself.
pub(super) fn deck(
    tree: &Tree,
    weights: &Weights,
    root: Option<usize>,
    title: Option<&str>,
    heading: usize,
    leads: &[String],
    body: &str,
) -> Option<String> {
    let title = fold(title?);
    let leads: Vec<String> = leads.iter().map(|l| fold(l)).filter(|l| l.chars().count() >= DECK_CHARS_MIN).collect();
    // A text that lies behind the title ends the search; one around it does not.
    let text_from = root.filter(|&r| r > heading).unwrap_or(usize::MAX);
    let end = (heading + NODES_MAX).min(tree.len()).min(text_from);
    for at in tree.end(heading)..end {
        if !matches!(
            tree.name(at),
            "p" | "h2" | "h3" | "h4" | "div" | "span" | "strong" | "em" | "section" | "header"
        ) {
            continue;
        }
        // A box that holds more than a few nodes is searched in its turn.
        if tree.end(at) - at > 16 || weights.link_density(at) > 0.5 || is_elsewhere(tree, at) {
            continue;
        }
        let text = tree.text(at);
        let folded = fold(&text);
        if !(DECK_CHARS_MIN..=DECK_CHARS_MAX).contains(&text.chars().count()) || folded == title {
            continue;
        }
        let told = leads.iter().any(|l| same_start(l, &folded));
        if told || (is_named(tree, at) && text.split_whitespace().count() > 4) {
            let known: String = folded.chars().take(ALIKE_CHARS).collect();
            return (!fold(body).contains(&known)).then_some(text);
        }
    }
    None
}

fn same_start(one: &str, other: &str) -> bool {
    let count = one.chars().count().min(other.chars().count()).min(ALIKE_CHARS);
    count >= DECK_CHARS_MIN && one.chars().take(count).eq(other.chars().take(count))
}

/// Names for a deck in the newsrooms of several languages.
fn is_named(tree: &Tree, at: usize) -> bool {
    if tree.attr(at, "itemprop").is_some_and(|p| matches!(p, "description" | "alternativeHeadline")) {
        return true;
    }
    ["class", "id", "data-testid"].iter().filter_map(|k| tree.attr(at, k)).any(|value| {
        let lower = value.to_ascii_lowercase();
        let whole = lower.split(|c: char| !c.is_alphanumeric()).any(|w| {
            matches!(
                w,
                "deck"
                    | "dek"
                    | "standfirst"
                    | "subtitle"
                    | "subheadline"
                    | "subheading"
                    | "subhead"
                    | "lede"
                    | "lead"
                    | "intro"
                    | "excerpt"
                    | "strapline"
                    | "tagline"
                    | "chapo"
                    | "sapo"
                    | "sommario"
                    | "entradilla"
                    | "bajada"
                    | "ingress"
                    | "manchet"
                    | "vorspann"
                    | "subhed"
                    | "abstract"
            )
        });
        whole
            || lower.contains("sub-title")
            || lower.contains("sub-head")
            || lower.contains("sub_title")
            || lower.contains("standfirst")
    })
}
