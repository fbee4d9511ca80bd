//! The units of systemd and the manifests of Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use outbox_tests::binary;
use serde_json::Value;

use crate::deploy::{assert_done, assert_known, documents, files, found, names, program_of, read, words};

/// What `systemd-analyze security` may say at most, in tenths: 0 is a closed box, 100 an open one.
const EXPOSURE_MAX: &str = "15";

#[test]
fn units_are_closed_and_their_settings_are_known() {
    let units = files("compose/systemd", ".service");
    let programs: Vec<_> = units.iter().filter_map(|path| Path::new(path).file_stem()?.to_str()).collect();
    assert_eq!(programs, ["bisan", "fallah", "hasad", "relay"]);
    let folder = tempfile::tempdir().expect("a folder");
    for program in programs {
        let settings = read(&format!("compose/systemd/{program}.env"));
        let lines = settings.lines().filter(|line| !line.starts_with('#'));
        let given: BTreeSet<_> = lines.filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
        assert!(!given.is_empty());
        assert_known(&given, program, "run", &format!("{program}.env"));

        let unit = read(&format!("compose/systemd/{program}.service"));
        for line in [
            "DynamicUser=yes".to_owned(),
            "NoNewPrivileges=yes".to_owned(),
            "ProtectSystem=strict".to_owned(),
            "Restart=always".to_owned(),
            format!("EnvironmentFile=/etc/outbox/{program}.env"),
            format!("ExecStart=/usr/local/bin/{program} run"),
        ] {
            assert!(unit.lines().any(|found| found == line), "{program}.service has no {line}");
        }
        let Some(analyze) = found("systemd-analyze") else { continue };
        // The program lies elsewhere here.
        let there = binary(program).display().to_string();
        let here = folder.path().join(format!("{program}.service"));
        fs::write(&here, unit.replace(&format!("/usr/local/bin/{program}"), &there)).expect("written");
        assert_done("verify", &Command::new(&analyze).arg("verify").arg(&here).output().expect("installed"));
        let exposure = Command::new(&analyze)
            .args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX])
            .arg(&here)
            .output();
        let exposure = exposure.expect("installed");
        // Older ones cannot do this without a running systemd.
        if !String::from_utf8_lossy(&exposure.stderr).contains("unrecognized option") {
            assert_done("security", &exposure);
        }
    }
}

/// Every container of a manifest, those that begin included.
pub(crate) fn containers(path: &str) -> Vec<Value> {
    let all = documents(path);
    let pods = all.iter().map(|document| &document["spec"]["template"]["spec"]);
    let lists = pods.flat_map(|pod| [&pod["initContainers"], &pod["containers"]]);
    lists.flat_map(|list| list.as_array().cloned().unwrap_or_default()).collect()
}

#[test]
fn manifests_have_probes_limits_and_only_secrets_that_are_there() {
    let secrets = documents("compose/kubernetes/secrets.yaml");
    let secrets: BTreeMap<_, _> = secrets
        .iter()
        .map(|secret| (secret["metadata"]["name"].as_str().expect("a name"), names(&secret["stringData"])))
        .collect();
    for path in files("compose/kubernetes", ".yaml").iter().filter(|path| !path.ends_with("/secrets.yaml")) {
        for document in documents(path) {
            assert!(document["apiVersion"].is_string() && document["kind"].is_string(), "{path}");
            assert!(document["metadata"]["name"].is_string(), "{path}");
            let pod = &document["spec"]["template"]["spec"];
            if pod.is_object() {
                assert_eq!(
                    document["spec"]["selector"]["matchLabels"],
                    document["spec"]["template"]["metadata"]["labels"]
                );
                assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{path}");
                let named = pod["volumes"][0]["secret"]["secretName"].as_str().expect("a secret");
                assert!(secrets.contains_key(named), "{path}: {named}");
            }
        }
        let containers = containers(path);
        assert!(!containers.is_empty(), "{path}");
        for container in containers {
            let name = container["name"].as_str().expect("a name");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{path}: {name}");
            assert!(container["resources"]["requests"]["cpu"].is_string(), "{path}: {name}");
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{path}: {name}");
            let given = container["env"].as_array().expect("variables").iter();
            let verb = words(&container["args"]).first().copied().unwrap_or("run").to_owned();
            let values = given.clone().filter_map(|variable| variable["value"].as_str());
            for (secret, file) in values.filter_map(|value| value.strip_prefix("/run/secrets/")?.split_once('/')) {
                assert!(secrets[secret].contains(file), "{path}: {name}: {secret}/{file}");
            }
            let variables = given.map(|variable| variable["name"].as_str().expect("a name").to_owned()).collect();
            if let Some(program) = program_of(container["image"].as_str().expect("an image")) {
                assert_known(&variables, program, &verb, path);
            }
            if program_of(container["image"].as_str().expect("an image")).is_some() && verb == "run" {
                for probe in ["livenessProbe", "startupProbe"] {
                    assert_eq!(container[probe]["httpGet"]["path"], "/live", "{path}");
                    assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"], "{path}");
                }
            }
        }
    }
}
