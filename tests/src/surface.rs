//! A relay with its HTTP surface, and callers who send exactly what they are told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Child, Stage, deadline};

/// A relay process and where it listens.
pub struct Surface {
    pub relay: Child,
    pub address: SocketAddr,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// Lower-case names.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The one sentence of a refusal, which must be told as its standard asks.
    pub fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        problem["detail"].as_str().expect("a sentence").to_owned()
    }
}

impl Surface {
    /// A relay of this stage that listens on a free port of loopback, with more flags.
    pub async fn begin(stage: &Stage, flags: &[&str]) -> Self {
        let mut command = stage.command(&["run"]);
        command.args(flags).env("RELAY_LISTEN", "127.0.0.1:0");
        Self::of(Child::spawn(command)).await
    }

    /// The surface of a relay that was started somehow.
    pub async fn of(relay: Child) -> Self {
        let line = relay.saw("the operator's surface listens").await;
        let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address: SocketAddr = address.expect("it says where").parse().expect("an address");
        // One that listens everywhere is reached on loopback, too.
        let address = SocketAddr::from(([127, 0, 0, 1], address.port()));
        Self { relay, address }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.ask("GET", path, &[], None).await
    }

    /// Sends JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.ask("POST", path, &[("content-type", "application/json")], Some(body.to_string().as_bytes())).await
    }

    /// One request with these headers on top of `Host`, on a connection of its own.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Response {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            head += &format!("content-length: {}\r\n", body.len());
        }
        let request = [format!("{head}\r\n").as_bytes(), body.unwrap_or_default()].concat();
        self.raw(&request).await.unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// Any bytes. None: the connection was closed without an answer.
    pub async fn raw(&self, request: &[u8]) -> Option<Response> {
        let asked = async {
            let mut stream = TcpStream::connect(self.address).await.expect("the surface listens");
            // A server may answer, and hang up, before all has been sent.
            let _ = stream.write_all(request).await;
            read_answer(&mut BufReader::new(stream)).await
        };
        timeout(deadline(), asked).await.expect("an answer, or the end of the connection")
    }

    /// Listens to `/events`, and returns the names and data of the first ones.
    pub async fn listen(&self, events: usize) -> Vec<(String, Value)> {
        let listening = async {
            let stream = TcpStream::connect(self.address).await.expect("the surface listens");
            let mut stream = BufReader::new(stream);
            let request = format!("GET /events HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
            stream.get_mut().write_all(request.as_bytes()).await.expect("sent");
            let (mut heard, mut name, mut line) = (vec![], String::new(), String::new());
            while heard.len() < events {
                line.clear();
                assert!(stream.read_line(&mut line).await.expect("a line") > 0, "the stream of events ended");
                if let Some(event) = line.strip_prefix("event: ") {
                    name = event.trim().to_owned();
                } else if let Some(data) = line.strip_prefix("data: ") {
                    heard.push((name.clone(), serde_json::from_str(data).expect("JSON")));
                }
            }
            heard
        };
        timeout(deadline(), listening).await.expect("events come each second")
    }
}

/// Asks once, and reads until the answer ends, whatever it is: of `/events` until somebody hangs up.
pub async fn ask_once(address: SocketAddr, path: &str) {
    if let Ok(mut stream) = TcpStream::connect(address).await {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
}

async fn read_answer(stream: &mut BufReader<TcpStream>) -> Option<Response> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
        return None;
    }
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => _ = headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        }
    }
    let mut body = vec![];
    if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).await.ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else {
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
    }
    Some(Response { status, headers, body })
}
