//! Which part of the page holds the article.

use std::collections::HashSet;

use super::weigh::Weights;
use crate::extract::hints::Hint;
use crate::extract::html::Tree;

/// A child that holds this share of its parent's prose is where to look on.
const DESCEND_SHARE: f32 = 0.82;
/// A part named like a body counts when it holds this share of the page's prose.
const NAMED_SHARE: f32 = 0.4;
/// And this many letters of prose.
const NAMED_PROSE_MIN: f32 = 200.0;

/// The element that holds the article; none on a page without prose.
pub(super) fn root(tree: &Tree, weights: &Weights, told: Option<&str>) -> Option<usize> {
    let top = tree.named("body").next()?;
    if let Some(told) = told
        && let Some(at) = told_root(tree, weights, told)
    {
        return Some(at);
    }
    let total = weights.prose[top];
    if total <= 0.0 {
        return short_root(tree, weights, top);
    }
    let named = named_root(tree, weights, total);
    let start = named.unwrap_or(top);
    Some(descend(tree, weights, start, named.is_some()))
}

/// The part that its names call the body: the outermost of those that hold nearly the most prose.
fn named_root(tree: &Tree, weights: &Weights, total: f32) -> Option<usize> {
    let is_named =
        |n: usize| !weights.dead[n] && (weights.hints[n] == Hint::Body || matches!(tree.name(n), "article" | "main"));
    let mut best: Option<(f32, usize)> = None;
    for at in tree.elements().filter(|&n| is_named(n)) {
        let prose = weights.prose[at];
        if prose < NAMED_PROSE_MIN.min(total * 0.8) || prose < total * NAMED_SHARE {
            continue;
        }
        // A smaller part with nearly as much prose is the better one, and names are better than bare elements.
        let named = weights.hints[at] == Hint::Body;
        let points = prose * if named { 1.15 } else { 1.0 };
        if best.is_none_or(|(most, _)| points >= most * 0.9) {
            best = Some((points.max(best.map_or(0.0, |(m, _)| m * 0.9)), at));
        }
    }
    best.map(|(_, at)| together(tree, weights, at))
}

/// A body in several pieces of one class is what holds them all, if that holds little else.
fn together(tree: &Tree, weights: &Weights, at: usize) -> usize {
    const OTHER_SHARE: f32 = 1.3;
    let Some(class) = tree.attr(at, "class").filter(|_| weights.hints[at] == Hint::Body) else { return at };
    let is_twin = |n: &usize| !weights.dead[*n] && weights.prose[*n] > 0.0 && tree.attr(*n, "class") == Some(class);
    let mut sum = weights.prose[at];
    let (mut first, mut last) = (at, at);
    for twin in tree.elements().filter(is_twin).filter(|&n| n < at || n >= tree.end(at)) {
        // What holds the piece, or lies in another, is no further piece.
        if tree.end(twin) > at && twin < at {
            continue;
        }
        sum += weights.prose[twin];
        (first, last) = (first.min(twin), last.max(twin));
    }
    if first == last {
        return at;
    }
    let around = tree.ancestors(first).find(|&n| tree.end(n) > last).unwrap_or(at);
    if weights.prose[around] <= sum * OTHER_SHARE { around } else { at }
}

/// Goes down while one child holds nearly all prose. A part that was named is left only for another one of all prose.
fn descend(tree: &Tree, weights: &Weights, start: usize, named: bool) -> usize {
    let share = if named { 0.95 } else { DESCEND_SHARE };
    let mut at = start;
    loop {
        let alive = tree.children(at).filter(|&n| tree.is_element(n) && !weights.dead[n]);
        let best = alive.max_by(|a, b| weights.prose[*a].total_cmp(&weights.prose[*b]));
        match best {
            Some(child) if weights.prose[child] >= weights.prose[at] * share && is_wrapper(tree.name(child)) => {
                at = child
            }
            _ => return at,
        }
    }
}

fn is_wrapper(name: &str) -> bool {
    !matches!(name, "p" | "li" | "blockquote" | "pre" | "ul" | "ol" | "dl" | "dd" | "figure")
}

/// The smallest part that holds most of the words that the page's description gives as the article's text.
fn told_root(tree: &Tree, weights: &Weights, told: &str) -> Option<usize> {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|w| w.chars().count() > 3).map(str::to_lowercase).collect()
    };
    let wanted: HashSet<String> = words(told).into_iter().collect();
    if wanted.len() < 40 {
        return None;
    }
    // Paragraphs that are the description's, by their words.
    let mut hits = vec![0_u32; tree.len()];
    for at in tree.elements().filter(|&n| {
        !weights.dead[n] && matches!(tree.name(n), "p" | "div" | "li" | "blockquote" | "span" | "section" | "td")
    }) {
        let direct: u32 = tree.children(at).filter(|&n| tree.own_text(n).is_some()).map(|n| weights.chars[n]).sum();
        if direct < 30 {
            continue;
        }
        let words = words(&tree.children(at).filter_map(|n| tree.own_text(n)).collect::<Vec<_>>().join(" "));
        let common = words.iter().filter(|w| wanted.contains(*w)).count();
        if common * 10 >= words.len() * 8 {
            hits[at] += direct;
        }
    }
    for at in (0..tree.len()).rev() {
        if let Some(up) = tree.parent(at) {
            hits[up] += hits[at];
        }
    }
    let total = hits.iter().copied().max()?;
    if (total as usize) < told.chars().filter(|c| !c.is_whitespace()).count() / 2 {
        return None;
    }
    let mut at = tree.named("body").next()?;
    loop {
        match tree.children(at).max_by_key(|&n| hits[n]) {
            Some(child) if hits[child] * 20 >= total * 19 && tree.is_element(child) => at = child,
            _ => return Some(at),
        }
    }
}

/// On a page with hardly a sentence: what its names call the body, else what stands around the heading.
fn short_root(tree: &Tree, weights: &Weights, top: usize) -> Option<usize> {
    let named = tree
        .elements()
        .filter(|&n| !weights.dead[n] && weights.hints[n] == Hint::Body)
        .max_by_key(|&n| weights.chars[n] - weights.linked[n]);
    let plain = tree.named("article").chain(tree.named("main")).find(|&n| !weights.dead[n]);
    named
        .filter(|&n| weights.chars[n] > weights.linked[n])
        .or(plain)
        .or_else(|| {
            let h1 = tree.named("h1").next()?;
            tree.ancestors(h1).find(|&n| weights.chars[n] > weights.chars[h1] * 2)
        })
        .filter(|&n| n != top)
}
