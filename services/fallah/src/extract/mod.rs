//! From a page to an article: title, authors, times, body, and the rest, without any input or output.
//!
//! For each fact the sources are asked in one order: the rules of the source, JSON-LD, microdata, what the head says,
//! and last what the page looks like. Any page can be given: what cannot be read is refused with a reason, and no page
//! costs more than its size.

mod author;
mod body;
mod date;
mod facts;
mod hints;
mod html;
mod jsonfix;
mod language;
mod linked;
mod meta;
mod names;
mod published;
mod rules;
mod selector;
mod shown;
mod site;
mod title;
mod words;

pub mod verb;

#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use author::Author;
pub use date::{Moment, Zone};
pub use html::decode::decode;
pub use rules::{Rules, ZoneName};
pub use selector::Selector;

/// A page to read.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Where it was found.
    pub url: &'a str,
    /// Its text, decoded.
    pub html: &'a str,
}

/// What a page says.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Extracted {
    /// The title without the site's name.
    pub title: Option<String>,
    /// The people who wrote it; agencies and the site itself are nobody.
    pub authors: Vec<Author>,
    /// When it came out.
    pub published_at: Option<Moment>,
    /// When it was last changed.
    pub modified_at: Option<Moment>,
    /// Plain text, paragraphs apart by a blank line.
    pub body: String,
    /// The page's own summary.
    pub lead: Option<String>,
    /// The picture that stands for the article.
    pub image: Option<String>,
    /// Pictures inside the body.
    pub images: Vec<String>,
    /// The section it appeared in.
    pub section: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The language of the text, as in `ar`; what the page declares only where the text is too short to tell.
    pub language: Option<String>,
    /// The address the page gives itself, on the same site.
    pub canonical_url: Option<String>,
    /// What the site calls itself.
    pub site_name: Option<String>,
    /// Whether the page asks not to be indexed.
    pub noindex: bool,
}

/// Why a page was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing but blanks.
    #[error("the page is empty")]
    Empty,
    /// No article is so long.
    #[error("the page has {bytes} bytes; more than {bytes_max} are not read")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        bytes_max: usize,
    },
    /// JSON, a picture, or a feed under a page's address.
    #[error("the page is not HTML")]
    NotHtml,
}

/// Reads a page as it looks now. See [`extract_at`].
pub fn extract(page: &Page<'_>, rules: &Rules) -> Result<Extracted, Unreadable> {
    extract_at(page, rules, Timestamp::now())
}

/// Reads a page as it looks at the time `now`, beyond which no article is dated.
///
/// ```
/// use fallah::extract::{Page, Rules, extract_at};
/// let html = "<html><title>Rain at last | The Paper</title><h1>Rain at last</h1><p class=byline>By Rana Odeh</p>
///     <p>It rained in the south for the first time in five months, and the farmers stood in it.</p></html>";
/// let page = Page { url: "https://thepaper.test/2024/05/01/rain", html };
/// let article = extract_at(&page, &Rules::default(), "2024-06-01T00:00:00Z".parse().unwrap()).unwrap();
/// assert_eq!(article.title.as_deref(), Some("Rain at last"));
/// assert_eq!(article.authors[0].name, "Rana Odeh");
/// assert_eq!(article.published_at.unwrap().to_string(), "2024-05-01");
/// assert!(article.body.starts_with("It rained"));
/// ```
pub fn extract_at(page: &Page<'_>, rules: &Rules, now: Timestamp) -> Result<Extracted, Unreadable> {
    if page.html.len() > html::PAGE_BYTES_MAX {
        return Err(Unreadable::TooLarge { bytes: page.html.len(), bytes_max: html::PAGE_BYTES_MAX });
    }
    let trimmed = page.html.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0');
    if trimmed.is_empty() {
        return Err(Unreadable::Empty);
    }
    if !trimmed.contains('<') || trimmed.starts_with(['{', '[']) {
        return Err(Unreadable::NotHtml);
    }

    let html::Parsed { tree, json_ld, scripts } = html::parse(page.html);
    let meta = meta::Meta::read(&tree);
    let linked = linked::Linked::read(&json_ld, page.url, &title::named(&tree, &meta));
    let site = site::Site::read(page.url, &tree, &meta, &linked, &rules.site_affixes);

    let ruled_title = rules.title.as_ref().and_then(|s| s.values(&tree).into_iter().next());
    let title = ruled_title.map(|t| title::strip(&t, &site)).or_else(|| title::title(&tree, &meta, &linked, &site));
    let place = title::place(&tree, title.as_deref());
    let authors = author::authors(&tree, &meta, &linked, &site, rules, place);
    let names: Vec<String> = authors.iter().map(|a| a.name.clone()).collect();
    let leads = facts::leads(&meta, &linked);
    let about = body::About { url: page.url, title: title.as_deref(), place, names: &names, leads: &leads };
    let body = body::body(&tree, &linked, rules, &about);

    let declared = tree.named("html").find_map(|n| tree.attr(n, "lang")).map(str::to_owned);
    let language = rules.language.clone().or_else(|| {
        let text = [title.as_deref().unwrap_or_default(), &body.text].join(" ");
        language::language(&text).map(str::to_owned).or_else(|| language::declared(declared.as_deref()?))
    });
    let month_first =
        rules.month_first.unwrap_or_else(|| reads_month_first(page.url, language.as_deref(), declared.as_deref()));
    let reader = date::Reader { now, month_first };
    let times = published::Sources {
        tree: &tree,
        meta: &meta,
        linked: &linked,
        scripts: &scripts,
        title: place,
        url: page.url,
        rules,
        reader,
    }
    .times();

    Ok(Extracted {
        lead: facts::lead(&meta, &linked, title.as_deref()),
        image: facts::image(&tree, &meta, &linked, rules, page.url),
        images: facts::images(&tree, body.root, page.url),
        section: facts::section(&tree, &meta, &linked, rules),
        tags: facts::tags(&tree, &meta, &linked, &site),
        canonical_url: facts::canonical(&tree, &meta, page.url),
        noindex: facts::noindex(&meta),
        site_name: site.name,
        published_at: times.published,
        modified_at: times.modified,
        body: body.text,
        language,
        authors,
        title,
    })
}

/// Only Americans write the month first, and they are who writes English outside of a few countries' domains.
fn reads_month_first(url: &str, language: Option<&str>, declared: Option<&str>) -> bool {
    let host = url.split_once("://").map_or(url, |(_, r)| r).split(['/', ':']).next().unwrap_or_default();
    let abroad = host
        .rsplit('.')
        .next()
        .is_some_and(|tld| tld.len() == 2 && !matches!(tld, "us" | "co" | "io" | "ai" | "tv" | "me" | "ph"));
    let declared = declared.unwrap_or_default().to_ascii_lowercase();
    let british = declared.starts_with("en-") && !matches!(declared.as_str(), "en-us" | "en-ph");
    language == Some("en") && !abroad && !british
}
