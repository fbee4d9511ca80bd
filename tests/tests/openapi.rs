//! The document about the routes is a contract: each route that it names is asked well and badly, with and without a token,
//! and answers what stands there. A route that is not asked here fails.

use outbox_tests::{Child, Response, Stage, Surface, eventually};
use serde_json::{Value, json};

const READ: &str = "read-read-read-read-read";
const WRITE: &str = "write-write-write-write";
const PUBLISH: &str = "publish-publish-publish";

/// What any path may be answered: asked by another method it is no route at all.
const ANY_ROUTE: [u16; 1] = [405];

/// A way to ask, and the status of its answer.
struct Asked {
    method: &'static str,
    path: String,
    body: Option<Value>,
    status: u16,
}

fn get(path: &str, status: u16) -> Asked {
    Asked { method: "GET", path: path.to_owned(), body: None, status }
}

fn post(path: &str, body: Value, status: u16) -> Asked {
    Asked { method: "POST", path: path.to_owned(), body: Some(body), status }
}

/// How a route is asked, well first and then badly. None: nobody has thought of it.
fn ways(method: &str, path: &str) -> Option<Vec<Asked>> {
    let without =
        |path: &str| vec![get(path, 200), Asked { method: "PUT", path: path.into(), body: None, status: 405 }];
    let long = "x".repeat(2_000);
    Some(match (method, path) {
        (
            "GET",
            "/live" | "/ready" | "/metrics" | "/status" | "/streams" | "/groups" | "/consumers" | "/blockers"
            | "/dlq/count",
        ) => without(path),
        ("GET", "/events") => vec![Asked { method: "PUT", path: path.into(), body: None, status: 405 }],
        ("GET", "/history") => vec![get("/history?step=1", 200), get("/history", 200), get("/history?step=2", 400)],
        ("GET", "/trace/{event}") => {
            vec![
                get("/trace/sent", 200),
                get("/trace/left-1", 200),
                get("/trace/nobody", 404),
                get("/trace/%00", 400),
            ]
        }
        ("GET", "/dead") => vec![
            get("/dead?limit=1&stream=s&search=n", 200),
            get("/dead?limit=0", 400),
            get("/dead?what=1", 400),
            get(&format!("/dead?search={long}"), 400),
        ],
        ("GET", "/dead/{id}") => vec![get("/dead/left-1", 200), get("/dead/nobody", 404), get("/dead/%ff", 400)],
        ("GET", "/jobs/{id}") => vec![get("/jobs/JOB", 200), get("/jobs/nobody", 404)],
        ("GET", "/dlq/items") => vec![get("/dlq/items?limit=2", 200), get("/dlq/items?limit=-1", 400)],
        ("POST", "/dead/replay" | "/dead/drop") => vec![
            post(path, json!({"stream": "s", "dry_run": true}), 200),
            post(path, json!({"ids": ["left-2"], "dry_run": false}), 200),
            post(path, json!({"ids": ["left-2"]}), 404),
            post(path, json!({}), 400),
            post(path, json!({"search": long}), 400),
            Asked { method: "POST", path: path.into(), body: None, status: 415 },
        ],
        ("POST", "/dlq/retry/{id}") => vec![
            Asked { method: "POST", path: "/dlq/retry/left-3".into(), body: None, status: 200 },
            Asked { method: "POST", path: "/dlq/retry/nobody".into(), body: None, status: 404 },
        ],
        ("DELETE", "/dlq/clear") => vec![
            Asked { method: "DELETE", path: path.into(), body: None, status: 200 },
            Asked { method: "POST", path: path.into(), body: None, status: 405 },
        ],
        ("POST", "/pause" | "/resume") => vec![
            post(path, json!({"stream": "quiet"}), 200),
            post(path, json!({"stream": "quiet", "all": true}), 400),
            post(path, json!("quiet"), 400),
        ],
        ("POST", "/api/v1/events/publish") => vec![
            post(path, json!({"stream": "s", "payload": 1, "id": "one"}), 200),
            post(path, json!({"stream": "s", "payload": 2, "id": "one"}), 409),
            post(path, json!({"stream": "s"}), 400),
            post(path, json!({"stream": "", "payload": 1}), 422),
        ],
        _ => return None,
    })
}

async fn stage() -> Stage {
    let stage = Stage::set().await;
    stage
        .sql(
            r#"insert into outbox_dead_letter (stream, group_name, lane, entry, origin, id, type, ver, time, payload, headers, fields,
                                               replayable, attempts, reason, failures, consumer, handler)
               select 's', 'billing', 's', '1-' || n, '1-' || n, 'left-' || n, 't', 1, now(), '{"n": 1, "password": "x"}', '{"a": "b"}', '{}',
                      true, 5, 'no such account', '[{"attempt": 1}]', 'me', 'bill'
                 from generate_series(1, 4) n"#,
        )
        .await;
    stage
}

async fn ready(stage: &Stage, settings: &[(&str, &str)]) -> Surface {
    let mut command = stage.command(&["run"]);
    command.env("RELAY_LISTEN", "127.0.0.1:0").envs(settings.iter().copied());
    let surface = Surface::of(Child::spawn(command)).await;
    eventually("the relay to be ready", async || surface.get("/ready").await.status == 200).await;
    surface
}

/// Each route of the document: its method, its path, and what is told of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, operations): (&String, &Value)| {
        let operations = operations.as_object().expect("operations").clone();
        let path = path.clone();
        operations.into_iter().map(move |(method, told)| (method.to_uppercase(), path.clone(), told))
    };
    paths.iter().flat_map(of_path).collect()
}

/// Whether a value is what a schema says. What it does not mention must not be there.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap_or_default();
        return fits(document, &document["components"]["schemas"][name], value, at);
    }
    for any in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[any].as_array() {
            let refusals: Vec<_> = choices.iter().filter_map(|one| fits(document, one, value, at).err()).collect();
            if refusals.len() == choices.len() {
                return Err(refusals.join(", or "));
            }
        }
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_one = kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number"));
    if !kinds.is_empty() && !is_one {
        return Err(format!("{at} is {kind}, not {kinds:?}"));
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        return Err(format!("{at} is {value}, none of {known:?}"));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        values.iter().enumerate().try_for_each(|(n, value)| fits(document, items, value, &format!("{at}[{n}]")))?;
    }
    let Some(members) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            return Err(format!("{at} lacks {name}"));
        }
    }
    if let Some(known) = schema["properties"].as_object() {
        for (name, member) in members {
            let told = known.get(name).ok_or_else(|| format!("{at}.{name} is not in the document"))?;
            fits(document, told, member, &format!("{at}.{name}"))?;
        }
    }
    Ok(())
}

/// What an answer must be, by the document.
fn assert_as_told(document: &Value, told: &Value, asked: &str, answer: &Response) {
    let status = answer.status.to_string();
    let Some(response) = told["responses"].get(&status) else {
        assert!(ANY_ROUTE.contains(&answer.status), "{asked}: {status} is not in the document: {}", answer.text());
        answer.problem();
        return;
    };
    let kind = answer.headers["content-type"].split(';').next().unwrap_or_default().to_owned();
    let content = response["content"].as_object().unwrap_or_else(|| panic!("{asked}: {status} tells its content"));
    let (told_kind, content) = content.iter().next().expect("a type");
    assert_eq!(told_kind.split(';').next(), Some(kind.as_str()), "{asked}");
    if kind.ends_with("json") {
        let fit = fits(document, &content["schema"], &answer.json(), "body");
        assert_eq!(fit, Ok(()), "{asked}: {}", answer.text());
    }
}

#[tokio::test]
async fn each_route_answers_what_the_document_says() {
    let stage = stage().await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "billing", "0", "MKSTREAM"]).await;
    stage.enqueue("s", "sent").await;
    let surface = ready(&stage, &[]).await;
    stage.until_arrived_by_itself("s", 1).await;
    let group = async || surface.get("/groups").await.json()[0]["name"] == "billing";
    eventually("the group to be known", group).await;
    let document = surface.get("/openapi.json").await.json();
    let job = surface.post("/dead/replay", &json!({"ids": ["left-4"]})).await.json()["id"].clone();
    let job = job.as_str().expect("an id");
    let mut routes = operations(&document);
    // What forgets all letters comes last.
    routes.sort_by_key(|(method, ..)| method == "DELETE");
    for (method, path, told) in &routes {
        let ways = ways(method, path).unwrap_or_else(|| panic!("nobody asks {method} {path}: say how in this file"));
        for Asked { method, path, body, status } in ways {
            // Both replay and drop need one that is there.
            if body == Some(json!({"ids": ["left-2"], "dry_run": false})) {
                let again = "update outbox_dead_letter set replayed_at = null, dropped_at = null where id = 'left-2'";
                stage.sql(again).await;
            }
            let body = body.map(|body| body.to_string());
            let headers: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
            let path = path.replace("JOB", job);
            let answer = surface.ask(method, &path, headers, body.as_deref().map(str::as_bytes)).await;
            let asked = format!("{method} {path} {body:?}");
            assert_eq!(answer.status, status, "{asked}: {}", answer.text());
            assert_as_told(&document, told, &asked, &answer);
        }
    }
    for (name, event) in surface.listen(2).await {
        assert_eq!(name, "status");
        let status = json!({"$ref": "#/components/schemas/Status"});
        assert_eq!(fits(&document, &status, &event, "event"), Ok(()));
    }
}

/// Whichever method a browser tries first: no token, no answer.
#[tokio::test]
async fn each_route_asks_for_the_token_that_the_document_says() {
    let stage = stage().await;
    let tokens = [("RELAY_READ_TOKEN", READ), ("RELAY_WRITE_TOKEN", WRITE), ("RELAY_PUBLISH_TOKEN", PUBLISH)];
    let surface = ready(&stage, &tokens).await;
    let document =
        surface.ask("GET", "/openapi.json", &[("authorization", &format!("Bearer {READ}"))], None).await.json();
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for (method, path, told) in operations(&document) {
        let is_open = told.get("security").is_none();
        assert_eq!(is_open, ["/live", "/ready"].contains(&path.as_str()), "{path}");
        let asked = path.replace("{event}", "x").replace("{id}", "x");
        let headers = [("content-type", "application/json")];
        let answer = surface.ask(&method, &asked, &headers, Some(b"{}")).await;
        assert_eq!(answer.status, if is_open { 200 } else { 401 }, "{method} {path}");
        assert_as_told(&document, &told, &path, &answer);
        // As another method: what HEAD tells must not be more, and no other site is invited.
        for other in ["HEAD", "OPTIONS", "TRACE", "PATCH"] {
            let head = format!("{other} {asked} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let status = surface.raw(head.as_bytes()).await.map(|answer| {
                let invites = answer.headers.keys().any(|name| name.starts_with("access-control"));
                assert!(!invites, "{other} {path}");
                answer.status
            });
            let expected = match (other, method.as_str()) {
                ("HEAD", "GET") if is_open => 200,
                ("HEAD", "GET") => 401,
                _ => 405,
            };
            assert_eq!(status.unwrap_or(expected), expected, "{other} {path}");
        }
        // Who has another token is told so.
        let wrong = if method == "GET" { PUBLISH } else { READ };
        let shown = format!("Bearer {wrong}");
        let answer = surface.ask(&method, &asked, &[headers[0], ("authorization", &shown)], Some(b"{}")).await;
        assert_eq!(answer.status, if is_open { 200 } else { 403 }, "{method} {path}");
    }
}
