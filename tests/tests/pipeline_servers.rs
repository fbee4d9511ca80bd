//! The pipeline's servers of its own, which fall, end and come back, and the folder in which they work.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use outbox_tests::{Child, Signal, eventually, get, text};
use rustix::process::{Pid, kill_process};

use crate::pipeline::{Pipeline, answers, command, data, ports, reading, site};

fn pid_in(file: &Path) -> Pid {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Pid::from_raw(text.lines().next().and_then(|line| line.trim().parse().ok()).expect("a number"))
        .expect("a process")
}

fn postgres_of(data: &Path) -> Pid {
    pid_in(&data.join("postgres/data/postmaster.pid"))
}

fn redis_of(data: &Path) -> Pid {
    pid_in(&data.join("redis/redis.pid"))
}

fn parent_of(process: Pid) -> Pid {
    let output = Command::new("ps").args(["-o", "ppid=", "-p", &process.to_string()]).output().expect("ps");
    let text = String::from_utf8(output.stdout).expect("text");
    Pid::from_raw(text.trim().parse().expect("a number")).expect("a process")
}

fn kill_9(process: Pid) {
    kill_process(process, rustix::process::Signal::KILL).expect("it is there, and we may");
}

#[tokio::test]
async fn a_kill_leaves_no_server_behind_and_loses_nothing() {
    let data = data();
    let (site, file) = site(data.path()).await;
    let url = site.url("/a");
    let start = || Pipeline::start_as(reading(data.path(), &file, &[]));
    let mut pipeline = start().await;
    pipeline.finds("zanzibar").await;
    let versions = pipeline.until_versions(&url, 1).await;
    let event = versions[0]["version"]["event_id"].clone();

    // Killed: the keepers end the servers.
    let before = ports(data.path());
    pipeline.child.kill_9();
    pipeline.child.wait().await;
    eventually("the servers to end by themselves", async || !before.into_iter().any(answers)).await;

    // All of it is there at once, and nothing comes a second time.
    let mut pipeline = start().await;
    assert_eq!(pipeline.articles().await.len(), 1);
    let versions = pipeline.versions(&url).await;
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0]["version"]["event_id"], event);

    // Killed together with the keepers: the servers are left, and the next start takes their place.
    let (postgres, redis) = (postgres_of(data.path()), redis_of(data.path()));
    pipeline.child.signal(Signal::Stop);
    [postgres, redis].map(parent_of).into_iter().for_each(kill_9);
    pipeline.child.kill_9();
    pipeline.child.wait().await;
    assert!(ports(data.path()).into_iter().all(answers), "nobody has ended them");
    let pipeline = start().await;
    assert!(postgres_of(data.path()) != postgres && redis_of(data.path()) != redis);
    assert_eq!(pipeline.versions(&url).await[0]["version"]["event_id"], event);
    site.sitemap("/sitemap.xml", &["/a", "/b"]);
    site.article("/b", "Pemba builds a bridge", &text(2));
    pipeline.finds("pemba").await;
    pipeline.end().await;
}

#[tokio::test]
async fn a_private_server_that_falls_is_begun_again() {
    let data = data();
    let (site, file) = site(data.path()).await;
    let pipeline = Pipeline::start_as(reading(data.path(), &file, &[])).await;
    pipeline.finds("zanzibar").await;

    kill_9(redis_of(data.path()));
    eventually("a new Redis", async || {
        let redis = &pipeline.stages().await["redis"];
        redis["failures"].as_i64() >= Some(1) && redis["state"] == "working"
    })
    .await;
    site.article("/a", "Zanzibar repairs a lighthouse", &text(1));
    pipeline.finds("repairs").await;

    kill_9(postgres_of(data.path()));
    eventually("a new Postgres", async || {
        let postgres = &pipeline.stages().await["postgres"];
        postgres["failures"].as_i64() >= Some(1) && postgres["state"] == "working"
    })
    .await;
    site.article("/a", "Zanzibar paints a lighthouse", &text(1));
    pipeline.finds("paints").await;
    pipeline.until_versions(&site.url("/a"), 3).await;

    // Its keeper falls: a server that nobody keeps is replaced by one that is kept.
    let left = redis_of(data.path());
    kill_9(parent_of(left));
    eventually("a Redis that is kept", async || {
        let redis = &pipeline.stages().await["redis"];
        redis["failures"].as_i64() >= Some(2) && redis["state"] == "working" && redis_of(data.path()) != left
    })
    .await;
    site.article("/a", "Zanzibar lights a lighthouse", &text(1));
    pipeline.finds("lights").await;
    pipeline.end().await;
}

#[tokio::test]
async fn a_second_ctrl_c_ends_it_at_once() {
    let data = data();
    let (_site, file) = site(data.path()).await;
    // What is under way could take as long as it likes.
    let mut command = reading(data.path(), &file, &["--drain-max", "1h"]);
    command.env("FALLAH_DRAIN_MAX", "1h").env("HASAD_DRAIN_MAX", "1h").env("BISAN_DRAIN_MAX", "1h");
    let mut pipeline = Pipeline::start_as(command).await;
    pipeline.finds("zanzibar").await;
    // A reader who never ends its request keeps the pages from ending in order.
    let mut slow = TcpStream::connect(pipeline.home).expect("it listens");
    std::io::Write::write_all(&mut slow, b"GET /articles HTTP/1.1\r\nhost: localhost\r\n").expect("sent");
    get(pipeline.home, "/live", &[]).await;
    let servers = ports(data.path());
    pipeline.child.signal(Signal::Int);
    pipeline.child.saw("stopping").await;
    pipeline.child.signal(Signal::Int);
    assert_eq!(pipeline.child.wait().await, 130, "{}", pipeline.child.log());
    assert!(pipeline.child.log().contains("pipeline: ended at once"), "{}", pipeline.child.log());
    // Nobody asked the servers to end, and they do.
    eventually("the servers to end by themselves", async || !servers.into_iter().any(answers)).await;
    drop(slow);
}

#[tokio::test]
async fn a_path_that_is_too_long_for_a_socket_is_no_hindrance() {
    let data = data();
    // Sockets have addresses of at most 107 bytes, and Postgres wants one.
    let deep = (0..6).fold(data.path().to_owned(), |path, nth| path.join(format!("{nth}-a-folder-with-a-long-name")));
    open_to_all(data.path(), &deep);
    assert!(deep.as_os_str().len() > 150);
    let pipeline = Pipeline::start(&deep, &[]).await;
    pipeline.finds("crane+quay").await;
    pipeline.end().await;
}

/// Makes folders that servers of another user may come into.
fn open_to_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for folder in to.ancestors().take_while(|folder| *folder != from) {
        let open = PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(folder, open).expect("ours");
    }
}

/// As root, private servers run as another user. Where that one may not come in, a folder that nobody has named lies elsewhere
/// under the same name, and one that somebody has named is refused.
#[tokio::test]
async fn data_that_the_servers_may_not_enter_lie_elsewhere_or_are_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root has servers that run as another user: not checked here");
        return;
    }
    let closed = PermissionsExt::from_mode(0o700);
    let closed = tempfile::Builder::new().permissions(closed).tempdir().expect("a folder that is closed to others");
    let below = closed.path().join("below");
    std::fs::create_dir(&below).expect("made");
    let mut refused = Child::spawn(command(&below.join("data"), &[]));
    assert_eq!(refused.wait().await, 64, "{}", refused.log());
    assert!(refused.log().contains("PIPELINE_DATA"), "{}", refused.log());

    let mut command = command(&below, &[]);
    command.current_dir(&below);
    let by_default = || without_data(&command);
    let pipeline = Pipeline::start_as(by_default()).await;
    pipeline.finds("crane+quay").await;
    let said = pipeline.child.log();
    let name = said
        .split("data: .data, which is /var/lib/")
        .nth(1)
        .unwrap_or_else(|| panic!("it does not say where: {said}"));
    let name: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    assert!(name.starts_with("pipeline-"), "{name}");
    let place = Path::new("/var/lib").join(name);
    pipeline.end().await;
    // The guide finds what it names where everybody has it.
    assert!(below.join(".data/env").is_file() && place.join("postgres").is_dir(), "{}", place.display());
    std::fs::remove_dir_all(&place).expect("ours");

    // All of it is gone but the link, so all of it begins anew.
    let pipeline = Pipeline::start_as(by_default()).await;
    pipeline.finds("crane+quay").await;
    pipeline.end().await;
    std::fs::remove_dir_all(&place).expect("ours");
}

#[tokio::test]
async fn nobody_else_reads_what_lies_in_the_data_folder() {
    let data = data();
    let pipeline = Pipeline::start(data.path(), &[]).await;
    let crane = pipeline.finds("crane+quay").await;
    pipeline.until_versions(crane["source_url"].as_str().expect("an address"), 1).await;
    assert_closed(data.path());
    pipeline.end().await;
    assert_closed(data.path());
}

/// The folder itself may let servers of another user through; what is in it lets in its owner alone.
fn assert_closed(data: &Path) {
    let mut seen = vec![];
    for entry in std::fs::read_dir(data).expect("it is there") {
        let entry = entry.expect("readable");
        let mode = std::fs::metadata(entry.path()).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} is {mode:o}", entry.path().display());
        seen.push(entry.file_name().into_string().expect("a name"));
    }
    for name in ["objects", "bisan.db", "postgres", "redis", "env"] {
        assert!(seen.iter().any(|seen| seen == name), "{name} is not among {seen:?}");
    }
}

/// The same command, which names no data folder.
fn without_data(command: &Command) -> Command {
    let mut same = Command::new(command.get_program());
    let rest: Vec<_> = command.get_args().collect();
    assert_eq!(rest[0], "--data");
    same.args(&rest[2..]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => same.env(name, value),
            None => same.env_remove(name),
        };
    }
    same.current_dir(command.get_current_dir().expect("it was said"));
    same
}
