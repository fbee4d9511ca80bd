//! A real browser without a window, led over a pipe as its makers mean it (the DevTools protocol): somebody who looks at a page,
//! clicks and types, and hears what the browser complains about.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};

use crate::eventually;

/// Where a Chromium is looked for, if the variable `CHROMIUM` does not say where; `./dev` knows the same names.
const PROGRAMS: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// The pipe is the third and fourth file of the browser.
const OVER_A_PIPE: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null 1>&2"#;

const FLAGS: [&str; 11] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--mute-audio",
    "--log-level=3",
];

/// A browser with one page. It ends with this value.
pub struct Browser {
    process: tokio::process::Child,
    wire: tokio::sync::Mutex<ChildStdin>,
    session: String,
    asked: AtomicU64,
    heard: Arc<Mutex<Heard>>,
    home: TempDir,
}

#[derive(Default)]
struct Heard {
    answers: HashMap<u64, Value>,
    happened: Vec<Value>,
}

impl Browser {
    /// A browser that has never been anywhere, with an empty page of 1280 by 900.
    ///
    /// # Panics
    /// If there is no Chromium.
    pub async fn open() -> Self {
        let home = TempDir::new().expect("a folder of its own");
        let mut command = Command::new("sh");
        command.arg("-c").arg(OVER_A_PIPE).arg(program()).args(FLAGS);
        command.arg(format!("--user-data-dir={}", home.path().display()));
        if geteuid().is_root() {
            // Its own walls need a user who is not root. It sees our pages alone.
            command.arg("--no-sandbox");
        }
        // A file: helpers of its own may outlive it for a moment, and would hold a pipe of ours.
        let log = std::fs::File::create(home.path().join("log")).expect("a file");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).process_group(0).kill_on_drop(true);
        let mut process = command.spawn().expect("a shell starts it");
        let wire = tokio::sync::Mutex::new(process.stdin.take().expect("it was piped"));
        let heard = Arc::<Mutex<Heard>>::default();
        tokio::spawn(listen(process.stdout.take().expect("it was piped"), Arc::clone(&heard)));
        let mut browser = Self { process, wire, session: String::new(), asked: AtomicU64::new(1), heard, home };
        let page = browser.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attached = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attached).await;
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser.size(1280, 900).await;
        browser
    }

    /// One question to the browser.
    pub async fn call(&self, method: &str, parameters: Value) -> Value {
        let id = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut question = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            question["sessionId"] = json!(self.session);
        }
        let line = [question.to_string().as_bytes(), b"\0"].concat();
        self.wire.lock().await.write_all(&line).await.expect("the browser listens");
        let mut answer = eventually(&format!("the browser's answer to {method}"), async || {
            self.heard.lock().expect("nobody panics here").answers.remove(&id)
        })
        .await;
        assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
        answer["result"].take()
    }

    /// Goes to an address, and waits until the page is there.
    pub async fn go(&self, address: &str) {
        let gone = self.call("Page.navigate", json!({"url": address})).await;
        assert!(gone.get("errorText").is_none(), "{address}: {gone}");
        self.until("document.readyState === 'complete'").await;
    }

    /// What an expression of JavaScript says, in the page.
    pub async fn say(&self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut said = self.call("Runtime.evaluate", asked).await;
        assert!(said.get("exceptionDetails").is_none(), "{expression}: {}", said["exceptionDetails"]);
        said["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        eventually(&format!("the page to say yes to: {expression}"), async || self.say(expression).await == true)
            .await;
    }

    /// What a person reads at a place, and nothing if it is not shown.
    pub async fn text(&self, selector: &str) -> String {
        let text = self.say(&format!("document.querySelector({})?.innerText ?? ''", json!(selector))).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a person reads this at a place.
    pub async fn until_text(&self, selector: &str, words: &str) {
        let expression = format!("document.querySelector({})?.innerText.includes({})", json!(selector), json!(words));
        self.until(&expression).await;
    }

    /// Clicks into the middle of something (of its first line, if it has many), with the mouse, once it is there and nothing lies before it.
    pub async fn click(&self, selector: &str) {
        let place = format!(
            "(() => {{ const e = document.querySelector({}); if (!e || e.disabled) return null;
                e.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const r = e.getClientRects()[0] ?? e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2;
                const hit = document.elementFromPoint(x, y);
                return r.width > 0 && (e.contains(hit) || hit?.contains(e)) ? [x, y] : null; }})()",
            json!(selector)
        );
        let at = eventually(&format!("{selector} to be clickable"), async || {
            Some(self.say(&place).await).filter(Value::is_array)
        })
        .await;
        for kind in ["mousePressed", "mouseReleased"] {
            let mouse = json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", mouse).await;
        }
    }

    /// Presses a key by its name: `j`, `/`, `Enter`, `Tab`, `ArrowDown`.
    pub async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "ArrowUp" => (38, ""),
            "ArrowDown" => (40, ""),
            sign => (0, sign),
        };
        let mut stroke = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
        if !text.is_empty() {
            stroke["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", stroke).await;
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}))
            .await;
    }

    /// Types into whatever has the focus.
    pub async fn write(&self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Makes the window so large.
    pub async fn size(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Prefers dark pages, or light ones.
    pub async fn prefer_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let wish = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.call("Emulation.setEmulatedMedia", wish).await;
    }

    /// Writes what it looks like to a file: the window, or the whole page.
    pub async fn photograph(&self, file: &Path, whole: bool) {
        let mut wish = json!({"format": "png", "captureBeyondViewport": whole});
        if whole {
            let size = self.call("Page.getLayoutMetrics", json!({})).await["cssContentSize"].take();
            wish["clip"] = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        }
        let picture = self.call("Page.captureScreenshot", wish).await;
        std::fs::create_dir_all(file.parent().expect("a file in a folder")).expect("a folder");
        std::fs::write(file, from_base64(picture["data"].as_str().expect("a picture"))).expect("written");
    }

    /// Every address that was asked for, without those that hold what they are (`data:`).
    pub fn addresses(&self) -> Vec<String> {
        let heard = self.heard.lock().expect("nobody panics here");
        let asked = heard.happened.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        let addresses = asked.filter_map(|event| Some(event["params"]["request"]["url"].as_str()?.to_owned()));
        addresses.filter(|address| !address.starts_with("data:")).collect()
    }

    /// What the browser complains about: errors and warnings of scripts, policies that were broken. Not answers that refuse: those are for
    /// the page to tell.
    pub fn complaints(&self) -> Vec<String> {
        let heard = self.heard.lock().expect("nobody panics here");
        let complaint = |event: &Value| {
            let said = &event["params"];
            let loud = |level: &Value| level == "error" || level == "warning" || level == "assert";
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => true,
                "Runtime.consoleAPICalled" => loud(&said["type"]),
                "Log.entryAdded" => loud(&said["entry"]["level"]) && said["entry"]["source"] != "network",
                _ => false,
            }
            .then(|| said.to_string())
        };
        heard.happened.iter().filter_map(complaint).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // All that it has started, too, or its folder could not be taken away.
        if let Some(group) = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            eprintln!("--- the browser said:\n{log}and complains of {:?} ---", self.complaints());
        }
    }
}

async fn listen(wire: ChildStdout, heard: Arc<Mutex<Heard>>) {
    let mut lines = BufReader::new(wire).split(b'\0');
    while let Ok(Some(line)) = lines.next_segment().await {
        let told: Value = serde_json::from_slice(&line).expect("the browser speaks JSON");
        let mut heard = heard.lock().expect("nobody panics here");
        match told["id"].as_u64() {
            Some(id) => _ = heard.answers.insert(id, told),
            None => heard.happened.push(told),
        }
    }
}

fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("CHROMIUM") {
        return program.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = PROGRAMS.iter().find_map(|name| {
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
    });
    found.unwrap_or_else(|| panic!("there is no Chromium: ./dev test installs it, or CHROMIUM says where it is"))
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |sign: u8| match sign {
        b'A'..=b'Z' => sign - b'A',
        b'a'..=b'z' => sign - b'a' + 26,
        b'0'..=b'9' => sign - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let signs: Vec<u8> = text.bytes().filter(|sign| *sign != b'=').collect();
    let four = |four: &[u8]| {
        let bits = four.iter().fold(0u32, |bits, sign| bits << 6 | u32::from(value(*sign))) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    signs.chunks(4).flat_map(four).collect()
}
