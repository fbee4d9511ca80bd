//! What Meilisearch does with the requests that we make, as its own server does it: no faults here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

/// Indexes, and every task that there was.
#[derive(Default, Clone)]
pub(super) struct Server {
    pub(super) indexes: BTreeMap<String, Index>,
    pub(super) tasks: Vec<Task>,
    /// So many of the first tasks are no longer told of.
    thrown_away: usize,
}

#[derive(Clone)]
pub(super) struct Index {
    made_at: String,
    primary_key: Option<String>,
    settings: Value,
    pub(super) documents: BTreeMap<i64, Value>,
    /// Of each document its words, with a blank before and behind each: folded once, and searched often.
    words: BTreeMap<i64, String>,
}

#[derive(Clone)]
pub(super) struct Task {
    index: Option<String>,
    pub(super) kind: Kind,
    status: &'static str,
    error: Value,
    enqueued_at: String,
}

#[derive(Clone)]
pub(super) enum Kind {
    Create {
        primary_key: Option<String>,
    },
    Delete,
    Settings(Value),
    Put {
        documents: Vec<Value>,
        primary_key: Option<String>,
    },
    Remove(Vec<i64>),
    Swap(Vec<(String, String)>),
    /// Old tasks are thrown away.
    Throw,
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "indexCreation",
            Self::Delete => "indexDeletion",
            Self::Settings(_) => "settingsUpdate",
            Self::Put { .. } => "documentAdditionOrUpdate",
            Self::Remove(_) => "documentDeletion",
            Self::Swap(_) => "indexSwap",
            Self::Throw => "taskDeletion",
        }
    }

    fn details(&self) -> Value {
        match self {
            Self::Swap(pairs) => {
                let swaps: Vec<_> = pairs.iter().map(|(a, b)| json!({"indexes": [a, b], "rename": false})).collect();
                json!({"swaps": swaps})
            }
            Self::Put { documents, .. } => json!({"receivedDocuments": documents.len()}),
            _ => json!({}),
        }
    }
}

pub(super) fn fault(message: &str, code: &str, kind: &str) -> Value {
    json!({"message": message, "code": code, "type": kind, "link": format!("https://docs.meilisearch.com/errors#{code}")})
}

fn no_index(index: &str) -> Value {
    fault(&format!("Index `{index}` not found."), "index_not_found", "invalid_request")
}

type Answer = (u16, Value);

impl Server {
    pub(super) fn answer(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        content_type: &str,
        body: &[u8],
    ) -> Answer {
        let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let given = || serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
        match (method, segments.as_slice()) {
            ("GET", ["health"]) => (200, json!({"status": "available"})),
            ("POST", ["indexes"]) => {
                let (body, kind) = (given(), |key| Kind::Create { primary_key: key });
                let name = body["uid"].as_str().expect("we name it").to_owned();
                self.enqueue(Some(&name), kind(body["primaryKey"].as_str().map(str::to_owned)))
            }
            ("GET", ["indexes", name]) => self.with(name, |index| {
                json!({"uid": name, "createdAt": index.made_at, "updatedAt": index.made_at, "primaryKey": index.primary_key})
            }),
            ("DELETE", ["indexes", name]) => self.enqueue(Some(name), Kind::Delete),
            ("GET", ["indexes", name, "settings"]) => self.with(name, |index| index.settings.clone()),
            ("PATCH", ["indexes", name, "settings"]) => self.enqueue(Some(name), Kind::Settings(given())),
            ("GET", ["indexes", name, "stats"]) => {
                self.with(name, |index| json!({"numberOfDocuments": index.documents.len(), "isIndexing": false}))
            }
            ("POST", ["indexes", name, "documents"]) => match documents(content_type, body) {
                Ok(documents) => {
                    let primary_key = query.get("primaryKey").map(|key| (*key).to_owned());
                    self.enqueue(Some(name), Kind::Put { documents, primary_key })
                }
                Err(answer) => answer,
            },
            ("POST", ["indexes", name, "documents", "delete-batch"]) => {
                let ids = given().as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
                self.enqueue(Some(name), Kind::Remove(ids))
            }
            ("POST", ["indexes", name, "documents", "fetch"]) => self.fetch(name, &given()),
            ("POST", ["indexes", name, "search"]) => self.search(name, &given()),
            ("POST", ["swap-indexes"]) => {
                let pair = |swap: &Value| {
                    let name = |nth: usize| swap["indexes"][nth].as_str().expect("two names").to_owned();
                    (name(0), name(1))
                };
                let pairs = given().as_array().expect("a list of swaps").iter().map(pair).collect();
                self.enqueue(None, Kind::Swap(pairs))
            }
            ("GET", ["tasks", uid]) => {
                let uid: usize = uid.parse().expect("a number");
                match self.tasks.get(uid).filter(|_| uid >= self.thrown_away) {
                    Some(task) => (200, told(uid, task)),
                    None => (404, fault(&format!("Task `{uid}` not found."), "task_not_found", "invalid_request")),
                }
            }
            ("GET", ["tasks"]) => {
                let among = |name: &str, value: &str| query.get(name).is_none_or(|all| all.split(',').any(|one| one == value));
                let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(20);
                let wanted = |task: &Task| among("types", task.kind.name()) && among("statuses", task.status);
                let all: Vec<_> = self.tasks.iter().enumerate().skip(self.thrown_away).rev().filter(|(_, task)| wanted(task)).collect();
                let results: Vec<_> = all.iter().take(limit).map(|(uid, task)| told(*uid, task)).collect();
                (200, json!({"results": results, "total": all.len(), "limit": limit, "from": null, "next": null}))
            }
            _ => (404, Value::Null),
        }
    }

    fn with(&self, name: &str, answer: impl FnOnce(&Index) -> Value) -> Answer {
        match self.indexes.get(name) {
            Some(index) => (200, answer(index)),
            None => (404, no_index(name)),
        }
    }

    fn enqueue(&mut self, index: Option<&str>, kind: Kind) -> Answer {
        let enqueued_at = Timestamp::now().to_string();
        let info = json!({
            "taskUid": self.tasks.len(), "indexUid": index, "status": "enqueued", "type": kind.name(), "enqueuedAt": enqueued_at,
        });
        let index = index.map(str::to_owned);
        self.tasks.push(Task { index, kind, status: "enqueued", error: Value::Null, enqueued_at });
        (202, info)
    }

    /// The next task, which is being worked on from here.
    pub(super) fn begin(&mut self) -> Option<u32> {
        let at = self.tasks.iter().position(|task| task.status == "enqueued")?;
        self.tasks[at].status = "processing";
        Some(at as u32)
    }

    /// A task takes effect whole, or not at all.
    pub(super) fn end(&mut self, uid: u32, failure: Option<Value>) {
        // Everything was lost meanwhile.
        let Some(mut task) =
            self.tasks.get_mut(uid as usize).filter(|task| task.status == "processing").map(|task| Task {
                kind: std::mem::replace(&mut task.kind, Kind::Delete),
                error: Value::Null,
                index: task.index.clone(),
                enqueued_at: task.enqueued_at.clone(),
                status: "succeeded",
            })
        else {
            return;
        };
        let effect = match failure {
            Some(fault) => Err(fault),
            None => self.apply(task.index.as_deref(), &task.kind),
        };
        if let Err(fault) = effect {
            (task.status, task.error) = ("failed", fault);
        }
        self.tasks[uid as usize] = task;
    }

    /// What has ended is no longer told of; the task of the throwing away itself is.
    pub(super) fn forget_tasks(&mut self) {
        self.thrown_away = self.tasks.len();
        self.tasks.push(Task {
            index: None,
            kind: Kind::Throw,
            status: "succeeded",
            error: Value::Null,
            enqueued_at: Timestamp::now().to_string(),
        });
    }

    pub(super) fn cancel(&mut self) {
        for task in self.tasks.iter_mut().filter(|task| matches!(task.status, "enqueued" | "processing")) {
            task.status = "canceled";
        }
    }

    fn apply(&mut self, name: Option<&str>, kind: &Kind) -> Result<(), Value> {
        let name = name.unwrap_or_default();
        match kind {
            Kind::Throw => {}
            Kind::Create { primary_key } => {
                if self.indexes.contains_key(name) {
                    let what = format!("Index `{name}` already exists.");
                    return Err(fault(&what, "index_already_exists", "invalid_request"));
                }
                self.indexes.insert(name.to_owned(), Index::new(primary_key.clone()));
            }
            Kind::Delete => drop(self.indexes.remove(name).ok_or_else(|| no_index(name))?),
            Kind::Settings(settings) => {
                let index = self.indexes.entry(name.to_owned()).or_insert_with(|| Index::new(None));
                merge(&mut index.settings, settings);
            }
            Kind::Put { documents, primary_key } => {
                let ids = documents.iter().map(number).collect::<Result<Vec<_>, _>>()?;
                let index = self.indexes.entry(name.to_owned()).or_insert_with(|| Index::new(None));
                index.primary_key = index.primary_key.take().or_else(|| primary_key.clone());
                for (id, document) in ids.into_iter().zip(documents) {
                    index.words.insert(id, words(document));
                    index.documents.insert(id, document.clone());
                }
            }
            Kind::Remove(ids) => {
                let index = self.indexes.get_mut(name).ok_or_else(|| no_index(name))?;
                ids.iter().for_each(|id| drop(index.documents.remove(id)));
            }
            Kind::Swap(pairs) => {
                for (a, b) in pairs {
                    if let Some(missing) = [a, b].into_iter().find(|name| !self.indexes.contains_key(*name)) {
                        return Err(no_index(missing));
                    }
                }
                for (a, b) in pairs {
                    let (one, other) = (self.indexes.remove(a), self.indexes.remove(b));
                    self.indexes.extend(one.map(|index| (b.clone(), index)));
                    self.indexes.extend(other.map(|index| (a.clone(), index)));
                    // Old tasks are told under the new names.
                    for task in &mut self.tasks {
                        match task.index.as_ref() {
                            Some(name) if name == a => task.index = Some(b.clone()),
                            Some(name) if name == b => task.index = Some(a.clone()),
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn fetch(&self, name: &str, body: &Value) -> Answer {
        let Some(index) = self.indexes.get(name) else { return (404, no_index(name)) };
        let found = match index.filtered(body, "invalid_document_filter") {
            Ok(found) => found,
            Err(fault) => return (400, fault),
        };
        let number = |name: &str, default| body[name].as_u64().map_or(default, |number| number as usize);
        let (offset, limit) = (number("offset", 0), number("limit", 20));
        let fields: Option<Vec<&str>> =
            body["fields"].as_array().map(|all| all.iter().filter_map(Value::as_str).collect());
        let shown = |document: &&Value| {
            let mut document = (*document).clone();
            if let (Some(fields), Some(members)) = (&fields, document.as_object_mut()) {
                members.retain(|name, _| fields.contains(&name.as_str()));
            }
            document
        };
        let results: Vec<_> = found.iter().skip(offset).take(limit).map(shown).collect();
        (200, json!({"results": results, "offset": offset, "limit": limit, "total": found.len()}))
    }

    /// Every word must be there, the last one may go on. Ranks nothing: what is ranked how is Meilisearch's own affair.
    fn search(&self, name: &str, body: &Value) -> Answer {
        let Some(index) = self.indexes.get(name) else { return (404, no_index(name)) };
        let found = match index.filtered(body, "invalid_search_filter") {
            Ok(found) => found,
            Err(fault) => return (400, fault),
        };
        // A minus before a word wants it not to be there.
        let (minus, query): (Vec<&str>, Vec<&str>) = body["q"]
            .as_str()
            .unwrap_or_default()
            .split_whitespace()
            .partition(|word| word.starts_with('-') && word.len() > 1);
        let unwanted: Vec<String> = minus
            .iter()
            .flat_map(|word| bisan::fold::words(word))
            .flat_map(|word| word.tokens)
            .map(|word| format!(" {word} "))
            .collect();
        let query = bisan::fold::text(&query.join(" "));
        let words: Vec<&str> = query.split_whitespace().collect();
        let wanted: Vec<String> = words
            .iter()
            .enumerate()
            .map(|(nth, word)| if nth + 1 == words.len() { format!(" {word}") } else { format!(" {word} ") })
            .collect();
        let matches = |document: &&&Value| {
            let there = document["id"].as_i64().and_then(|id| index.words.get(&id));
            there.is_some_and(|there| {
                wanted.iter().all(|word| there.contains(&**word))
                    && !unwanted.iter().any(|word| there.contains(&**word))
            })
        };
        let mut hits: Vec<&Value> = found.iter().filter(matches).copied().collect();
        hits.sort_by_key(|document| std::cmp::Reverse(document["dated_at"].as_i64()));
        let number = |name: &str, default| body[name].as_u64().map_or(default, |number| number as usize);
        let total = hits.len();
        let page: Vec<_> = hits
            .into_iter()
            .skip(number("offset", 0))
            .take(number("limit", 20))
            .map(|hit| json!({"id": hit["id"]}))
            .collect();
        (
            200,
            json!({"hits": page, "estimatedTotalHits": total, "offset": number("offset", 0), "limit": number("limit", 20), "processingTimeMs": 0, "query": body["q"]}),
        )
    }
}

fn told(uid: usize, task: &Task) -> Value {
    json!({
        "uid": uid, "indexUid": task.index, "status": task.status, "type": task.kind.name(), "canceledBy": null,
        "details": task.kind.details(), "error": task.error, "duration": null, "enqueuedAt": task.enqueued_at,
        "startedAt": null, "finishedAt": null,
    })
}

impl Index {
    fn new(primary_key: Option<String>) -> Self {
        let settings = json!({
            "displayedAttributes": ["*"], "searchableAttributes": ["*"], "filterableAttributes": [], "sortableAttributes": [],
            "rankingRules": ["words", "typo", "proximity", "attribute", "sort", "exactness"], "stopWords": [], "synonyms": {},
            "nonSeparatorTokens": [], "separatorTokens": [], "dictionary": [], "distinctAttribute": null,
            "proximityPrecision": "byWord", "localizedAttributes": null, "searchCutoffMs": null,
            "typoTolerance": {
                "enabled": true, "minWordSizeForTypos": {"oneTypo": 5, "twoTypos": 9}, "disableOnWords": [],
                "disableOnAttributes": [], "disableOnNumbers": false,
            },
            "faceting": {"maxValuesPerFacet": 100, "sortFacetValuesBy": {"*": "alpha"}},
            "pagination": {"maxTotalHits": 1000},
        });
        Self {
            made_at: Timestamp::now().to_string(),
            primary_key,
            settings,
            documents: BTreeMap::new(),
            words: BTreeMap::new(),
        }
    }

    /// The documents that a filter of ours leaves.
    fn filtered(&self, body: &Value, code: &str) -> Result<Vec<&Value>, Value> {
        let Some(filter) = body["filter"].as_str() else { return Ok(self.documents.values().collect()) };
        let conditions =
            filter.split(" AND ").map(|text| self.condition(text, code)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.documents.values().filter(|document| conditions.iter().all(|holds| holds(document))).collect())
    }

    fn condition(&self, text: &str, code: &str) -> Result<Box<dyn Fn(&Value) -> bool>, Value> {
        let (field, rest) = text.split_once(' ').expect("a field and a condition");
        let filterable = self.settings["filterableAttributes"].as_array();
        if !filterable.is_some_and(|all| all.iter().any(|one| one == field)) {
            let what = format!("Attribute `{field}` is not filterable.");
            return Err(fault(&what, code, "invalid_request"));
        }
        let (operator, value) = rest.split_once(' ').expect("an operator and a value");
        let field = field.to_owned();
        // A list holds what one of its members holds.
        let any = |value: &Value, holds: &dyn Fn(&Value) -> bool| match value {
            Value::Array(all) => all.iter().any(holds),
            one => holds(one),
        };
        let number = || value.parse::<i64>().expect("a number");
        Ok(match operator {
            "IN" => {
                let among: Vec<i64> = serde_json::from_str(value).expect("a list of numbers");
                Box::new(move |document| {
                    any(&document[&*field], &|one| one.as_i64().is_some_and(|one| among.contains(&one)))
                })
            }
            "=" => {
                let wanted: Value = serde_json::from_str(value).expect("a string or a number");
                Box::new(move |document| any(&document[&*field], &|one| *one == wanted))
            }
            ">=" => {
                let least = number();
                Box::new(move |document| document[&*field].as_i64().is_some_and(|one| one >= least))
            }
            "<" => {
                let bound = number();
                Box::new(move |document| document[&*field].as_i64().is_some_and(|one| one < bound))
            }
            other => panic!("the double knows no operator {other}"),
        })
    }
}

fn words(document: &Value) -> String {
    let mut text = ["title", "lead", "body"].map(|field| document[field].as_str().unwrap_or_default()).join(" ");
    for author in document["authors"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text = text + " " + author;
    }
    // Plain letters need no folding, and thousands of documents come at once.
    if text.is_ascii() {
        let plain: String =
            text.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { ' ' }).collect();
        return format!(" {plain} ");
    }
    format!(" {} ", bisan::fold::text(&text))
}

/// What is named is changed; an object within it is merged, too.
fn merge(settings: &mut Value, change: &Value) {
    for (name, value) in change.as_object().expect("settings are an object") {
        match (&mut settings[name], value) {
            (Value::Object(known), Value::Object(new)) if name == "typoTolerance" || name == "pagination" => {
                known.extend(new.clone());
            }
            (place, value) => *place = value.clone(),
        }
    }
}

fn number(document: &Value) -> Result<i64, Value> {
    document["id"].as_i64().ok_or_else(|| {
        let what = format!("Document identifier `{}` is invalid.", document["id"]);
        fault(&what, "invalid_document_id", "invalid_request")
    })
}

fn documents(content_type: &str, body: &[u8]) -> Result<Vec<Value>, Answer> {
    let malformed = |error: serde_json::Error| {
        let what = format!("The payload provided is malformed: `{error}`.");
        (400, fault(&what, "malformed_payload", "invalid_request"))
    };
    let all = match content_type {
        "application/x-ndjson" => {
            body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(serde_json::from_slice).collect()
        }
        "application/json" => serde_json::from_slice(body),
        other => {
            let what = format!("The Content-Type `{other}` is invalid.");
            return Err((415, fault(&what, "invalid_content_type", "invalid_request")));
        }
    };
    all.map_err(malformed)
}
