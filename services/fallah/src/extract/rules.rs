//! What is known about one source and cannot be seen on its pages.

use serde::Deserialize;

use super::date::Zone;
use super::selector::Selector;

/// Rules of one source. All are optional; what a rule finds stands above everything the page says otherwise.
///
/// ```
/// let rules: fallah::extract::Rules = toml::from_str(r#"
///     title = "h1.entry-title"
///     published_at = "time.published@datetime"
///     drop = ".related, .view-counter"
///     time_zone = "+03:00"
///     site_affixes = ["My Paper"]
/// "#).unwrap();
/// assert!(rules.title.is_some());
/// assert!(toml::from_str::<fallah::extract::Rules>("title = 'h1:first'").unwrap_err().to_string().contains("`h1:first`"));
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// The title: the first match.
    pub title: Option<Selector>,
    /// The authors: every match is one name or a list of names.
    pub authors: Option<Selector>,
    /// The time of publication: the first match that is a date.
    pub published_at: Option<Selector>,
    /// The time of the last change.
    pub modified_at: Option<Selector>,
    /// The parts that hold the body; all matches are joined.
    pub body: Option<Selector>,
    /// The main picture: take an attribute, as in `figure img@src`.
    pub image: Option<Selector>,
    /// The section.
    pub section: Option<Selector>,
    /// Parts that are never read: counters, related links, whatever changes by itself.
    pub drop: Option<Selector>,
    /// The zone of local times that name none.
    pub time_zone: Option<ZoneName>,
    /// Whether `03/04/2024` is in March. Guessed from the language otherwise.
    pub month_first: Option<bool>,
    /// Names of the site that titles carry and that are nobody's name.
    pub site_affixes: Vec<String>,
    /// The language of all pages, as in `ar`.
    pub language: Option<String>,
}

/// A zone by name or offset, checked when it is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct ZoneName(pub(super) Zone);

impl TryFrom<String> for ZoneName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Zone::parse(&text).map(ZoneName)
    }
}
