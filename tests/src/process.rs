//! A program under test, as a real process.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{deadline, eventually};

/// The signals that an operator or a scheduler sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Please end.
    Term,
    /// Ctrl-C.
    Int,
    /// Freeze: the process does not run, and its connections stay.
    Stop,
    /// Run on after [`Signal::Stop`].
    Cont,
}

/// A process in a group of its own, whose output is kept. It is killed when this value goes; if a test fails,
/// its output is printed.
pub struct Child {
    name: String,
    process: tokio::process::Child,
    log: Arc<Mutex<String>>,
    readers: [JoinHandle<()>; 2],
}

impl Child {
    /// Starts a program: a `std` or a `tokio` command.
    pub fn spawn(command: impl Into<Command>) -> Self {
        let mut command = command.into();
        let name = command.as_std().get_program().display().to_string();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut process = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));

        let log = Arc::new(Mutex::new(String::new()));
        let stdout = process.stdout.take().expect("stdout was piped");
        let stderr = process.stderr.take().expect("stderr was piped");
        let readers =
            [tokio::spawn(keep_lines(stdout, Arc::clone(&log))), tokio::spawn(keep_lines(stderr, Arc::clone(&log)))];
        Self { name, process, log, readers }
    }

    /// Everything it has said so far, on stdout and stderr.
    pub fn log(&self) -> String {
        self.log.lock().expect("pushing a line does not panic").clone()
    }

    /// What it has said beyond so many bytes, up to its last whole line.
    pub fn log_from(&self, from: usize) -> String {
        self.log.lock().expect("pushing a line does not panic").get(from..).unwrap_or_default().to_owned()
    }

    /// Whether it has closed its output, as a program does that has ended.
    pub fn has_ended(&self) -> bool {
        self.readers.iter().all(JoinHandle::is_finished)
    }

    /// Waits until it has said this, and returns the whole line.
    ///
    /// # Panics
    /// If it ends, or the [`deadline`] comes, before it does.
    pub async fn saw(&self, text: &str) -> String {
        let what = format!("{} says {text:?}", self.name);
        let line = eventually(&what, async || {
            // In this order: a line that came before the end is found.
            let ended = self.has_ended();
            let line = self.log().lines().find(|line| line.contains(text)).map(str::to_owned);
            (line.is_some() || ended).then_some(line)
        });
        line.await.unwrap_or_else(|| panic!("{} ended and never said {text:?}", self.name))
    }

    /// Ends it, and everything it started in its group, as a crash of the machine would.
    pub fn kill_9(&self) {
        self.send(rustix::process::Signal::KILL);
    }

    /// Sends a signal to it and its group; nothing happens if it has been waited for.
    pub fn signal(&self, signal: Signal) {
        self.send(match signal {
            Signal::Term => rustix::process::Signal::TERM,
            Signal::Int => rustix::process::Signal::INT,
            Signal::Stop => rustix::process::Signal::STOP,
            Signal::Cont => rustix::process::Signal::CONT,
        });
    }

    /// Waits for its end: the exit code, or as a shell says it 128 and the number of the signal that ended it.
    ///
    /// # Panics
    /// If it still runs at the [`deadline`].
    pub async fn wait(&mut self) -> i32 {
        let status = timeout(deadline(), self.process.wait())
            .await
            .unwrap_or_else(|_| panic!("{} does not end", self.name))
            .expect("a child of ours can be waited for");
        // What it said last may still be in the pipe. A process that it left behind may hold that open, so
        // this wait is not for ever, and its end is no failure.
        let last_words = async {
            for reader in &mut self.readers {
                // A reader can be asked for its end only once.
                if !reader.is_finished() {
                    let _ = reader.await;
                }
            }
        };
        let _ = timeout(LAST_WORDS_MAX, last_words).await;
        status.code().unwrap_or_else(|| 128 + status.signal().expect("it ended by itself or by a signal"))
    }

    /// Its process id, until it has been waited for.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    fn send(&self, signal: rustix::process::Signal) {
        // Once it has been waited for it has no id: its number may be another's by now.
        let Some(group) = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed())) else {
            return;
        };
        // It may have ended by itself a moment ago, which is no failure.
        let _ = kill_process_group(group, signal);
    }
}

const LAST_WORDS_MAX: std::time::Duration = std::time::Duration::from_secs(1);

impl Drop for Child {
    fn drop(&mut self) {
        self.send(rustix::process::Signal::KILL);
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}---", self.name, self.log());
        }
    }
}

/// A program of this workspace, by its name.
///
/// # Panics
/// If it has not been built: for a test, cargo builds the programs of its own package only.
pub fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("this program has a path");
    // Tests lie one folder below the programs.
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no program {name} yet: cargo build --workspace --bins"))
}

async fn keep_lines(output: impl AsyncRead + Unpin, log: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(output).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let mut log = log.lock().expect("pushing a line does not panic");
        log.push_str(&String::from_utf8_lossy(&line));
        log.push('\n');
    }
}
