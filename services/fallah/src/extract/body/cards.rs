//! Lists of other articles: several boxes in a row, each with a heading that is a link into the same site.

use std::collections::HashMap;

use super::weigh::Weights;
use crate::extract::html::Tree;

/// So many boxes make a list.
const CARDS_MIN: usize = 3;
/// A box with more text than this on average is a chapter.
const PROSE_PER_CARD_MAX: f32 = 350.0;
/// A heading stands at most so deep in its box.
const DEPTH_MAX: usize = 7;
/// What holds this share of the page's prose is spared.
const SPARED_SHARE: f32 = 0.8;

/// The lists of a page.
pub(super) fn cards(tree: &Tree, weights: &Weights, url: &str) -> Vec<usize> {
    let rest = url.split_once("//").map_or(url, |(_, r)| r);
    let own = rest.split(['/', '?', ':']).next().unwrap_or_default().trim_start_matches("www.");
    // For each possible list, the children that hold a linked heading.
    let mut boxes: HashMap<usize, Vec<usize>> = HashMap::new();
    for at in tree.elements().filter(|&n| !weights.dead[n] && is_linked_heading(tree, weights, n, own)) {
        let mut child = at;
        for up in tree.ancestors(at).take(DEPTH_MAX) {
            let children = boxes.entry(up).or_default();
            if children.last() != Some(&child) {
                children.push(child);
            }
            child = up;
        }
    }
    let total = tree.named("body").next().map_or(0.0, |n| weights.prose[n]);
    let is_list = |at: usize, cards: &[usize]| {
        let all = tree.children(at).filter(|&n| weights.chars[n] > 0 && !weights.dead[n]).count();
        let prose: f32 = cards.iter().map(|&n| weights.prose[n]).sum();
        cards.len() >= CARDS_MIN
            && cards.len() * 10 >= all * 6
            && prose / (cards.len() as f32) < PROSE_PER_CARD_MAX
            && weights.prose[at] <= total * SPARED_SHARE
    };
    let mut lists: Vec<usize> = boxes.iter().filter(|(at, cards)| is_list(**at, cards)).map(|(at, _)| *at).collect();
    lists.sort_unstable();
    lists
}

fn is_linked_heading(tree: &Tree, weights: &Weights, at: usize, own: &str) -> bool {
    let heading = matches!(tree.name(at), "h2" | "h3" | "h4" | "h5" | "h6")
        || tree.attr(at, "class").is_some_and(|c| {
            let c = c.to_ascii_lowercase();
            (c.contains("title") || c.contains("headline")) && tree.end(at) - at < 12
        });
    heading && weights.chars[at] > 12 && weights.link_density(at) > 0.85 && leads_inside(tree, at, own)
}

/// Whether the link around or in a heading stays on the site: shops' goods are what an article is about.
fn leads_inside(tree: &Tree, at: usize, own: &str) -> bool {
    let around = std::iter::once(at).chain(tree.ancestors(at)).take(5).find(|&n| tree.name(n) == "a");
    let link = around.or_else(|| tree.subtree(at).find(|&n| tree.name(n) == "a"));
    let Some(href) = link.and_then(|n| tree.attr(n, "href")) else { return false };
    let Some((_, rest)) = href.split_once("//") else { return !href.starts_with('#') };
    let host = rest.split(['/', '?', ':']).next().unwrap_or_default();
    !own.is_empty() && host.ends_with(own)
}
