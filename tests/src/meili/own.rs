//! A real Meilisearch of a test's own, whose disk can be copied and put back.

use std::path::{Path, PathBuf};
use std::process::Command;

use servers::port;

use crate::{Child, Signal, eventually};

/// A process, and its folder.
pub struct Own {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Own {
    /// The program that `MEILI_BIN` names; none: it names none.
    pub(super) async fn start() -> Option<Self> {
        let program = PathBuf::from(std::env::var_os("MEILI_BIN").filter(|program| !program.is_empty())?);
        let folder = tempfile::tempdir().expect("a folder");
        let free = port::listener().expect("loopback has a free port");
        let port = free.local_addr().expect("a bound socket has an address").port();
        drop(free);
        let child = Child::spawn(command(&program, folder.path(), port));
        let own = Self { program, folder, port, child };
        own.until_it_answers().await;
        Some(own)
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// It stops, its disk is copied, and it goes on.
    pub async fn copy(&mut self) {
        self.stop().await;
        copy_all(&self.data(), &self.kept());
        self.go_on().await;
    }

    /// It stops, the copy of its disk takes the place of what is there, and it goes on.
    pub async fn put_back(&mut self) {
        self.stop().await;
        std::fs::remove_dir_all(self.data()).expect("it is there");
        copy_all(&self.kept(), &self.data());
        self.go_on().await;
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn kept(&self) -> PathBuf {
        self.folder.path().join("kept")
    }

    async fn stop(&mut self) {
        self.child.signal(Signal::Term);
        self.child.wait().await;
    }

    async fn go_on(&mut self) {
        self.child = Child::spawn(command(&self.program, self.folder.path(), self.port));
        self.until_it_answers().await;
    }

    async fn until_it_answers(&self) {
        let health = format!("{}/health", self.url());
        let _ = rustls::crypto::ring::default_provider().install_default();
        eventually("Meilisearch answers", async || {
            reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }
}

fn command(program: &Path, folder: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    let inside = |name: &str| folder.join(name);
    command.arg("--db-path").arg(inside("data")).arg("--dump-dir").arg(inside("dumps"));
    command.arg("--snapshot-dir").arg(inside("snapshots")).arg("--http-addr").arg(format!("127.0.0.1:{port}"));
    command.args(["--no-analytics", "--env", "development", "--max-indexing-memory", "256MiB"]);
    command.args(["--max-indexing-threads", "1"]).env_remove("MEILI_MASTER_KEY").current_dir(folder);
    command
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let (path, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("readable");
        match path.is_dir() {
            true => copy_all(&path, &to),
            false => _ = std::fs::copy(&path, &to).expect("there is room"),
        }
    }
}
