//! What the words beside a date, or the names of its element, say that it is the date of.

use super::SHOWN_NODES_MAX;
use crate::extract::date::{Moment, Reader};
use crate::extract::html::Tree;

/// Words that announce the day of a change. Folded, and never those of a publication.
const CHANGED: &[&str] =
    &["updated", "modified", "edited on", "تحديث", "تعديل", "aktualisiert", "mis à jour", "modifié", "actualizado"];

/// Words that announce the day of publication.
const PUBLISHED: &[&str] = &["publish", "posted", "نشر", "publié", "veröffentlicht", "publicado"];

/// The date of a short text, and whether it is that of a change. Of both, the one of publication is told.
pub(super) fn dated(reader: &Reader, text: &str) -> Option<(Moment, bool)> {
    let text = fold(text);
    let Some(changed) = place(&text, CHANGED) else { return Some((reader.read(&text)?, false)) };
    let published = place(&text, PUBLISHED).filter(|&at| at > changed);
    // "1 May (updated 3 May)", "Updated 3 May, published 1 May".
    let first = reader.read(&text[..changed]).or_else(|| reader.read(&text[published?..]));
    match first {
        Some(moment) => Some((moment, false)),
        None => Some((reader.read(&text[changed..])?, true)),
    }
}

/// Whether the words right before an element announce a change: "last updated <time>".
pub(super) fn follows_change(tree: &Tree, title: usize, reader: &Reader, at: usize) -> bool {
    const PARENTS_MAX: usize = 4;
    const BEFORE_MAX: usize = 6;
    const LABEL_CHARS_MAX: usize = 40;
    let around = std::iter::once(at).chain(tree.ancestors(at));
    let below_title = around.take(PARENTS_MAX).take_while(|&n| !tree.subtree(n).contains(&title));
    let before = below_title.flat_map(|n| std::iter::successors(tree.prev(n), |&p| tree.prev(p)).take(BEFORE_MAX));
    for n in before {
        if tree.subtree(n).contains(&title) || tree.end(n) - n > SHOWN_NODES_MAX {
            return false;
        }
        let text = fold(&tree.text(n));
        if text.is_empty() {
            continue;
        }
        let skip = text.chars().count().saturating_sub(LABEL_CHARS_MAX);
        let label: String = text.chars().skip(skip).collect();
        let last = place(&label, CHANGED).filter(|&at| place(&label[at..], PUBLISHED).is_none());
        return last.is_some_and(|at| reader.read(&label[at..]).is_none());
    }
    false
}

/// Whether a text speaks of publication.
pub(super) fn says_published(text: &str) -> bool {
    place(&fold(text), PUBLISHED).is_some()
}

/// Where the first of the words stands.
fn place(folded: &str, words: &[&str]) -> Option<usize> {
    words.iter().filter_map(|w| folded.find(w)).min()
}

/// Small letters, without the marks that Arabic may carry.
fn fold(text: &str) -> String {
    let marks = |c: &char| matches!(c, '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{640}');
    text.chars().filter(|c| !marks(c)).flat_map(char::to_lowercase).collect()
}

/// `time class="updated"`, which widespread themes show instead of or behind the day of publication.
pub(super) fn is_named_change(tree: &Tree, at: usize) -> bool {
    let keys = ["class", "id", "itemprop", "data-testid"];
    let time = tree.subtree(at).find(|&n| n > at && tree.name(n) == "time");
    let names = std::iter::once(at).chain(time).flat_map(|n| keys.iter().filter_map(move |k| tree.attr(n, k)));
    let mut changed = false;
    for name in names {
        let name = name.to_ascii_lowercase();
        if name.contains("publish") || name.contains("posted") {
            return false;
        }
        changed |= name.contains("updated") || name.contains("modified");
    }
    changed
}
