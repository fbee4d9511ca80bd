//! What elements mean: the words of sitemaps and of three families of feeds.

use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;

use super::draft::Field;
use super::{EntryKind, Kind};
use crate::address::trim;

/// Attributes that are looked at. Each is compared with those before it, since none may come twice.
const ATTRIBUTES_MAX: usize = 32;
/// A longer value of an attribute is no address, and nothing else is of use.
const VALUE_BYTES_MAX: usize = 8 * 1024;

/// What an element within an entry brings.
pub(super) enum Meaning {
    /// Its text is a field.
    Text(Field),
    /// One of its attributes is a field, and its text may be one too.
    Value(Field, String),
    /// A page in another language, with its address.
    Alternate(String, String),
    /// Nothing.
    Nothing,
}

/// Where an element stands. All names are in lower case, without their prefixes.
pub(super) struct Place<'a> {
    pub(super) kind: Kind,
    /// The elements between the entry and this one.
    pub(super) within: &'a [&'a str],
    pub(super) prefix: &'a str,
    /// Whether the prefix is the entry's.
    pub(super) is_own: bool,
    pub(super) local: &'a str,
}

/// What a file with this root is.
pub(super) fn kind_of_root(local: &str) -> Option<Kind> {
    match local {
        "urlset" => Some(Kind::UrlSet),
        "sitemapindex" => Some(Kind::Index),
        "rss" => Some(Kind::Rss),
        "rdf" => Some(Kind::Rdf),
        "feed" => Some(Kind::Atom),
        _ => None,
    }
}

/// What an element that begins an entry leads to; none for any other element.
pub(super) fn kind_of_entry(kind: Kind, local: &str, has_roots_prefix: bool) -> Option<EntryKind> {
    match (kind, local) {
        // Each is found in the other's file.
        (Kind::UrlSet | Kind::Index, "url") if has_roots_prefix => Some(EntryKind::Page),
        (Kind::UrlSet | Kind::Index, "sitemap") if has_roots_prefix => Some(EntryKind::Sitemap),
        (Kind::Rss, "item") | (Kind::Atom, "entry") if has_roots_prefix => Some(EntryKind::Page),
        (Kind::Rdf, "item") => Some(EntryKind::Page),
        _ => None,
    }
}

/// What an element within an entry brings.
pub(super) fn meaning(place: &Place<'_>, element: &BytesStart<'_>) -> Meaning {
    match place.kind {
        Kind::UrlSet | Kind::Index | Kind::Text => of_sitemap(place, element),
        Kind::Rss | Kind::Rdf => of_rss(place, element),
        Kind::Atom => of_atom(place, element),
    }
}

fn of_sitemap(place: &Place<'_>, element: &BytesStart<'_>) -> Meaning {
    match (place.within, place.local) {
        ([], "loc") if place.is_own => Meaning::Text(Field::Loc),
        ([], "lastmod") if place.is_own => Meaning::Text(Field::Lastmod),
        ([], "link") => match (attribute(element, "hreflang"), attribute(element, "href")) {
            (Some(language), Some(href)) => Meaning::Alternate(language, trim(&href).to_owned()),
            _ => Meaning::Nothing,
        },
        (["news"], "publication_date") => Meaning::Text(Field::Published),
        (["news"], "title") => Meaning::Text(Field::Title),
        (["news", "publication"], "language") => Meaning::Text(Field::Language),
        _ => Meaning::Nothing,
    }
}

fn of_rss(place: &Place<'_>, element: &BytesStart<'_>) -> Meaning {
    match (place.within, place.local) {
        // Atom's way to write it is found in RSS too.
        ([], "link") if place.is_own => match attribute(element, "href") {
            Some(href) => Meaning::Value(Field::Loc, trim(&href).to_owned()),
            None => Meaning::Text(Field::Loc),
        },
        ([], "guid") if place.is_own => {
            let is_number =
                attribute(element, "ispermalink").is_some_and(|value| value.eq_ignore_ascii_case("false"));
            if is_number { Meaning::Nothing } else { Meaning::Text(Field::Guid) }
        }
        ([], "origlink") => Meaning::Text(Field::BetterLoc),
        ([], "pubdate") if place.is_own => Meaning::Text(Field::Published),
        ([], "date") if place.prefix == "dc" => Meaning::Text(Field::Published),
        ([], "modified" | "updated") => Meaning::Text(Field::Lastmod),
        ([], "title") if place.is_own => Meaning::Text(Field::Title),
        ([], "language") => Meaning::Text(Field::Language),
        _ => Meaning::Nothing,
    }
}

fn of_atom(place: &Place<'_>, element: &BytesStart<'_>) -> Meaning {
    match (place.within, place.local) {
        ([], "link") if place.is_own => {
            let relation = attribute(element, "rel").unwrap_or_default();
            let is_page = attribute(element, "type").is_none_or(|media| media.contains("html"));
            match attribute(element, "href") {
                Some(href) if is_page && matches!(relation.as_str(), "" | "alternate") => {
                    Meaning::Value(Field::Loc, trim(&href).to_owned())
                }
                _ => Meaning::Nothing,
            }
        }
        ([], "id") if place.is_own => Meaning::Text(Field::Guid),
        ([], "published" | "issued") if place.is_own => Meaning::Text(Field::Published),
        ([], "date") if place.prefix == "dc" => Meaning::Text(Field::Published),
        ([], "updated" | "modified") if place.is_own => Meaning::Text(Field::Lastmod),
        ([], "title") if place.is_own => Meaning::Text(Field::Title),
        ([], "language") => Meaning::Text(Field::Language),
        _ => Meaning::Nothing,
    }
}

/// The value of an attribute, told by its local name in any case.
pub(super) fn attribute(element: &BytesStart<'_>, local: &str) -> Option<String> {
    let attribute = element
        .attributes()
        .take(ATTRIBUTES_MAX)
        .filter_map(Result::ok)
        .find(|attribute| attribute.key.local_name().as_ref().eq_ignore_ascii_case(local))?;
    if attribute.value.len() > VALUE_BYTES_MAX {
        return None;
    }
    match attribute.normalized_value(XmlVersion::Implicit1_0) {
        Ok(value) => Some(value.into_owned()),
        // `?a=1&b=2` without `&amp;`.
        Err(_) => Some(attribute.value.into_owned()),
    }
}
