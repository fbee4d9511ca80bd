//! The images of `compose/Dockerfile`: what is in them, who they run as, and how they tell their health.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use outbox_tests::{Child, Signal, binary, eventually};

use crate::deploy::{assert_done, program_of, read, root, runs_once, services, words};

/// Whether there is such a program already; one that `services/README.md` calls to come may be missing.
fn is_built(program: &str) -> bool {
    let to_come = read("services/README.md").contains(&format!("To come: `{program}`"));
    !to_come || root().join("services").join(program).is_dir()
}

/// The stages that are images of a program, with their lines.
fn targets() -> BTreeMap<String, Vec<String>> {
    let mut targets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut target = None;
    for line in read("compose/Dockerfile").lines() {
        if let Some(stage) = line.strip_prefix("FROM ") {
            target = stage.strip_prefix("ground AS ").map(str::to_owned);
        } else if let Some(target) = &target {
            targets.entry(target.clone()).or_default().push(line.to_owned());
        }
    }
    targets
}

#[test]
fn every_target_is_a_program_with_its_own_health() {
    let targets = targets();
    let expected = ["bisan", "fallah", "hasad", "pipeline", "relay"];
    assert_eq!(targets.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    let workspace = read("Cargo.toml");
    for (target, lines) in &targets {
        let has = |begin: &str| lines.iter().any(|line| line.starts_with(begin));
        assert!(has(&format!("COPY --from=build /programs/{target} /usr/local/bin/{target}")), "{target}");
        assert!(has(&format!("ENTRYPOINT [\"{target}\"]")) && has("HEALTHCHECK") && has("LABEL"), "{target}");
        if is_built(target) {
            let package = if target == "relay" { "relay".to_owned() } else { format!("services/{target}") };
            assert!(workspace.contains(&format!("\"{package}\"")), "{target} is no package");
            assert!(root().join(&package).join("src/main.rs").is_file(), "{target} is no program");
        }
    }
    for (name, service) in services() {
        let Some(build) = service["build"].as_object() else { continue };
        let target = build["target"].as_str().expect("a target");
        assert!(targets.contains_key(target), "{name}");
        assert_eq!(Some(target), program_of(service["image"].as_str().expect("an image")), "{name}");
        // Compose asks as the image does.
        if !runs_once(&service) {
            let asks: Vec<String> =
                words(&service["healthcheck"]["test"])[1..].iter().map(|word| format!("\"{word}\"")).collect();
            let asks = format!("CMD [{}]", asks.join(", "));
            assert!(targets[target].iter().any(|line| line.ends_with(&asks)), "{name}: {asks}");
        }
    }
}

#[test]
fn an_image_is_built_from_what_is_there_and_runs_as_nobody_special() {
    let dockerfile = read("compose/Dockerfile");
    let ground = dockerfile.split("AS ground").nth(1).and_then(|rest| rest.split("\nFROM ").next());
    assert!(ground.is_some_and(|ground| ground.contains("\nUSER outbox\n")));
    let taken = read("compose/Dockerfile.dockerignore");
    let taken: Vec<_> = taken.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for path in &taken {
        assert!(root().join(path).exists(), "{path} is not there");
    }
    let workspace = read("Cargo.toml");
    let members = workspace.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","));
    for member in members.filter(|member| root().join(member).is_dir()) {
        assert!(taken.iter().any(|path| Path::new(member).starts_with(path)), "{member} is not in the context");
    }
    for secret in ["compose/secrets", "compose"] {
        assert!(!taken.contains(&secret), "{secret} would get into a layer");
    }
}

/// The script that a container asks itself with, against the real program.
#[tokio::test]
async fn a_container_learns_whether_its_program_lives() {
    let mut command = Command::new(binary("relay"));
    command.args(["run", "--listen", "127.0.0.1:0", "--database-url", "postgres://nobody@127.0.0.1:1/nowhere"]);
    let relay = Child::spawn(command);
    let line = relay.saw("127.0.0.1:").await;
    let port = line.split("127.0.0.1:").filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u16>().ok().filter(|port| *port > 1)
    });
    let port = port.last().unwrap_or_else(|| panic!("no port in {line}")).to_string();
    let alive = || Command::new(root().join("compose/alive")).arg(&port).output().expect("bash");
    // Postgres is away, and a restart would not bring it back.
    assert_done("alive", &alive());
    relay.signal(Signal::Stop);
    assert!(!alive().status.success(), "a program that hangs is not well");
    relay.signal(Signal::Cont);
    relay.kill_9();
    eventually("its port is closed", async || (!alive().status.success()).then_some(())).await;
}
