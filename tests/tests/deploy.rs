//! The files in `compose/` fit each other, our programs and their metrics. No engine of containers is needed, and none is
//! tried: what only an engine could show is said in `compose/README.md`. Here is `compose.yaml`; images, users, what is watched,
//! systemd and Kubernetes have files of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use outbox_tests::{binary, skipped};
use serde_json::Value;

use crate::deploy_machines::containers;

/// One server, as the project promises it.
const SERVER_BYTES_MAX: u64 = 4096 << 20;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn yaml(path: &str) -> Value {
    documents(path).pop().unwrap_or_else(|| panic!("{path} is empty"))
}

pub(crate) fn files(folder: &str, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let mut found: Vec<_> =
        names.filter(|name| name.ends_with(extension)).map(|name| format!("{folder}/{name}")).collect();
    found.sort();
    assert!(!found.is_empty(), "{folder} has no {extension}");
    found
}

pub(crate) fn services() -> BTreeMap<String, Value> {
    let compose = yaml("compose/compose.yaml");
    let services = compose["services"].as_object().expect("services");
    services.iter().map(|(name, service)| (name.clone(), service.clone())).collect()
}

/// The members of a list, or the names of a map; none if there is neither.
pub(crate) fn names(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(all) => all.iter().map(|one| one.as_str().expect("a word").to_owned()).collect(),
        Value::Object(all) => all.keys().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

pub(crate) fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(crate) fn bytes(limit: &str) -> u64 {
    let number = |end: &str| limit.strip_suffix(end)?.parse::<u64>().ok();
    number("m").map(|n| n << 20).or_else(|| number("g").map(|n| n << 30)).unwrap_or_else(|| panic!("{limit}"))
}

/// What ends by itself, before others begin.
pub(crate) fn runs_once(service: &Value) -> bool {
    service["restart"] == "on-failure"
}

/// Which of our programs a service runs, by its image.
pub(crate) fn program_of(image: &str) -> Option<&str> {
    image.strip_prefix("outbox-")?.split(':').next()
}

pub(crate) fn is_of_a_name(sign: char) -> bool {
    sign.is_ascii_uppercase() || sign.is_ascii_digit() || sign == '_'
}

/// Every variable that a verb reads, as its own `--help` says: those of secrets also as NAME_FILE.
pub(crate) fn variables(program: &str, verb: &str) -> BTreeSet<String> {
    let help = Command::new(binary(program)).args([verb, "--help"]).output().expect("a program of ours");
    let help = String::from_utf8(help.stdout).expect("text");
    let words: Vec<&str> = help.split_whitespace().collect();
    let after = words.windows(2).filter(|pair| pair[0].ends_with("[env:")).map(|pair| pair[1]);
    let mut found: BTreeSet<String> =
        after.map(|word| word.split(['=', ']']).next().expect("a first part").to_owned()).collect();
    if let Some((_, secrets)) = help.split_once("NAME_FILE, too:") {
        // The list may be longer than a line, and ends where something else begins.
        let names =
            secrets.split_whitespace().take_while(|word| word.trim_end_matches(',').chars().all(is_of_a_name));
        found.extend(names.map(|name| format!("{}_FILE", name.trim_end_matches(','))));
    }
    assert!(found.len() > 1, "{program} {verb} --help names no variables");
    found
}

pub(crate) fn assert_known(given: &BTreeSet<String>, program: &str, verb: &str, place: &str) {
    let known = variables(program, verb);
    let unknown: Vec<_> = given.difference(&known).collect();
    assert!(unknown.is_empty(), "{place}: {program} {verb} does not know {unknown:?}");
}

/// A program that not every machine has.
pub(crate) fn found(program: &str) -> Option<PathBuf> {
    let here = std::env::current_exe().expect("this program has a path");
    let brought = here.ancestors().map(|folder| folder.join("tools/promtool/usr/bin").join(program));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join(program)).collect::<Vec<_>>();
    let found = brought.chain(installed).find(|path| path.is_file());
    if found.is_none() {
        skipped(&format!("what {program} checks: it is not installed here"));
    }
    found
}

pub(crate) fn assert_done(what: &str, output: &Output) {
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{what}: {}\n{said}{complained}", output.status);
}

#[test]
fn every_service_restarts_has_limits_and_tells_its_health() {
    for (name, service) in services() {
        let restart = service["restart"].as_str();
        assert!(restart == Some("unless-stopped") || runs_once(&service), "{name}: {restart:?}");
        assert!(service["mem_limit"].is_string() && service["cpus"].is_number(), "{name} has no limits");
        let silent = service["healthcheck"]["disable"] == true;
        let tells = words(&service["healthcheck"]["test"]).len() > 1;
        assert!(if runs_once(&service) { silent } else { tells }, "{name} does not tell its health");
        assert!(service["logging"]["options"]["max-size"].is_string(), "the log of {name} fills the disk");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
    }
}

#[test]
fn all_limits_of_memory_together_fit_a_server_of_four_gigabytes() {
    let of = |service: &Value| {
        let replicas = service["deploy"]["replicas"].as_u64().unwrap_or(1);
        bytes(service["mem_limit"].as_str().expect("a limit")) * replicas
    };
    let together: u64 = services().values().map(of).sum();
    assert!(together <= SERVER_BYTES_MAX, "{} MiB", together >> 20);
}

#[test]
fn who_waits_for_another_waits_until_it_is_well_or_has_ended() {
    let services = services();
    for (name, service) in &services {
        let waits = service["depends_on"].as_object().into_iter().flatten();
        for (other, how) in waits {
            let awaited =
                services.get(other).unwrap_or_else(|| panic!("{name} waits for {other}, which is not there"));
            let right = if runs_once(awaited) { "service_completed_successfully" } else { "service_healthy" };
            assert_eq!(how["condition"], right, "{name} waits for {other}");
            // Whoever is started with some profile finds there whom it waits for.
            let (mine, theirs) = (names(&service["profiles"]), names(&awaited["profiles"]));
            assert!(theirs.is_empty() || (!mine.is_empty() && mine.is_subset(&theirs)), "{name} waits for {other}");
        }
    }
}

#[test]
fn without_a_profile_there_is_the_relay_and_what_it_needs() {
    let core: Vec<_> = services()
        .into_iter()
        .filter(|(_, service)| names(&service["profiles"]).is_empty())
        .map(|(n, _)| n)
        .collect();
    assert_eq!(core, ["postgres", "redis", "relay", "relay-migrate", "relay-users"]);
}

#[test]
fn secrets_networks_and_volumes_are_declared_and_none_is_idle() {
    let compose = yaml("compose/compose.yaml");
    let named = |services: &BTreeMap<String, Value>, what: &str| -> BTreeSet<String> {
        services.values().flat_map(|service| names(&service[what])).collect()
    };
    let services = services();
    assert_eq!(named(&services, "secrets"), names(&compose["secrets"]));
    assert_eq!(named(&services, "networks"), names(&compose["networks"]));
    let mounted = services.values().flat_map(|service| words(&service["volumes"]));
    let volumes: BTreeSet<_> = mounted.map(|mount| mount.split(':').next().expect("a name")).collect();
    let volumes: BTreeSet<_> = volumes.into_iter().filter(|name| !name.starts_with('.')).map(str::to_owned).collect();
    assert_eq!(volumes, names(&compose["volumes"]));

    // Who is told where a secret lies has it, and nobody has one in an environment.
    for (name, service) in &services {
        let text = service.to_string();
        let mine = names(&service["secrets"]);
        for secret in names(&compose["secrets"]) {
            let told = text.contains(&format!("/run/secrets/{secret}"));
            assert!(!told || mine.contains(&secret), "{name} is told of {secret}");
        }
        let environment = service["environment"].as_object().into_iter().flatten();
        for (variable, value) in environment {
            let secret = ["_URL", "_KEY", "_TOKEN", "PASSWORD"].iter().any(|end| variable.ends_with(end));
            let value = value.as_str().unwrap_or_default();
            let harmless = value == "none" || (value.starts_with("http://") && !value.contains('@'));
            assert!(!secret || harmless, "{name}: {variable} stands in the open");
        }
    }
}

#[test]
fn no_image_floats_and_none_names_a_registry() {
    let images = services().into_values().map(|service| service["image"].as_str().expect("an image").to_owned());
    let dockerfile = read("compose/Dockerfile");
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    let bases = bases.filter(|base| *base != "ground").map(str::to_owned);
    let manifests = files("compose/kubernetes", ".yaml").into_iter().flat_map(|path| containers(&path));
    let manifests = manifests.map(|container| container["image"].as_str().expect("an image").to_owned());
    for image in images.chain(bases).chain(manifests) {
        let (name, tag) = image.split_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
        assert!(!tag.is_empty() && tag != "latest", "{image}");
        assert!(!name.contains(['.', '@']), "{image} names a registry");
    }
}

#[test]
fn nobody_elsewhere_reaches_a_published_port_and_stores_publish_none() {
    for (name, service) in services() {
        for port in words(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
            assert!(names(&service["networks"]).contains("outside"), "{name} could not be reached at all");
        }
        let store = ["postgres", "redis", "objects", "meilisearch"].contains(&name.as_str());
        assert!(!store || names(&service["networks"]) == BTreeSet::from(["inside".to_owned()]), "{name}");
    }
    assert_eq!(yaml("compose/compose.yaml")["networks"]["inside"]["internal"], true);
}

#[test]
fn what_is_mounted_is_there_or_is_made_by_prepare() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(root().join("compose/prepare"), folder.path().join("prepare")).expect("copied");
    let prepare = || {
        assert_done("prepare", &Command::new(folder.path().join("prepare")).output().expect("a shell"));
        let secrets = fs::read_dir(folder.path().join("secrets")).expect("made");
        let of = |path: PathBuf| (path.clone(), fs::read_to_string(path).expect("readable"));
        secrets.map(|entry| of(entry.expect("readable").path())).collect::<BTreeMap<_, _>>()
    };
    let made = prepare();
    assert_eq!(made, prepare(), "what is there already stays");
    let values: BTreeSet<_> = made.values().collect();
    assert_eq!(values.len(), made.len(), "two secrets are the same");

    let compose = yaml("compose/compose.yaml");
    for (name, secret) in compose["secrets"].as_object().expect("secrets") {
        let file = folder.path().join(secret["file"].as_str().expect("a file"));
        assert!(file.is_file(), "{name}: prepare makes no {}", file.display());
    }
    for (name, service) in services() {
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let source = mount.as_str().map_or_else(|| mount["source"].as_str(), |mount| mount.split(':').next());
            let source = source.expect("a source");
            let there = root().join("compose").join(source).exists() || folder.path().join(source).exists();
            assert!(there || !source.starts_with('.'), "{name}: {source} is not there");
        }
    }
    fallah::Sources::read(&folder.path().join("sources.toml")).expect("sources to begin with");
}

#[test]
fn every_variable_is_known_to_the_program_that_is_given_it() {
    let mut programs = BTreeSet::new();
    for (name, service) in services() {
        let Some(program) = program_of(service["image"].as_str().expect("an image")) else { continue };
        let verb = words(&service["command"]).first().copied().unwrap_or("run");
        assert_eq!(verb, if runs_once(&service) { "migrate" } else { "run" }, "{name}");
        assert_known(&names(&service["environment"]), program, verb, &name);
        programs.insert(program.to_owned());
    }
    assert_eq!(programs, BTreeSet::from(["bisan", "fallah", "hasad", "relay"].map(str::to_owned)));
}
