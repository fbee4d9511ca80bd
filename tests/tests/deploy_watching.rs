//! What is watched: alerts and dashboards ask for what our programs export, and Prometheus takes its settings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use outbox_tests::binary;
use serde_json::Value;

use crate::deploy::{assert_done, files, found, names, read, services, words, yaml};

/// What the exporter of Redis tells of a server, of that which we ask for.
const TOLD_OF_REDIS: [&str; 3] = ["redis_memory_used_bytes", "redis_memory_max_bytes", "redis_up"];
/// Names of our metrics begin so.
const OURS: [&str; 4] = ["relay_", "fallah_", "hasad_", "bisan_"];

/// What our programs export, from the page that is made from its table; histograms with their parts.
fn exported() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        Some((cells.next()?.trim_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    let parts = |(name, kind): (String, String)| match kind.as_str() {
        "histogram" => ["_bucket", "_sum", "_count"].iter().map(|part| format!("{name}{part}")).collect(),
        _ => vec![name],
    };
    let ours = rows.filter(|(name, _)| OURS.iter().any(|program| name.starts_with(program))).flat_map(parts);
    let all: BTreeSet<_> = ours.chain(TOLD_OF_REDIS.map(str::to_owned)).collect();
    assert!(OURS.iter().all(|program| all.iter().any(|name| name.starts_with(program))), "{all:?}");
    all
}

/// The metrics that an expression names.
fn asked_for(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| OURS.iter().chain(&["redis_"]).any(|program| word.starts_with(program)));
    metrics.map(str::to_owned).collect()
}

fn alerts() -> BTreeMap<String, Value> {
    let file = yaml("compose/prometheus/alerts.yml");
    let groups = file["groups"].as_array().expect("groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
    rules.map(|rule| (rule["alert"].as_str().expect("a name").to_owned(), rule.clone())).collect()
}

#[test]
fn every_alert_asks_for_what_is_exported_and_is_tested() {
    let (exported, tests) = (exported(), yaml("compose/prometheus/alerts_test.yml"));
    let tests = tests["tests"].as_array().expect("tests");
    let cases: Vec<_> =
        tests.iter().flat_map(|test| test["alert_rule_test"].as_array().expect("alert tests")).collect();
    for (name, rule) in alerts() {
        let asked = asked_for(rule["expr"].as_str().expect("an expression"));
        let unknown: Vec<_> = asked.difference(&exported).collect();
        assert!(unknown.is_empty(), "{name}: nobody exports {unknown:?}");
        assert!(rule["annotations"]["summary"].is_string() && rule["annotations"]["action"].is_string(), "{name}");
        let mine = cases.iter().filter(|case| case["alertname"] == name.as_str());
        let fires = mine.map(|case| !case["exp_alerts"].as_array().expect("alerts").is_empty());
        let fires: BTreeSet<bool> = fires.collect();
        assert_eq!(fires.len(), 2, "{name} is not seen both to fire and to be quiet");
    }
}

#[test]
fn the_limits_that_were_asked_for_are_the_limits_of_alerts() {
    let alerts = alerts();
    for (name, end) in [
        ("BacklogLarge", "(relay_unsent_events) > 1000"),
        ("GroupLagLarge", "(relay_group_lag_events) > 500"),
        ("GroupPendingLarge", "(relay_group_pending_events) > 100"),
        ("NoConsumer", "(relay_group_consumers) == 0"),
        ("RedisMemoryHigh", "> 0.8"),
        ("SourceSilent", "(fallah_source_silent_seconds) > 21600"),
        ("DeadLetters", "(relay_dead_letters{group!=\"\"}) > 0"),
        ("EventRefusedTooOften", "(relay_dead_letters{group=\"\"}) > 0"),
    ] {
        let expression = alerts[name]["expr"].as_str().expect("an expression");
        assert!(expression.ends_with(end), "{name}: {expression}");
    }
    // An event is a dead letter, which is an alert, before it is tried for a sixth time.
    let help = Command::new(binary("relay")).args(["run", "--help"]).output().expect("a program of ours");
    let help = String::from_utf8_lossy(&help.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("[env: RELAY_ATTEMPTS_MAX=] [default: 5]"));
}

#[test]
fn every_panel_asks_for_what_is_exported() {
    let exported = exported();
    for path in files("compose/grafana/dashboards", ".json") {
        let board: Value = serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        for panel in board["panels"].as_array().expect("panels") {
            let title = panel["title"].as_str().expect("a title");
            assert!(title.ends_with('?'), "{path}: {title:?} asks nothing");
            for target in panel["targets"].as_array().expect("targets") {
                assert_eq!(target["datasource"]["uid"], "prometheus", "{path}: {title}");
                let asked = asked_for(target["expr"].as_str().expect("an expression"));
                assert!(!asked.is_empty() && asked.is_subset(&exported), "{path}: {title}: {asked:?}");
            }
        }
    }
    let source = yaml("compose/grafana/provisioning/datasources/prometheus.yml");
    assert_eq!(source["datasources"][0]["uid"], "prometheus");
    assert_eq!(source["datasources"][0]["url"], "http://prometheus:9090");
    let provider = yaml("compose/grafana/provisioning/dashboards/dashboards.yml");
    let folder = provider["providers"][0]["options"]["path"].as_str().expect("a path");
    let mounted = services()["grafana"]["volumes"].to_string();
    assert!(mounted.contains(&format!("./grafana/dashboards:{folder}:ro")), "{mounted}");
}

#[test]
fn prometheus_itself_takes_the_settings_and_the_alerts_do_as_they_should() {
    let Some(promtool) = found("promtool") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    // The token lies elsewhere here.
    let token = folder.path().join("relay_read_token");
    fs::write(&token, "read-read-read-read").expect("written");
    let config = read("compose/prometheus/prometheus.yml");
    let config = config.replace("/run/secrets/relay_read_token", &token.display().to_string());
    fs::write(folder.path().join("prometheus.yml"), config).expect("written");
    for file in ["alerts.yml", "alerts_test.yml"] {
        fs::write(folder.path().join(file), read(&format!("compose/prometheus/{file}"))).expect("written");
    }
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = Command::new(&promtool).args(arguments).current_dir(folder.path()).output();
        assert_done(&arguments.join(" "), &output.expect("it is installed"));
    }
}

#[test]
fn prometheus_asks_services_that_are_there() {
    let (config, services) = (yaml("compose/prometheus/prometheus.yml"), services());
    for job in config["scrape_configs"].as_array().expect("jobs") {
        for place in job["static_configs"].as_array().into_iter().flatten() {
            for target in words(&place["targets"]) {
                let (host, _) = target.split_once(':').expect("a port");
                assert!(host == "localhost" || services.contains_key(host), "{target}");
            }
        }
        for name in job["dns_sd_configs"].as_array().into_iter().flatten().flat_map(|place| names(&place["names"])) {
            assert!(services.contains_key(&name), "{name}");
        }
    }
}
