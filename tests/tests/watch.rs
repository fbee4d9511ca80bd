//! `relay status --watch` on a terminal: a real one to the program, and read back as a person sees it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use outbox_tests::{Child, Stage, eventually};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child as Process, Command};

const ROWS: u16 = 30;
const COLUMNS: u16 = 120;

/// A program on a terminal of its own.
struct Terminal {
    process: Process,
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn run(command: std::process::Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("ours");
        unlockpt(&ours).expect("ours");
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).expect("a size");
        let name = ptsname(&ours, vec![]).expect("a name");
        let its: OwnedFd = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its side");
        let stdio = || Stdio::from(its.try_clone().expect("one more"));
        let mut command = Command::from(command);
        command.stdin(stdio()).stdout(stdio()).stderr(stdio()).env("TERM", "xterm-256color").kill_on_drop(true);
        let process = command.spawn().expect("the binary runs");

        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let (keys, mut said) = (File::from(ours.try_clone().expect("one more")), File::from(ours));
        let shown = Arc::clone(&screen);
        // It ends when the program, the last who has its side of the terminal open, does.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = said.read(&mut bytes) {
                shown.lock().expect("parsing does not panic").process(&bytes[..count]);
            }
        });
        Self { process, keys, screen }
    }

    fn text(&self) -> String {
        self.screen.lock().expect("parsing does not panic").screen().contents()
    }

    async fn shows(&self, words: &str) {
        eventually(&format!("the screen to show {words:?}"), async || self.text().contains(words)).await;
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal is open");
    }
}

#[tokio::test]
async fn a_person_watches_a_backlog_come_and_go() {
    let stage = Stage::set().await;
    let mut terminal = Terminal::run(stage.command(&["status", "--watch", "--every", "200ms"]));
    terminal.shows("no relay is running (none was ever seen)").await;
    terminal.shows("no stream yet").await;
    stage.enqueue_many("orders", 500).await;
    terminal.shows("unsent: 500").await;
    let relay = Child::spawn(stage.command(&["run"]));
    terminal.shows("All is well").await;
    terminal.shows("unsent: 0").await;
    eventually("the row of the stream", async || {
        terminal.text().lines().any(|line| line.contains("orders") && line.contains("500"))
    })
    .await;

    // Held still it does not move, and then it catches up.
    terminal.press(" ");
    terminal.shows("held still").await;
    stage.enqueue("orders", "one more").await;
    eventually("the event to arrive", async || stage.length("orders").await == 501).await;
    assert!(!terminal.text().contains("501"));
    terminal.press(" ");
    terminal.shows("501").await;

    relay.kill_9();
    terminal.shows("no relay is running (last seen").await;
    terminal.press("q");
    let ended = tokio::time::timeout(outbox_tests::deadline(), terminal.process.wait()).await;
    assert_eq!(ended.expect("it ends").expect("a child of ours").code(), Some(0));
    // Its last words may still be on the way.
    eventually("the screen to be as it was before", async || {
        !terminal.screen.lock().expect("parsing does not panic").screen().alternate_screen()
    })
    .await;
}

#[tokio::test]
async fn a_postgres_that_goes_away_and_comes_back_ends_no_watch() {
    let stage = Stage::set().await;
    let wire = outbox_tests::Proxy::to(stage.postgres.port()).await;
    let mut status = stage.command(&["status", "--watch", "--every", "200ms"]);
    status.env("DATABASE_URL", stage.database_url_over(&wire));
    let mut terminal = Terminal::run(status);
    terminal.shows("no relay is running").await;
    wire.refuse();
    wire.cut();
    terminal.shows("Postgres has not said for").await;
    wire.accept();
    terminal.shows("✕ Stuck: no relay works").await;
    terminal.press("\x03");
    let ended = tokio::time::timeout(outbox_tests::deadline(), terminal.process.wait()).await;
    assert_eq!(ended.expect("it ends").expect("a child of ours").code(), Some(0));
}

#[tokio::test]
async fn without_a_terminal_it_names_what_programs_take() {
    let stage = Stage::set().await;
    let said = stage.command(&["status", "--watch"]).output().expect("the binary runs");
    assert_eq!(said.status.code(), Some(64));
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(complaint.contains("relay status --json"), "{complaint}");
}
