//! When the article came out and when it was changed, by the first source that can be believed, and by what readers
//! see beside the title.

use super::date::{Moment, Reader};
use super::hints;
use super::html::Tree;
use super::linked::Linked;
use super::meta::Meta;
use super::rules::Rules;
use super::shown::{SHOWN_CHARS_MAX, Seen};

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
        let seen = Seen::read(self.tree, self.title, self.reader);
        let address = self.reader.read_url(self.url);
        let modified = ruled(&self.rules.modified_at)
            .or_else(|| self.read(self.linked.article_text(&["dateModified"])))
            .or_else(|| self.read(self.linked.page_text(&["dateModified"])))
            .or_else(|| self.first(self.prop("dateModified").iter().map(String::as_str)))
            .or_else(|| self.in_meta(MODIFIED));
        let ruled_published = ruled(&self.rules.published_at).map(|m| seen.same_day(m, address));
        let published = || {
            self.read(self.linked.article_text(&["datePublished"]))
                .or_else(|| self.first(self.prop("datePublished").iter().map(String::as_str)))
                .or_else(|| self.in_meta(PUBLISHED))
                .or_else(|| self.read(self.linked.page_text(&["datePublished"])))
                .or_else(|| self.read(self.linked.text(&["dateCreated", "uploadDate"])))
                .or_else(|| self.first(self.prop("dateCreated").iter().map(String::as_str)))
                .or_else(|| seen.first())
                .or_else(|| seen.in_line())
                .or(address)
                .or_else(|| self.in_scripts())
                .or(modified)
                .map(|m| seen.told(m, modified, address))
        };
        let zone = self.rules.time_zone.as_ref().map(|z| &z.0);
        let published = ruled_published.or_else(published).map(|m| m.assume(zone));
        Times { published, modified: modified.map(|m| m.assume(zone)) }
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
        let at = tree.elements().filter(|&n| has(n) && !hints::is_elsewhere_from(tree, n, self.title)).take(4);
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
}
