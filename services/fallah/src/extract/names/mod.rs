//! From a byline to people's names: prefixes, places, posts and agencies go; what is no name is nobody.

mod lists;
mod one;

use super::html::{entities::unescape, squeeze};
use super::linked::strip_tags;
use super::site::{Site, fold};
use lists::{PREFIXES, SUFFIXES, WAW_NAMES};
use one::name;

/// A byline names few people; a longer list is something else.
pub(super) const AUTHORS_MAX: usize = 12;
const BYLINE_CHARS_MAX: usize = 400;

/// The people that a byline names, in its order.
pub(super) fn people(byline: &str, site: &Site) -> Vec<String> {
    let text = squeeze(&strip_tags(&unescape(byline)));
    if text.is_empty() || text.chars().count() > BYLINE_CHARS_MAX {
        return Vec::new();
    }
    let mut people: Vec<String> = Vec::new();
    let text = without_addresses(&without_brackets(strip_prefixes(&text)));
    for line in text.split(['|', '•', '·', '/', '\n', '؛', ';', '…']) {
        // A dash parts the name from a place, a post, or the paper: the first side that is a name counts.
        let sides =
            line.split(" - ").flat_map(|s| s.split(" – ")).flat_map(|s| s.split(" — ")).flat_map(|s| s.split("--"));
        // A place has mostly one word, and a person mostly two.
        let sides: Vec<Vec<String>> = sides.map(|side| list(side, site)).filter(|names| !names.is_empty()).collect();
        let full = sides.iter().find(|names| names.iter().all(|n| n.contains(' ')));
        for name in full.or(sides.first()).cloned().unwrap_or_default() {
            if people.len() < AUTHORS_MAX && !people.iter().any(|p| fold(p) == fold(&name)) {
                people.push(name);
            }
        }
    }
    people
}

/// Whether a text begins as a byline does: "By Jane Doe", "بقلم: فلان".
pub(super) fn has_prefix(text: &str) -> bool {
    strip_prefixes(text).len() < text.trim().len()
}

fn strip_prefixes(text: &str) -> &str {
    let mut text = text.trim();
    'again: loop {
        for prefix in PREFIXES.split('|') {
            let Some(head) = text.get(..prefix.len()) else { continue };
            if head.to_lowercase() != prefix {
                continue;
            }
            let rest = &text[prefix.len()..];
            let bare = rest.trim_start_matches([' ', ':', '\u{a0}', '/', '-', '–', '،', '.']);
            // "Byron" begins with "by"; "di" and "de" begin names, unless a colon follows.
            let short = matches!(prefix, "di" | "de" | "av" | "af" | "text" | "текст" | "do");
            // "di Mario Rossi" is by Mario Rossi, and Di Stefano is a name.
            let small = matches!(prefix, "di" | "av" | "af")
                && text.starts_with(prefix)
                && bare.split_whitespace().count() > 1;
            // Markup that puts the word in a box of its own leaves no blank: "ByJane Doe".
            let glued = head == "By" && rest.starts_with(char::is_uppercase);
            let parted = if short && !small { rest.trim_start().starts_with(':') } else { bare.len() < rest.len() };
            if (parted || glued) && !bare.is_empty() {
                text = bare;
                continue 'again;
            }
        }
        return by_any_work(text).unwrap_or(text);
    }
}

/// "Guest post by Jane Doe": whatever work was done, who did it stands behind the word.
fn by_any_work(text: &str) -> Option<&str> {
    const WORDS_MAX: usize = 3;
    let at = text.find(" by ")?;
    let (work, name) = (&text[..at], &text[at + 4..]);
    let small = work.split_whitespace().skip(1).all(|w| w.starts_with(char::is_lowercase));
    let fits = work.split_whitespace().count() <= WORDS_MAX && small && !work.contains([',', '،', '|']);
    (fits && name.starts_with(char::is_uppercase)).then_some(name)
}

fn without_brackets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// A byline may name the paper's or the author's address, which a bar or a slash would cut into names.
fn without_addresses(text: &str) -> String {
    let is_address = |w: &&str| {
        let w = w.to_ascii_lowercase();
        w.contains("://") || w.starts_with("www.") || w.contains('@') || is_domain(&w)
    };
    text.split(' ').map(|w| if is_address(&w) { "|" } else { w }).collect::<Vec<_>>().join(" ")
}

/// `example.in`, but not `J.R.` or `Jr.`.
fn is_domain(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    word.rsplit_once('.').is_some_and(|(head, tld)| {
        head.chars().count() >= 3
            && !head.ends_with('.')
            && (2..=6).contains(&tld.len())
            && tld.bytes().all(|b| b.is_ascii_lowercase())
    })
}

/// The names in "A, B and C", with "A, Staff Writer" and "A, Jr." told apart.
fn list(text: &str, site: &Site) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for part in split_and(text) {
        for (n, piece) in part.split([',', '،', '、']).enumerate() {
            let piece = piece.trim();
            if n > 0 && SUFFIXES.has(fold(piece).as_str()) {
                if let Some(last) = names.last_mut()
                    && matches!(fold(piece).as_str(), "jr" | "sr" | "ii" | "iii" | "iv")
                {
                    last.push(' ');
                    last.push_str(piece);
                }
                continue;
            }
            match name(piece, site) {
                Some(name) => names.push(name),
                // Behind the first name, a piece that is none ends the list: a post, a place, a date.
                None if !names.is_empty() => break,
                None => {}
            }
        }
    }
    names
}

fn split_and(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let words: Vec<&str> = text.split_whitespace().collect();
    for (n, word) in words.iter().enumerate() {
        let lower = word.to_lowercase();
        if matches!(
            lower.as_str(),
            "and" | "&" | "und" | "et" | "with" | "و" | "и" | "og" | "och" | "en" | "ve" | "oraz" | "i" | "e"
        ) && n > 0
            && n + 1 < words.len()
        {
            // "e" and "i" may be initials.
            let initial =
                matches!(lower.as_str(), "i" | "e" | "en") && word.chars().next().is_some_and(char::is_uppercase);
            if !initial {
                parts.push(String::new());
                continue;
            }
        }
        // The Arabic "and" is written onto the next word.
        let joined = word
            .strip_prefix('و')
            .filter(|rest| rest.chars().count() >= 2 && n >= 2 && n + 1 < words.len() && !WAW_NAMES.has(word));
        let word = match joined {
            Some(rest) => {
                parts.push(String::new());
                rest
            }
            None => word,
        };
        if let Some(part) = parts.last_mut() {
            if !part.is_empty() {
                part.push(' ');
            }
            part.push_str(word);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(byline: &str) -> Vec<String> {
        people(byline, &Site::default())
    }

    #[test]
    fn prefixes_posts_and_places_are_cut_off() {
        for (byline, want) in [
            ("By Jane Doe", vec!["Jane Doe"]),
            ("by Jane Doe, Staff Writer", vec!["Jane Doe"]),
            ("di Mario Rossi", vec!["Mario Rossi"]),
            ("By JANE DOE Associated Press", vec!["JANE DOE"]),
            ("Jane Doe Staff Reporter", vec!["Jane Doe"]),
            ("Jane Doe May 4, 2024", vec!["Jane Doe"]),
            ("ByJane Doe", vec!["Jane Doe"]),
            ("Guest post by Jane Doe", vec!["Jane Doe"]),
            ("رنا عودة رويترز", vec!["رنا عودة"]),
            ("Von Max Muster und Eva Beispiel", vec!["Max Muster", "Eva Beispiel"]),
            ("Par Jeanne Exemple, envoyée spéciale", vec!["Jeanne Exemple"]),
            ("Written by: Jane Doe | Published May 4", vec!["Jane Doe"]),
            ("JANE DOE for The Paper", vec!["JANE DOE"]),
            ("By Jane Doe and John Roe", vec!["Jane Doe", "John Roe"]),
            ("A. B. Cole, Dan Eve & Fay van Gogh", vec!["A. B. Cole", "Dan Eve", "Fay van Gogh"]),
            ("John Roe, Jr.", vec!["John Roe Jr"]),
            ("Jane Doe, Ph.D.", vec!["Jane Doe"]),
            ("بقلم: سامي العلي", vec!["سامي العلي"]),
            ("كتب – محمد سعيد", vec!["محمد سعيد"]),
            ("حسام أبو العلا - القاهرة", vec!["حسام أبو العلا"]),
            ("القاهرة - حسام أبو العلا", vec!["حسام أبو العلا"]),
            ("عمان – رنا عودة (بترا)", vec!["رنا عودة"]),
            ("كتبت: سارة محمد وأحمد علي", vec!["سارة محمد", "أحمد علي"]),
            ("إعداد: محمد وليد سعيد", vec!["محمد وليد سعيد"]),
            ("سعاد مهدي، وليد كامل", vec!["سعاد مهدي", "وليد كامل"]),
            ("Jane Doe Tuesday, May 4, 2024", vec!["Jane Doe"]),
            ("Jane Doe Tue 4 May 2024", vec!["Jane Doe"]),
            ("رنا عودة الثلاثاء 19 ديسمبر 2023", vec!["رنا عودة"]),
            ("علي محمد الخميس", vec!["علي محمد الخميس"]),
            ("بقلم: رنا عودة، سامي العلي ووليد كامل", vec!["رنا عودة", "سامي العلي", "وليد كامل"]),
            ("تقرير: رنا عودة", vec!["رنا عودة"]),
        ] {
            assert_eq!(of(byline).iter().map(|n| n.trim_end_matches('.')).collect::<Vec<_>>(), want, "{byline}");
        }
    }

    #[test]
    fn nobody_is_invented() {
        for byline in [
            "",
            "By",
            "Staff",
            "By Staff Writer",
            "ByThe Associated Press",
            "Associated Press",
            "Reuters",
            "رويترز",
            "وكالات",
            "هيئة التحرير",
            "admin",
            "@handle",
            "https://example.test/author/1",
            "www.example.com",
            "Read more about how this was made in detail",
            "12 May 2024",
            "Tue December 19, 2023",
            "الثلاثاء 19 ديسمبر 2023",
            "الثلاثاء، كانون الأول 19",
            "News Desk",
            "القاهرة",
            "عمان - بترا",
        ] {
            assert_eq!(of(byline), Vec::<String>::new(), "{byline}");
        }
    }

    #[test]
    fn a_name_that_begins_like_a_prefix_is_whole() {
        assert_eq!(of("Byron Lee"), ["Byron Lee"]);
        assert_eq!(of("Di Stefano"), ["Di Stefano"]);
        assert_eq!(of("Deborah Poole"), ["Deborah Poole"]);
    }
}
