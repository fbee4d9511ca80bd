//! What there is at which second. Nothing here knows a clock: the same second is always the same site.

use super::{articles, bulletins};

/// A page of the site at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// Its address, without the site's.
    pub(super) slug: String,
    pub(super) text: Text,
    pub(super) published: u64,
    /// When it last changed.
    pub(super) changed: u64,
    /// It was there, and is there no more.
    pub(super) gone: bool,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) language: &'static str,
    pub(super) section: &'static str,
    pub(super) author: &'static str,
    pub(super) title: String,
    pub(super) paragraphs: Vec<String>,
}

/// When an article appears, which edition of it is there from when on, and when it goes.
struct Line {
    article: usize,
    published: u64,
    editions: &'static [(u64, usize)],
    gone: Option<u64>,
}

const fn line(article: usize, published: u64) -> Line {
    Line { article, published, editions: &[], gone: None }
}

/// The first minute. The first article is edited, and at last says again what it said at first: three versions, two contents.
const LINES: [Line; 12] = [
    Line { editions: &[(10, 1), (58, 0)], ..line(0, 0) },
    Line { editions: &[(26, 1)], ..line(1, 0) },
    Line { gone: Some(20), ..line(2, 3) },
    line(3, 6),
    Line { editions: &[(44, 1)], ..line(4, 9) },
    line(5, 13),
    line(6, 17),
    Line { gone: Some(54), ..line(7, 22) },
    line(8, 28),
    line(9, 34),
    line(10, 40),
    line(11, 48),
];

/// Then bulletins: one a minute at first, and later one in five.
const FIRST_BULLETIN: u64 = 75;
const MINUTE: u64 = 60;
const QUICK_BULLETINS: u64 = 10;
const SLOW_INTERVAL: u64 = 300;
/// Of each so many one is corrected, and one is withdrawn.
const CORRECTED_OF: u64 = 3;
const CORRECTED_AFTER: u64 = 20;
const WITHDRAWN_OF: u64 = 7;
const WITHDRAWN_AFTER: u64 = 45;
/// Older ones have left the site's lists, and stay where they are.
const LISTED_MAX: u64 = 40;

/// All pages that are listed at a second, and those that have gone.
pub(super) fn at(second: u64) -> Vec<Shown> {
    let written = LINES.iter().filter(|line| line.published <= second).map(|line| written(line, second));
    let newest = bulletins_until(second);
    let issued = (newest.saturating_sub(LISTED_MAX) + 1..=newest).map(|number| bulletin(number, second));
    written.chain(issued).collect()
}

/// One page, also one that is listed no more.
pub(super) fn page(slug: &str, second: u64) -> Option<Shown> {
    if let Some(number) = slug.strip_prefix(bulletins::SLUG).and_then(|number| number.parse().ok()) {
        return (1..=bulletins_until(second)).contains(&number).then(|| bulletin(number, second));
    }
    at(second).into_iter().find(|shown| shown.slug == slug)
}

fn written(line: &Line, second: u64) -> Shown {
    let article = &articles::ARTICLES[line.article];
    let (since, edition) =
        line.editions.iter().copied().rfind(|(since, _)| *since <= second).unwrap_or((line.published, 0));
    let edition = &article.editions[edition];
    let gone = line.gone.filter(|gone| *gone <= second);
    Shown {
        slug: article.slug.to_owned(),
        text: Text {
            language: article.language,
            section: article.section,
            author: article.author,
            title: edition.title.to_owned(),
            paragraphs: edition.paragraphs.iter().map(|text| (*text).to_owned()).collect(),
        },
        published: line.published,
        changed: gone.unwrap_or(since),
        gone: gone.is_some(),
    }
}

/// When a bulletin appears.
fn issued_at(number: u64) -> u64 {
    let quick = number.min(QUICK_BULLETINS);
    FIRST_BULLETIN + (quick - 1) * MINUTE + (number - quick) * SLOW_INTERVAL
}

fn bulletins_until(second: u64) -> u64 {
    let last_quick = issued_at(QUICK_BULLETINS);
    match second {
        ..FIRST_BULLETIN => 0,
        _ if second < last_quick => (second - FIRST_BULLETIN) / MINUTE + 1,
        _ => QUICK_BULLETINS + (second - last_quick) / SLOW_INTERVAL,
    }
}

fn bulletin(number: u64, second: u64) -> Shown {
    let published = issued_at(number);
    let happened =
        |of: u64, after: u64| Some(published + after).filter(|at| number.is_multiple_of(of) && *at <= second);
    let (corrected, gone) = (happened(CORRECTED_OF, CORRECTED_AFTER), happened(WITHDRAWN_OF, WITHDRAWN_AFTER));
    Shown {
        slug: format!("{}{number}", bulletins::SLUG),
        text: bulletins::text(number, corrected.is_some()),
        published,
        changed: gone.or(corrected).unwrap_or(published),
        gone: gone.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn within_a_minute_articles_appear_change_and_go() {
        assert_eq!(at(0).len(), 2, "nobody looks at an empty site");
        let minute = at(60);
        assert_eq!(minute.len(), 12);
        assert_eq!(minute.iter().filter(|shown| shown.gone).count(), 2);
        assert_eq!(minute.iter().filter(|shown| !shown.gone && shown.changed > shown.published).count(), 3);
        let languages: BTreeSet<_> = minute.iter().map(|shown| shown.text.language).collect();
        assert_eq!(languages.into_iter().collect::<Vec<_>>(), ["ar", "en"]);
    }

    #[test]
    fn one_article_says_again_what_it_said_at_first() {
        let said = |second| at(second).swap_remove(0).text;
        assert_ne!(said(10), said(9));
        assert_eq!(said(58), said(9));
    }

    #[test]
    fn what_was_there_is_there_later_or_has_gone_for_good() {
        let mut known: Vec<Shown> = vec![];
        for second in 0..4_000 {
            for before in &known {
                let now = page(&before.slug, second).expect("a page does not vanish");
                assert!(
                    now.changed >= before.changed && now.changed <= second && (now.gone || !before.gone),
                    "{before:?}"
                );
                let same = (&now.text, now.gone) == (&before.text, before.gone);
                assert_eq!(now.changed == before.changed, same, "a change has its second: {before:?}");
            }
            known = at(second);
            let slugs: BTreeSet<_> = known.iter().map(|shown| &shown.slug).collect();
            assert_eq!(slugs.len(), known.len(), "an address belongs to one page");
        }
        assert!(known.len() > 20, "it goes on");
        assert!(at(10_000_000).len() <= 12 + 40, "and does not grow for ever");
    }

    #[test]
    fn never_does_so_much_go_that_a_site_looks_broken() {
        for second in (0..100_000).step_by(13) {
            let all = at(second);
            let gone = all.iter().filter(|shown| shown.gone).count();
            assert!(gone * 3 <= all.len(), "{gone} of {} at {second}", all.len());
        }
    }
}
