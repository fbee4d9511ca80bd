//! When the article came out and when it was changed, by the first source that can be believed.

use super::date::{Moment, Reader, Zone};
use super::hints;
use super::html::Tree;
use super::linked::Linked;
use super::meta::Meta;
use super::rules::Rules;

/// Elements that look like a date and are read.
const SHOWN_MAX: usize = 40;
const SHOWN_CHARS_MAX: usize = 120;

/// The two times of an article.
pub(super) struct Times {
    pub(super) published: Option<Moment>,
    pub(super) modified: Option<Moment>,
}

/// Everything a time can be read from.
pub(super) struct Sources<'a> {
    pub(super) tree: &'a Tree,
    pub(super) meta: &'a Meta,
    pub(super) linked: &'a Linked,
    pub(super) scripts: &'a [&'a str],
    /// Where the title stands.
    pub(super) title: usize,
    pub(super) url: &'a str,
    pub(super) rules: &'a Rules,
    pub(super) reader: Reader,
}

const PUBLISHED: &str = "article:published_time og:article:published_time og:published_time article:published datepublished \
     parsely-pub-date sailthru.date article.published published_time publish_date publish-date publishdate \
     published-date published published_at article:published_date pubdate pub_date publication_date \
     citation_publication_date citation_online_date iso-8601-publish-date dc.date.issued dcterms.issued \
     dc.issued dcterms.created dcterms.date dc.date dcterms.available dc.date.created date article:post_date \
     cxenseparse:recs:publishtime originalpublicationdate article_date_original creationdateformatted \
     bt:pubdate rnews:datepublished datecreated";

const MODIFIED: &str = "article:modified_time og:article:modified_time og:modified_time og:updated_time datemodified lastmod \
     last-modified dcterms.modified dc.date.modified article.updated lastpublisheddate article:modified";

impl Sources<'_> {
    /// Both times, by the order: rule, JSON-LD, microdata, head, the visible page, address.
    pub(super) fn times(&self) -> Times {
        let ruled = |s: &Option<super::selector::Selector>| {
            s.as_ref().and_then(|s| self.first(s.values(self.tree).iter().map(String::as_str)))
        };
        let shown = self.shown();
        let address = self.reader.read_url(self.url);
        let modified = ruled(&self.rules.modified_at)
            .or_else(|| self.read(self.linked.article_text(&["dateModified"])))
            .or_else(|| self.read(self.linked.page_text(&["dateModified"])))
            .or_else(|| self.first(self.prop("dateModified").iter().map(String::as_str)))
            .or_else(|| self.in_meta(MODIFIED));
        let published = ruled(&self.rules.published_at)
            .or_else(|| self.read(self.linked.article_text(&["datePublished"])))
            .or_else(|| self.first(self.prop("datePublished").iter().map(String::as_str)))
            .or_else(|| self.in_meta(PUBLISHED))
            .or_else(|| self.read(self.linked.page_text(&["datePublished"])))
            .or_else(|| self.read(self.linked.text(&["dateCreated", "uploadDate"])))
            .or_else(|| self.first(self.prop("dateCreated").iter().map(String::as_str)))
            .or_else(|| shown.first().copied())
            .or_else(|| self.beside_title())
            .or(address)
            .or_else(|| self.in_scripts())
            .or(modified)
            .map(|m| precise(m, &shown))
            .map(|m| as_shown(m, &shown, address));
        let zone = self.rules.time_zone.as_ref().map(|z| &z.0);
        Times { published: published.map(|m| assume(m, zone)), modified: modified.map(|m| assume(m, zone)) }
    }

    fn read(&self, text: Option<String>) -> Option<Moment> {
        self.reader.read(&text?)
    }

    fn first<'a>(&self, mut texts: impl Iterator<Item = &'a str>) -> Option<Moment> {
        texts.find_map(|t| self.reader.read(t))
    }

    fn in_meta(&self, names: &str) -> Option<Moment> {
        names.split_ascii_whitespace().find_map(|n| self.first(self.meta.all(n).iter().map(String::as_str)))
    }

    /// A short text behind the title that is a date, on pages whose markup says nothing.
    fn beside_title(&self) -> Option<Moment> {
        const NODES_MAX: usize = 250;
        const CHARS_MAX: usize = 70;
        let tree = self.tree;
        let near = self.title..tree.len().min(self.title + NODES_MAX);
        near.filter(|&n| !is_elsewhere(tree, n)).find_map(|n| {
            let text = tree.own_text(n)?.trim();
            let digits = text.chars().filter(|c| c.is_numeric()).count();
            (digits >= 5 && text.chars().count() <= CHARS_MAX).then(|| self.reader.read(text)).flatten()
        })
    }

    /// What the data of a page that is built by script says about its publication.
    fn in_scripts(&self) -> Option<Moment> {
        const KEYS: &[&str] = &[
            "datePublished",
            "publishedAt",
            "published_at",
            "publishDate",
            "publish_date",
            "publishedDate",
            "published_date",
            "publicationDate",
            "publication_date",
            "firstPublished",
            "pubDate",
            "createdDate",
        ];
        self.scripts.iter().find_map(|script| {
            KEYS.iter().find_map(|key| {
                let behind = &script[script.find(key)? + key.len()..];
                let value = behind.trim_start_matches(['"', '\'', '\\', ' ', ':', '=']);
                let end = value.find(['"', '\'', '\\', '}', '<', ';']).filter(|end| *end < SHOWN_CHARS_MAX)?;
                self.reader.read(&value[..end])
            })
        })
    }

    /// Values of a microdata property, outside of comments and other articles.
    fn prop(&self, name: &str) -> Vec<String> {
        let tree = self.tree;
        let has = |n: usize| tree.attr(n, "itemprop").is_some_and(|p| p.split_ascii_whitespace().any(|p| p == name));
        let at = tree.elements().filter(|&n| has(n) && !is_elsewhere(tree, n)).take(4);
        at.flat_map(|n| self.values_of(n)).collect()
    }

    fn values_of(&self, at: usize) -> Vec<String> {
        let tree = self.tree;
        let attrs = [
            "datetime",
            "content",
            "data-datetime",
            "data-date",
            "data-timestamp",
            "data-published",
            "dateTime",
            "title",
        ];
        let mut values: Vec<String> = attrs.iter().filter_map(|k| tree.attr(at, k)).map(str::to_owned).collect();
        let text = tree.text(at);
        if text.chars().count() <= SHOWN_CHARS_MAX {
            values.push(text);
        }
        values
    }

    /// Dates that readers see, those marked as publication and those right behind the title first.
    fn shown(&self) -> Vec<Moment> {
        let tree = self.tree;
        let title = self.title;
        let mut found: Vec<(i32, Moment)> = Vec::new();
        let mut looked = 0;
        let mut skip_to = 0;
        for at in tree.elements() {
            if at < skip_to || looked >= SHOWN_MAX {
                continue;
            }
            let is_time = tree.name(at) == "time";
            let marked = marks(tree, at);
            if !(is_time || marked > 0) || tree.end(at) - at > 40 || is_elsewhere(tree, at) {
                continue;
            }
            let text = tree.text(at);
            if text.chars().count() > SHOWN_CHARS_MAX {
                continue;
            }
            looked += 1;
            let lower = text.to_lowercase();
            let changed = ["updated", "modified", "تحديث", "تعديل", "aktualisiert", "mis à jour", "actualizado"]
                .iter()
                .any(|w| lower.contains(w));
            let written = self.reader.read(&text);
            // What readers see is the day; the attribute may be in another zone, and knows the time.
            let stamps = ["datetime", "content", "data-datetime", "data-timestamp", "data-date", "title"];
            let own = stamps.iter().find_map(|k| self.reader.read(tree.attr(at, k)?));
            let stamped = own.or_else(|| tree.subtree(at).find_map(|n| self.reader.read(tree.attr(n, "datetime")?)));
            let Some(moment) = stamped.map(|s| written.map_or(s, |w| s.shown_on(w.day()))).or(written) else {
                continue;
            };
            skip_to = tree.end(at);
            let mut points = marked * 2 + if is_time { 3 } else { 0 };
            points -= if changed { 4 } else { 0 };
            // Above stands today's date, further down stand other articles' dates.
            points += match at.abs_diff(title) {
                0..=80 => 2,
                _ if at < title => -3,
                far => -((far / 150).min(8) as i32) + 2,
            };
            found.push((points, moment));
        }
        found.sort_by_key(|(points, _)| -points);
        found.into_iter().map(|(_, m)| m).collect()
    }
}

/// Where one source knows only the day, another that shows the same day may know the time.
fn precise(moment: Moment, shown: &[Moment]) -> Moment {
    if moment.has_time() {
        return moment;
    }
    shown.iter().find(|s| s.has_time() && s.day() == moment.day()).copied().unwrap_or(moment)
}

/// A time in UTC may fall on another day than the one the page shows; then the page's day is the day.
fn as_shown(moment: Moment, shown: &[Moment], address: Option<Moment>) -> Moment {
    if moment.has_offset() && !moment.is_utc() {
        return moment;
    }
    let beside = |m: &&Moment| {
        let days = moment.day().until(m.day()).map_or(9, |span| span.get_days());
        // West of Greenwich it is still yesterday for half a day, east of it already tomorrow.
        match moment.hour() {
            Some(hour) => (days == -1 && hour < 12) || (days == 1 && hour >= 10),
            None => false,
        }
    };
    if shown.iter().take(3).chain(address.iter()).any(|s| s.day() == moment.day()) {
        return moment;
    }
    match shown.iter().take(1).chain(address.iter()).find(beside) {
        Some(other) => moment.shown_on(other.day()),
        None => moment,
    }
}

fn assume(moment: Moment, zone: Option<&Zone>) -> Moment {
    moment.assume(zone)
}

fn marks(tree: &Tree, at: usize) -> i32 {
    if matches!(tree.name(at), "body" | "html" | "article" | "main" | "a" | "img" | "meta" | "link") {
        return 0;
    }
    let mut points = 0;
    for key in ["class", "id", "data-testid", "data-component", "itemprop"] {
        let Some(value) = tree.attr(at, key) else { continue };
        let value = value.to_ascii_lowercase();
        if [
            "publish",
            "pubdate",
            "entry-date",
            "post-date",
            "posted",
            "article-date",
            "story-date",
            "article__date",
            "dateline",
            "post-time",
            "article-time",
        ]
        .iter()
        .any(|p| value.contains(p))
        {
            points = points.max(2);
        } else if value.contains("date") && !value.contains("update")
            || value.contains("timestamp")
            || value.split(|c: char| !c.is_alphanumeric()).any(|w| w == "time")
        {
            points = points.max(1);
        }
    }
    points
}

/// Dates beside the text belong to other articles, too.
fn is_elsewhere(tree: &Tree, at: usize) -> bool {
    hints::is_elsewhere(tree, at) || tree.ancestors(at).any(|n| tree.name(n) == "aside")
}
