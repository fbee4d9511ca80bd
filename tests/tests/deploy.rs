//! The files in `compose/` fit each other, our programs and their metrics. No engine of containers is needed, and none is
//! tried: what only an engine could show is said in `compose/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use outbox_tests::{Child, Redis, Signal, Stage, binary, eventually, programs_of_postgres};
use redis::RedisResult;
use serde_json::Value;

/// One server, as the project promises it.
const SERVER_BYTES_MAX: u64 = 4096 << 20;
/// What `systemd-analyze security` may say at most, in tenths: 0 is a closed box, 100 an open one.
const EXPOSURE_MAX: &str = "15";
/// What the exporter of Redis tells of a server, of that which we ask for.
const TOLD_OF_REDIS: [&str; 3] = ["redis_memory_used_bytes", "redis_memory_max_bytes", "redis_up"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    documents(path).pop().unwrap_or_else(|| panic!("{path} is empty"))
}

fn files(folder: &str, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let mut found: Vec<_> =
        names.filter(|name| name.ends_with(extension)).map(|name| format!("{folder}/{name}")).collect();
    found.sort();
    assert!(!found.is_empty(), "{folder} has no {extension}");
    found
}

fn services() -> BTreeMap<String, Value> {
    let compose = yaml("compose/compose.yaml");
    let services = compose["services"].as_object().expect("services");
    services.iter().map(|(name, service)| (name.clone(), service.clone())).collect()
}

/// The members of a list, or the names of a map; none if there is neither.
fn names(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(all) => all.iter().map(|one| one.as_str().expect("a word").to_owned()).collect(),
        Value::Object(all) => all.keys().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn bytes(limit: &str) -> u64 {
    let number = |end: &str| limit.strip_suffix(end)?.parse::<u64>().ok();
    number("m").map(|n| n << 20).or_else(|| number("g").map(|n| n << 30)).unwrap_or_else(|| panic!("{limit}"))
}

/// What ends by itself, before others begin.
fn runs_once(service: &Value) -> bool {
    service["restart"] == "on-failure"
}

/// Which of our programs a service runs, by its image.
fn program_of(image: &str) -> Option<&str> {
    image.strip_prefix("outbox-")?.split(':').next()
}

/// Whether there is such a program already; one that `services/README.md` calls to come may be missing.
fn is_built(program: &str) -> bool {
    let to_come = read("services/README.md").contains(&format!("To come: `{program}`"));
    !to_come || root().join("services").join(program).is_dir()
}

fn is_of_a_name(sign: char) -> bool {
    sign.is_ascii_uppercase() || sign.is_ascii_digit() || sign == '_'
}

/// Every variable that a verb reads, as its own `--help` says: those of secrets also as NAME_FILE.
fn variables(program: &str, verb: &str) -> BTreeSet<String> {
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

fn assert_known(given: &BTreeSet<String>, program: &str, verb: &str, place: &str) {
    let known = variables(program, verb);
    let unknown: Vec<_> = given.difference(&known).collect();
    assert!(unknown.is_empty(), "{place}: {program} {verb} does not know {unknown:?}");
}

/// A program that not every machine has.
fn found(program: &str) -> Option<PathBuf> {
    let here = std::env::current_exe().expect("this program has a path");
    let brought = here.ancestors().map(|folder| folder.join("tools/promtool/usr/bin").join(program));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join(program)).collect::<Vec<_>>();
    let found = brought.chain(installed).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("{program} is not installed, so this was not checked with it");
    }
    found
}

fn assert_done(what: &str, output: &Output) {
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{what}: {}\n{said}{complained}", output.status);
}

// --- compose.yaml

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

// --- Dockerfile

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

// --- users and their rights, as compose.yaml makes them

#[tokio::test]
async fn each_user_of_postgres_can_do_its_work_and_make_no_tables() {
    let stage = Stage::set().await;
    let folder = tempfile::tempdir().expect("a folder");
    let secret = |name: &str| folder.path().join(format!("{name}_database_url"));
    let rest = stage.database_url.split_once('@').expect("a URL with a user").1.to_owned();
    for user in ["relay", "fallah", "hasad"] {
        fs::write(secret(user), format!("postgres://{user}:pass-{user}@{rest}\n")).expect("written");
    }
    fs::write(secret("owner"), format!("postgres://postgres:unused@{rest}\n")).expect("written");

    let ours = |program: &str, user: &str, arguments: &[&str]| {
        let mut command = Command::new(binary(program));
        command.args(arguments).env_remove("DATABASE_URL").env("DATABASE_URL_FILE", secret(user));
        command.env("HASAD_STORE", format!("file://{}", folder.path().display())).output().expect("a program of ours")
    };
    let users = |names: &[&str]| {
        let path = format!("{}:{}", programs_of_postgres().display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.arg(root().join("compose/postgres/users.sh")).args(names).env("PATH", path);
        command.env("SECRETS", folder.path()).env("RIGHTS", root().join("docs/rights/postgres.sql"));
        command.env("TMPDIR", folder.path()).output().expect("a shell")
    };
    for program in ["relay", "fallah", "hasad"] {
        assert_done(program, &ours(program, "owner", &["migrate"]));
    }
    // Again and again: it is run at each start.
    for _ in 0..2 {
        assert_done("users.sh", &users(&["relay"]));
        assert_done("users.sh", &users(&["fallah", "hasad"]));
    }
    assert_eq!(users(&["stranger"]).status.code(), Some(64));

    assert_done("relay status", &ours("relay", "relay", &["status"]));
    assert_done("relay blockers", &ours("relay", "relay", &["blockers"]));
    assert_done("relay dead list", &ours("relay", "relay", &["dead", "list"]));
    // The same questions by which fallah and hasad are known to be well.
    assert_done("fallah sources", &ours("fallah", "fallah", &["sources", "--json"]));
    assert_done("hasad export-ndjson", &ours("hasad", "hasad", &["export-ndjson", "--source", "nobody"]));
    for (program, user) in [("fallah", "hasad"), ("hasad", "fallah")] {
        let asked = if program == "fallah" { vec!["sources"] } else { vec!["export-ndjson", "--source", "nobody"] };
        assert!(!ours(program, user, &asked).status.success(), "{user} reads what is {program}'s");
    }

    for user in ["relay", "fallah", "hasad"] {
        let db = sqlx::PgPool::connect(fs::read_to_string(secret(user)).expect("written").trim()).await;
        let db = db.expect("the user may connect");
        let may = async |statement: &str| sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&db).await.is_ok();
        assert!(!may("create table public.mine ()").await, "{user} makes tables");
        assert!(!may("alter table outbox set unlogged").await, "{user} changes tables");
        let produces = may("select outbox_enqueue('s', 't', '1')").await;
        assert_eq!(produces, user != "hasad", "{user}: whether it may write events");
    }
}

#[tokio::test]
async fn each_user_of_redis_can_do_its_work_and_nobody_comes_in_without_a_name() {
    // It only lends its folder and its free port.
    let lender = Redis::start().await;
    let (port, folder) = (lender.port(), tempfile::tempdir().expect("a folder"));
    lender.kill();
    for user in ["relay", "consumer"] {
        let url = format!("redis://{user}:pass-{user}@redis:6379\n");
        fs::write(folder.path().join(format!("{user}_redis_url")), url).expect("written");
    }
    let mut command = Command::new("sh");
    command.arg(root().join("compose/redis/start.sh")).args(["--maxmemory", "160mb", "--bind", "127.0.0.1"]);
    command.args(["--port", &port.to_string(), "--dir"]).arg(folder.path());
    command.env("SECRETS", folder.path()).env("RIGHTS", root().join("docs/rights/redis.acl"));
    command.env("USERS", folder.path().join("users.acl"));
    let server = Child::spawn(command);
    let _ = server.saw("Ready to accept connections").await;

    let ask = async |who: &str, words: &[&str]| -> RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://{who}127.0.0.1:{port}/"))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
    };
    let (relay, consumer, watcher) = ("relay:pass-relay@", "consumer:pass-consumer@", "watcher:none@");
    ask(relay, &["XADD", "s", "1-1", "a", "b"]).await.expect("the relay appends");
    ask(consumer, &["XGROUP", "CREATE", "s", "g", "0"]).await.expect("a consumer makes its group");
    ask(watcher, &["PING"]).await.expect("the health check");
    let memory = ask(watcher, &["INFO", "memory"]).await.expect("the exporter");
    let memory = format!("{memory:?}");
    assert!(memory.contains("maxmemory:167772160") && memory.contains("maxmemory_policy:noeviction"), "{memory}");
    let persistence = format!("{:?}", ask(watcher, &["INFO", "persistence"]).await.expect("the exporter"));
    assert!(persistence.contains("aof_enabled:1"), "{persistence}");

    for who in ["", "relay:wrong@", "consumer:@"] {
        assert!(ask(who, &["PING"]).await.is_err(), "{who:?} came in");
    }
    for (who, words) in [(watcher, ["XLEN", "s"]), (consumer, ["DEL", "s"]), (relay, ["DEL", "s"])] {
        let refused = ask(who, &words).await;
        let may = who == consumer;
        assert_eq!(refused.is_ok(), may, "{who} {words:?}: {refused:?}");
    }
    for who in [relay, consumer, watcher] {
        assert!(ask(who, &["FLUSHALL"]).await.is_err(), "{who} empties Redis");
        assert!(ask(who, &["CONFIG", "SET", "maxmemory", "0"]).await.is_err(), "{who} changes settings");
    }
    server.kill_9();
}

// --- what is watched

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

// --- systemd

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

// --- Kubernetes

/// Every container of a manifest, those that begin included.
fn containers(path: &str) -> Vec<Value> {
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
