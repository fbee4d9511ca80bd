//! What the names of classes and ids say. They are English on most pages of all languages, and they are hints: what
//! they condemn is spared when it holds much of the page's text.

mod lists;

use super::html::Tree;
use lists::{BODIES, NOISE, OTHERS, STATES, TALK};

/// What an element's names say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    Nothing,
    /// Named like the place of an article's text.
    Body,
    /// Named like what stands around or inside of articles without being their text.
    Noise,
    /// Named like the talk of readers.
    Talk,
}

/// The hint of an element's class, id and test names.
pub(super) fn hint(tree: &Tree, at: usize) -> Hint {
    if tree.attr(at, "itemprop").is_some_and(|p| p.eq_ignore_ascii_case("articleBody")) {
        return Hint::Body;
    }
    let mut found = Hint::Nothing;
    for key in ["class", "id", "data-testid", "data-component", "data-module", "data-qa"] {
        let Some(value) = tree.attr(at, key) else { continue };
        for name in value.split_ascii_whitespace().take(12) {
            match of_name(name) {
                Hint::Nothing => {}
                Hint::Body if found == Hint::Nothing => found = Hint::Body,
                Hint::Body => {}
                other => return other,
            }
        }
    }
    found
}

fn of_name(name: &str) -> Hint {
    let words = words(name);
    let has = |w: &str| words.iter().any(|x| x == w);
    if is_state(&words) {
        return if is_body(&words) { Hint::Body } else { Hint::Nothing };
    }
    if words.iter().any(|w| is_talk(w)) {
        return Hint::Talk;
    }
    if words.iter().any(|w| is_noise(w))
        || (has("more") && (has("read") || has("from") || has("stories") || has("news")))
        || (has("most") && (has("read") || has("viewed")))
        || (has("read") && (has("also") || has("next")))
        || (has("sign") && has("up"))
        || (has("see") && has("also"))
        || (has("you") && has("may"))
        || (has("up") && has("next"))
    {
        return Hint::Noise;
    }
    if is_body(&words) { Hint::Body } else { Hint::Nothing }
}

/// States and switches of a layout name what is absent or beside ("no-sidebar", "has-comments"), builders of pages call
/// everything a widget, and a widespread system writes an article's tags onto its element ("tag-gaza").
fn is_state(words: &[String]) -> bool {
    let Some(first) = words.first().filter(|_| words.len() > 1) else { return false };
    let tagged = matches!(first.as_str(), "tag" | "category")
        && !matches!(words[1].as_str(), "list" | "links" | "cloud" | "wrapper" | "container" | "items");
    let switched = words.last().is_some_and(|w| {
        matches!(w.as_str(), "open" | "closed" | "enabled" | "disabled" | "on" | "off" | "visible" | "loaded")
    });
    let beside = words[1..].iter().any(|w| matches!(w.as_str(), "with" | "has" | "no" | "without"));
    tagged || switched || beside || STATES.has(first)
}

fn is_body(words: &[String]) -> bool {
    let has = |w: &str| words.iter().any(|x| x == w);
    let subject = has("article")
        || has("entry")
        || has("post")
        || has("story")
        || has("news")
        || has("single")
        || has("page")
        || has("blog")
        || has("node")
        || has("field")
        || has("detail")
        || has("details");
    words.iter().any(|w| BODIES.has(w))
        || (subject && (has("body") || has("content") || has("text") || has("copy") || has("contents")))
        || (has("rich") && has("text"))
        || (has("body") && (has("text") || has("copy") || has("content") || has("main")))
}

fn is_talk(word: &str) -> bool {
    TALK.has(word)
}

fn is_noise(word: &str) -> bool {
    NOISE.has(word)
}

/// Whether an element belongs to comments, to other articles, to the frame of the page, or to a picture: facts found
/// there are not about this article.
pub(super) fn is_elsewhere(tree: &Tree, at: usize) -> bool {
    std::iter::once(at).chain(tree.ancestors(at)).any(|n| leads_away(tree, n))
}

/// The same, seen from the title: what holds the title, too, is the article's place, whatever its name says.
pub(super) fn is_elsewhere_from(tree: &Tree, at: usize, title: usize) -> bool {
    let around = std::iter::once(at).chain(tree.ancestors(at));
    around.take_while(|&n| !tree.subtree(n).contains(&title)).any(|n| leads_away(tree, n) || tree.name(n) == "aside")
}

fn leads_away(tree: &Tree, at: usize) -> bool {
    match tree.name(at) {
        "nav" | "footer" | "figure" | "figcaption" | "dialog" => true,
        "body" | "html" | "main" => false,
        _ if tree.has_attr(at, "hidden")
            || matches!(tree.attr(at, "role"), Some("menu" | "dialog" | "navigation")) =>
        {
            true
        }
        _ => ["class", "id"]
            .iter()
            .filter_map(|k| tree.attr(at, k))
            .any(|v| v.split_ascii_whitespace().take(12).any(is_other)),
    }
}

fn is_other(name: &str) -> bool {
    let words = words(name);
    // The foot of a headline ("headline__footer") is still the article's head.
    let head =
        words.first().is_some_and(|w| matches!(w.as_str(), "headline" | "title" | "header" | "heading" | "byline"));
    !is_state(&words) && words.iter().any(|w| is_talk(w) || OTHERS.has(w) && !(head && w == "footer"))
}

/// `articleBody-main_text` as article, body, main, text.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut last = ' ';
    for c in name.chars().take(100) {
        if !c.is_alphanumeric() {
            last = ' ';
            continue;
        }
        let starts = last == ' ' || (c.is_uppercase() && last.is_lowercase());
        if starts {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
        last = c;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_foot_of_a_headline_is_the_articles_and_that_of_a_page_is_not() {
        for (name, other) in [("headline__footer", false), ("site-footer", true), ("footer", true), ("header", false)]
        {
            assert_eq!(is_other(name), other, "{name}");
        }
    }

    #[test]
    fn names_are_read_word_by_word() {
        for (name, want) in [
            ("entry-content", Hint::Body),
            ("articleBody", Hint::Body),
            ("c-article__body", Hint::Body),
            ("related-posts", Hint::Noise),
            ("newsletterSignup", Hint::Noise),
            ("ReadMore", Hint::Noise),
            ("no-sidebar", Hint::Nothing),
            ("tag-gaza", Hint::Nothing),
            ("comments-open", Hint::Nothing),
            ("article-with-sidebar", Hint::Nothing),
            ("tag-list", Hint::Noise),
            ("elementor-widget-container", Hint::Nothing),
            ("shared-column", Hint::Nothing),
            ("comments-area", Hint::Talk),
            ("header", Hint::Nothing),
            ("adventure", Hint::Nothing),
        ] {
            assert_eq!(of_name(name), want, "{name}");
        }
    }
}
