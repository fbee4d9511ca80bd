//! What all programs do alike: what a wrong setting is, what a taken port is, and that none lives on without its ears.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use outbox_tests::{Child, Program, Works, binary};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// A program, with nothing of this machine's settings.
fn program(name: &str, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(binary(name));
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.current_dir(folder);
    command
}

/// Its exit code, and the one line that it said at last.
async fn end(command: Command) -> (i32, String) {
    let told = format!("{command:?}");
    let mut child = Child::spawn(command);
    let code = child.wait().await;
    let line = child.log().lines().last().unwrap_or_else(|| panic!("{told} said nothing")).to_owned();
    (code, line)
}

/// What a source is, so that it is not missed.
fn with_sources(folder: &Path) {
    let source = "[[source]]\nname = \"daily\"\nhome = \"https://daily.example\"\n";
    std::fs::write(folder.join("sources.toml"), source).expect("written");
}

#[tokio::test]
async fn a_database_that_is_not_named_or_no_postgres_is_a_wrong_setting_for_every_verb() {
    let folder = tempfile::tempdir().expect("a folder");
    with_sources(folder.path());
    std::fs::create_dir_all(folder.path().join(".data/objects")).expect("made");
    let ended = r#"{"type": "export.end", "data": {"lines": 0, "left_out": 0, "current": false}}"#;
    std::fs::write(folder.path().join("export.ndjson"), ended).expect("written");
    let page = "https://daily.example/1";
    let verbs: &[(&str, &[&[&str]])] = &[
        (
            "relay",
            &[
                &["run"],
                &["migrate"],
                &["status"],
                &["blockers"],
                &["groups"],
                &["trace", "x"],
                &["pause", "s"],
                &["resume", "s"],
                &["verify"],
                &["doctor"],
                &["dead", "list"],
                &["dead", "drop", "x"],
                &["prune"],
            ],
        ),
        ("fallah", &[&["run"], &["once"], &["sources"], &["resume", "daily"], &["migrate"]]),
        (
            "hasad",
            &[
                &["run"],
                &["migrate"],
                &["history", page],
                &["show", page],
                &["diff", page],
                &["get", page],
                &["fsck"],
                &["gc"],
                &["import-ndjson", "export.ndjson"],
                &["export-ndjson"],
                &["purge", page],
            ],
        ),
        ("pipeline", &[&[]]),
    ];
    for (name, verbs) in verbs {
        for verb in *verbs {
            for url in [None, Some("mysql://me:hunter2@x/y"), Some("postgres://me:hunter2@x:port/y")] {
                // Without one it has a Postgres of its own.
                if url.is_none() && *name == "pipeline" {
                    continue;
                }
                let mut command = program(name, verb, folder.path());
                command.env("REDIS_URL", "redis://127.0.0.1:1").envs(url.map(|url| ("DATABASE_URL", url)));
                let (code, said) = end(command).await;
                assert_eq!(code, 64, "{name} {verb:?} with {url:?}: {said}");
                assert!(said.contains("--database-url (DATABASE_URL)"), "{name} {verb:?}: {said}");
                assert!(!said.contains("hunter2"), "{name} {verb:?}: {said}");
            }
        }
    }
}

/// Units begin again what has failed, and not what is set wrongly: whoever holds the port may be gone by then.
#[tokio::test]
async fn a_port_that_is_taken_is_a_failure_and_no_wrong_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    for name in ["relay", "fallah", "hasad", "bisan", "pipeline"] {
        let folder = tempfile::tempdir().expect("a folder");
        with_sources(folder.path());
        let variable = format!("{}_LISTEN", name.to_uppercase());
        let verb: &[&str] = if name == "pipeline" { &["--sources", "sources.toml"] } else { &["run"] };
        let mut command = program(name, verb, folder.path());
        command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none").env("REDIS_URL", "redis://127.0.0.1:1");
        command.env(&variable, &address);
        let (code, said) = end(command).await;
        assert_eq!(code, 1, "{name}: {said}");
        assert!(said.starts_with(&format!("{name}: --listen ({variable}) {address} cannot be had: ")), "{said}");
        // A value that is no address at all is one.
        let mut command = program(name, verb, folder.path());
        command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none").env(&variable, "nowhere");
        assert_eq!(end(command).await.0, 64, "{name}");
    }
}

/// Ends all sockets on which a process listens, behind its back.
fn deafen(child: &Child) -> usize {
    let id = child.id().expect("it runs");
    let listening: Vec<String> = std::fs::read_to_string(format!("/proc/{id}/net/tcp"))
        .expect("the system tells")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        // 0A: it listens.
        .filter(|fields| fields.get(3) == Some(&"0A"))
        .map(|fields| format!("socket:[{}]", fields[9]))
        .collect();
    let process = pidfd_open(Pid::from_raw(id as i32).expect("no process has number 0"), PidfdFlags::empty());
    let process = process.expect("a child of ours");
    let mut ended = 0;
    for entry in std::fs::read_dir(format!("/proc/{id}/fd")).expect("a child of ours").flatten() {
        let is_one =
            std::fs::read_link(entry.path()).is_ok_and(|to| listening.iter().any(|one| to.as_os_str() == &**one));
        if is_one {
            let number = entry.file_name().to_string_lossy().parse().expect("a number");
            let socket = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).expect("a child of ours");
            TcpStream::from(socket).shutdown(Shutdown::Both).expect("it is a socket");
            ended += 1;
        }
    }
    ended
}

#[tokio::test]
async fn a_program_whose_listener_has_died_ends_and_does_not_look_as_if_it_lived() {
    let works = Works::open("").await;
    for program in Program::ALL {
        let mut command = works.command(program, &["run"]);
        command.env(format!("{}_LISTEN", program.name().to_uppercase()), "127.0.0.1:0");
        let mut child = Child::spawn(command);
        child.saw("address=127.0.0.1:").await;
        assert_eq!(deafen(&child), 1, "{}", program.name());
        assert_eq!(child.wait().await, 1, "{}", program.name());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let sources = works.file("sources.toml");
    let mut command = program("pipeline", &["--sources", sources.to_str().expect("UTF-8")], folder.path());
    command.env("DATABASE_URL", &works.stage.database_url).env("REDIS_URL", works.stage.redis.url());
    command.env("PIPELINE_LISTEN", "127.0.0.1:0").env("FALLAH_ALLOW_NETS", "127.0.0.0/8");
    let mut pipeline = Child::spawn(command);
    pipeline.saw("open http://").await;
    assert!(deafen(&pipeline) >= 1);
    pipeline.saw("the HTTP server has ended").await;
    assert_eq!(pipeline.wait().await, 1);
}
