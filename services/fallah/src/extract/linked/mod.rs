//! What a page says about its article in JSON-LD: one object chosen, references followed.

mod values;

use std::collections::HashMap;

use serde_json::Value;

use super::jsonfix;
use values::{address, keys};
pub(super) use values::{kinds, strip_tags, text};

/// Objects beyond this many are not looked at.
const OBJECTS_MAX: usize = 4000;

/// The JSON-LD of a page.
#[derive(Default)]
pub(super) struct Linked {
    /// Every object of every script, in the order of the page.
    objects: Vec<Value>,
    by_id: HashMap<String, usize>,
    /// The one that describes the article.
    article: Option<usize>,
    /// The one that describes the page.
    page: Option<usize>,
}

impl Linked {
    /// Reads all scripts and chooses the article's object. `titles` are what the page calls itself elsewhere.
    pub(super) fn read(scripts: &[&str], url: &str, titles: &[String]) -> Self {
        let mut linked = Linked::default();
        let mut queue: std::collections::VecDeque<Value> = scripts.iter().flat_map(|s| jsonfix::values(s)).collect();
        while let Some(value) = queue.pop_front() {
            match value {
                Value::Array(items) => queue.extend(items),
                Value::Object(object) if linked.objects.len() < OBJECTS_MAX => {
                    // Breadth first: what describes the page stands above what it mentions.
                    for (key, inner) in &object {
                        if inner.is_object() || (inner.is_array() && key != "keywords") {
                            queue.push_back(inner.clone());
                        }
                    }
                    linked.keep(Value::Object(object));
                }
                _ => {}
            }
        }
        linked.article = linked.best(url, titles, is_article);
        linked.page = linked.best(url, titles, |kind| kind.ends_with("WebPage") || kind == "ItemPage");
        linked
    }

    fn keep(&mut self, object: Value) {
        let at = self.objects.len();
        if let Some(Value::String(id)) = object.get("@id")
            // A bare reference says nothing; the object that says most wins.
            && keys(&object) > 1
        {
            let richer = self.by_id.get(id).is_none_or(|&old| keys(&self.objects[old]) < keys(&object));
            if richer {
                self.by_id.insert(id.clone(), at);
            }
        }
        self.objects.push(object);
    }

    /// Among several of a kind, the one that is about this page: by address, by title, else the first.
    fn best(&self, url: &str, titles: &[String], wanted: impl Fn(&str) -> bool) -> Option<usize> {
        let mut best: Option<(i32, usize)> = None;
        let mut found = 0;
        for (at, object) in self.objects.iter().enumerate() {
            if !kinds(object).any(&wanted) || keys(object) < 3 {
                continue;
            }
            found += 1;
            let mut points = 0;
            let about = ["url", "@id", "mainEntityOfPage"]
                .iter()
                .filter_map(|k| address(object.get(*k)?))
                .any(|a| same_path(&a, url));
            points += if about { 4 } else { 0 };
            let named = ["headline", "name"].iter().filter_map(|k| text(object.get(*k)?)).any(|name| {
                let name = fold(&name);
                !name.is_empty()
                    && titles.iter().any(|t| {
                        let t = fold(t);
                        t == name || (name.len() > 20 && t.contains(&name))
                    })
            });
            points += if named { 4 } else { 0 };
            points += ["author", "datePublished", "articleBody"].iter().filter(|k| object.get(**k).is_some()).count()
                as i32;
            if best.is_none_or(|(most, _)| points > most) {
                best = Some((points, at));
            }
        }
        // A list of other articles is no statement about this one.
        best.filter(|(points, _)| *points >= 4 || found <= 2).map(|(_, at)| at)
    }

    /// A text of the article, else of the page.
    pub(super) fn text(&self, keys: &[&str]) -> Option<String> {
        self.article_text(keys).or_else(|| self.page_text(keys))
    }

    pub(super) fn article_text(&self, keys: &[&str]) -> Option<String> {
        let object = &self.objects[self.article?];
        keys.iter().find_map(|k| text(object.get(*k)?))
    }

    pub(super) fn page_text(&self, keys: &[&str]) -> Option<String> {
        let object = &self.objects[self.page?];
        keys.iter().find_map(|k| text(object.get(*k)?))
    }

    /// A text of the article as it stands, line breaks and all.
    pub(super) fn article_raw(&self, key: &str) -> Option<String> {
        Some(self.objects[self.article?].get(key)?.as_str()?.to_owned())
    }

    /// All values of the first key that the article has, references followed.
    pub(super) fn article_values(&self, keys: &[&str]) -> Vec<&Value> {
        let Some(at) = self.article else { return Vec::new() };
        keys.iter().map(|k| self.flat(self.objects[at].get(*k))).find(|v| !v.is_empty()).unwrap_or_default()
    }

    /// The same of the page's object.
    pub(super) fn page_values(&self, keys: &[&str]) -> Vec<&Value> {
        let Some(at) = self.page else { return Vec::new() };
        keys.iter().map(|k| self.flat(self.objects[at].get(*k))).find(|v| !v.is_empty()).unwrap_or_default()
    }

    /// The values of any key of any object of such a kind.
    pub(super) fn values_of_kind(&self, kind: &str, key: &str) -> Vec<&Value> {
        self.objects.iter().filter(|o| kinds(o).any(|k| k == kind)).flat_map(|o| self.flat(o.get(key))).collect()
    }

    /// The object of a kind of which the page describes only one.
    pub(super) fn only_of_kind(&self, kind: &str) -> Vec<&Value> {
        let mut found = self.objects.iter().filter(|o| kinds(o).any(|k| k == kind) && o.get("name").is_some());
        match (found.next(), found.next()) {
            (Some(one), None) => vec![one],
            _ => Vec::new(),
        }
    }

    /// One level of arrays opened, `@list` and `@graph` looked into, references followed.
    fn flat<'a>(&'a self, value: Option<&'a Value>) -> Vec<&'a Value> {
        let items: Vec<&Value> = match value {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => {
                items.iter().flat_map(|i| i.as_array().map_or_else(|| vec![i], |a| a.iter().collect())).collect()
            }
            Some(Value::Object(object)) => match object.get("@list").and_then(Value::as_array) {
                Some(items) => items.iter().collect(),
                None => vec![value.unwrap_or(&Value::Null)],
            },
            Some(one) => vec![one],
        };
        items.into_iter().map(|item| self.follow(item)).collect()
    }

    /// The object behind `{"@id": ...}`, where it says more than the reference does.
    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        if value.get("name").is_some_and(|n| text(n).is_some()) {
            return value;
        }
        let id = value.get("@id").and_then(Value::as_str);
        id.and_then(|id| self.by_id.get(id)).map_or(value, |&at| &self.objects[at])
    }
}

fn is_article(kind: &str) -> bool {
    kind.ends_with("Article")
        || kind.ends_with("Posting") && kind != "JobPosting"
        || matches!(
            kind,
            "Report"
                | "BlogPost"
                | "Review"
                | "Recipe"
                | "CreativeWork"
                | "Blog"
                | "AnalysisNews"
                | "HowTo"
                | "PodcastEpisode"
        )
}

fn fold(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn same_path(one: &str, other: &str) -> bool {
    let path = |u: &str| -> String {
        let u = u.split(['?', '#']).next().unwrap_or(u);
        let u = u.split_once("://").map_or(u, |(_, rest)| rest);
        u.find('/').map_or("", |n| &u[n..]).trim_matches('/').trim_end_matches("/amp").to_owned()
    };
    let (one, other) = (path(one), path(other));
    one.len() > 3 && one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(script: &str) -> Linked {
        Linked::read(&[script], "https://news.test/2024/a-story", &["A story of a long day".to_owned()])
    }

    #[test]
    fn a_graph_is_read_and_its_references_are_followed() {
        let linked = read(
            r##"{"@context":"https://schema.org","@graph":[
                {"@type":"WebPage","@id":"https://news.test/2024/a-story","name":"A story - News"},
                {"@type":["NewsArticle","Article"],"headline":"A story of a long day","author":{"@id":"#p1"}},
                {"@type":"Person","@id":"#p1","name":"Rana Odeh"}]}"##,
        );
        assert_eq!(linked.article_text(&["headline"]).as_deref(), Some("A story of a long day"));
        let authors = linked.article_values(&["author"]);
        assert_eq!(authors.iter().filter_map(|a| text(a)).collect::<Vec<_>>(), ["Rana Odeh"]);
    }

    #[test]
    fn among_many_articles_the_one_about_this_page_is_chosen() {
        let linked = read(
            r#"[{"@type":"NewsArticle","headline":"Other","author":"X","url":"https://news.test/other"},
                {"@type":"NewsArticle","headline":"Third","author":"X","url":"https://news.test/third"},
                {"@type":"NewsArticle","headline":"Mine","url":"http://www.news.test/2024/a-story/"}]"#,
        );
        assert_eq!(linked.article_text(&["headline"]).as_deref(), Some("Mine"));
    }

    #[test]
    fn a_list_of_other_articles_says_nothing_about_this_page() {
        let linked = read(
            r#"{"@type":"ItemList","itemListElement":[{"@type":"Article","headline":"a","author":"A"},
                {"@type":"Article","headline":"b","author":"B"},{"@type":"Article","headline":"c","author":"C"}]}"#,
        );
        assert_eq!(linked.article_text(&["headline"]), None);
    }

    #[test]
    fn tags_and_entities_in_a_headline_are_resolved() {
        let linked = read(r#"{"@type":"Article","headline":"A &amp;amp; <em>B<\/em> &#8217;24","x":1,"y":2}"#);
        assert_eq!(linked.article_text(&["headline"]).as_deref(), Some("A &amp; B ’24"));
    }
}
