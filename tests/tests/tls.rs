//! Over TLS to both stores, as users with passwords who may do what is documented and nothing else.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use outbox_tests::{Child, Signal, Stage, binary, eventually, rights};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sqlx::Connection;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PASSWORD: &str = "p@ss/w:rd";
/// As it stands in a URL.
const IN_URLS: &str = "p%40ss%2Fw%3Ard";

/// A certificate authority of our own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn found(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = folder.join(name);
        std::fs::write(&file, params.self_signed(&key).expect("a certificate").pem()).expect("writable");
        Self { issuer: Issuer::new(params, key), file }
    }

    /// Puts a certificate and its key where a server finds them, and only it: the key is its owner's.
    fn certify(&self, folder: &Path, names: &[&str]) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate =
            CertificateParams::new(names).expect("names").signed_by(&key, &self.issuer).expect("signed");
        let owner = std::fs::metadata(folder).expect("the server's folder");
        for (file, pem) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
            let file = folder.join(file);
            std::fs::write(&file, pem).expect("writable");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("ours");
            chown(&file, Some(owner.uid()), Some(owner.gid())).expect("allowed");
        }
    }
}

/// Both stores behind TLS, an authority that both are certified by, and another one.
struct Secured {
    stage: Stage,
    authority: Authority,
    stranger: Authority,
    tls_port: u16,
    _folder: TempDir,
}

impl Secured {
    async fn set() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (authority, stranger) =
            (Authority::found(folder.path(), "ca.pem"), Authority::found(folder.path(), "other.pem"));
        let stage = Stage::set().await;
        let tls_port = secure_redis(&stage, &authority).await;
        let secured = Self { stage, authority, stranger, tls_port, _folder: folder };
        secured.secure_postgres().await;
        secured
    }

    async fn secure_postgres(&self) {
        let stage = &self.stage;
        let data = stage.postgres.data_dir();
        self.authority.certify(&data, &["localhost", "127.0.0.1"]);
        let rules = data.join("pg_hba.conf");
        let before = std::fs::read_to_string(&rules).expect("readable");
        let ours = "hostssl all relay 127.0.0.1/32 scram-sha-256\nhostnossl all relay 127.0.0.1/32 reject\n";
        std::fs::write(&rules, format!("{ours}{before}")).expect("writable");
        stage
            .sql(&format!(
                "{}; create role relay login password '{PASSWORD}'; grant outbox_relay to relay",
                rights::postgres()
            ))
            .await;
        stage.sql("alter system set ssl = on").await;
        stage.sql("select pg_reload_conf()").await;
        eventually("Postgres to speak TLS", async || {
            self.postgres_answers(&self.postgres_url(&self.authority)).await
        })
        .await;
    }

    fn postgres_url(&self, authority: &Authority) -> String {
        let url = self.stage.database_url.replace("//postgres@", &format!("//relay:{IN_URLS}@"));
        format!("{url}?sslmode=verify-full&sslrootcert={}", authority.file.display())
    }

    fn redis_url(&self) -> String {
        format!("rediss://relay:{IN_URLS}@localhost:{}/", self.tls_port)
    }

    async fn postgres_answers(&self, url: &str) -> bool {
        sqlx::PgPool::connect(url).await.is_ok()
    }

    fn run(&self, postgres: &str, redis: &str, authority: &Authority) -> Child {
        let mut command = self.stage.command(&["run", "--sleep-after", "50ms", "--event-bytes-max", "1000"]);
        command.env("DATABASE_URL", postgres).env("REDIS_URL", redis).env("REDIS_CA_FILE", &authority.file);
        command.env("RELAY_LOG", "trace");
        Child::spawn(command)
    }
}

/// Gives the running Redis a second port, behind TLS, and a user with a password and few rights.
async fn secure_redis(stage: &Stage, authority: &Authority) -> u16 {
    let folder = stage.redis.data_dir();
    authority.certify(&folder, &["localhost", "127.0.0.1"]);
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let file = |name: &str| folder.join(name).display().to_string();
    for (setting, value) in [
        ("tls-cert-file", file("server.crt")),
        ("tls-key-file", file("server.key")),
        ("tls-auth-clients", "no".to_owned()),
        ("tls-port", port.to_string()),
    ] {
        stage.redis.command(&["CONFIG", "SET", setting, &value]).await;
    }
    let password = format!(">{PASSWORD}");
    let user = ["ACL", "SETUSER", "relay", "reset", "on", &password, "~orders", "~orders:*"];
    let may = rights::redis("relay");
    stage.redis.command(&user.into_iter().chain(may.iter().map(String::as_str)).collect::<Vec<_>>()).await;
    port
}

/// Stands before a server, and keeps what each client sends to it.
struct Wiretap {
    port: u16,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Wiretap {
    async fn before(server: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let heard = Arc::new(Mutex::new(vec![]));
        let kept = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("the server is there");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let kept = Arc::clone(&kept);
                let nth = {
                    let mut kept = kept.lock().expect("nobody panics with it in hand");
                    kept.push(vec![]);
                    kept.len() - 1
                };
                tokio::spawn(async move {
                    let mut bytes = [0; 4_096];
                    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                        kept.lock().expect("nobody panics with it in hand")[nth].extend(&bytes[..count]);
                        if to_server.write_all(&bytes[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { port, heard }
    }

    /// What clients have sent, as records of TLS: their kind, length and first byte. Postgres is asked whether it speaks TLS before.
    fn records(&self) -> Vec<Vec<(u8, usize, u8)>> {
        let heard = self.heard.lock().expect("nobody panics with it in hand");
        let of_one = |bytes: &Vec<u8>| {
            let asks_for_tls = [0, 0, 0, 8, 4, 210, 22, 47];
            let mut rest = bytes.strip_prefix(&asks_for_tls).unwrap_or(bytes);
            let mut records = vec![];
            while let [kind, _, _, high, low, following @ ..] = rest {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                records.push((*kind, length, following.first().copied().unwrap_or_default()));
                rest = following.get(length..).unwrap_or_default();
            }
            records
        };
        heard.iter().map(of_one).filter(|records| !records.is_empty()).collect()
    }

    /// Somebody came, greeted, and left at the sight of the certificate: whoever stays sends more to end the handshake. A server may
    /// ask for a second greeting, with a key of the kind that it likes.
    fn assert_nothing_was_said(&self, who: &str) {
        const HANDSHAKE: u8 = 22;
        const GREETING: u8 = 1;
        const APPLICATION: u8 = 23;
        const ALERT_BYTES_MAX: usize = 32;
        let all = self.records();
        assert!(!all.is_empty(), "{who} came");
        for records in all {
            let greeted = records.iter().all(|(kind, _, first)| *kind != HANDSHAKE || *first == GREETING);
            let said = records.iter().any(|(kind, length, _)| *kind == APPLICATION && *length > ALERT_BYTES_MAX);
            let known = records.iter().all(|(kind, ..)| (20..=23).contains(kind));
            assert!(greeted && known && !said, "{who} sent {records:?}");
        }
    }
}

fn assert_nothing_secret(log: &str) {
    for secret in [PASSWORD, IN_URLS, "relay:p", "rediss://", "postgres://"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[tokio::test]
async fn both_stores_are_reached_over_tls_with_passwords() {
    let secured = Secured::set().await;
    let stage = &secured.stage;
    let mut relay = secured.run(&secured.postgres_url(&secured.authority), &secured.redis_url(), &secured.authority);
    stage.enqueue("orders", "a").await;
    eventually("the first entry", async || stage.length("orders").await == 1).await;
    let encrypted: bool = stage
        .ask(
            "select bool_and(s.ssl) from pg_stat_ssl s join pg_stat_activity a using (pid) where a.usename = 'relay'",
        )
        .await;
    assert!(encrypted);

    // The line on which it hears the bell is one more, and a notice one more right.
    let asleep = "select last_value > extract(epoch from now()) from outbox_doorbell";
    eventually("it to sleep", async || stage.ask::<bool>(asleep).await).await;
    stage.sql("select outbox_enqueue('orders', 't', to_json(repeat('x', 2000)), id => 'large')").await;
    stage.enqueue("orders", "b").await;
    eventually("the second entry", async || stage.length("orders").await == 2).await;
    eventually("the notice", async || stage.length("orders:dead").await == 1).await;
    stage.redis.command(&["XGROUP", "CREATE", "orders", "readers", "0"]).await;
    eventually("the group to be known", async || stage.ask::<bool>("select exists (select from outbox_group)").await)
        .await;
    stage.redis.command(&["DEL", "orders"]).await;
    eventually("the rebuild", async || stage.length("orders").await == 2).await;
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0, "{}", relay.log());
    assert!(!relay.log().contains("NOPERM"), "{}", relay.log());
    assert_nothing_secret(&relay.log());
}

#[tokio::test]
async fn a_postgres_that_a_stranger_vouches_for_is_sent_nothing() {
    let secured = Secured::set().await;
    let port = secured.stage.postgres.port();
    let tap = Wiretap::before(port).await;
    let url = secured.postgres_url(&secured.stranger).replace(&format!(":{port}/"), &format!(":{}/", tap.port));
    let mut status = secured.stage.command(&["status"]);
    status.env("DATABASE_URL", &url);
    // Not in this thread, which has to listen meanwhile.
    let output = tokio::process::Command::from(status).output().await.expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.lines().count() == 1 && said.contains("certificate"), "{said}");
    assert_nothing_secret(&said);

    let mut relay = secured.run(&url, &secured.redis_url(), &secured.authority);
    relay.saw("Postgres is away").await;
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0);
    assert_nothing_secret(&relay.log());
    tap.assert_nothing_was_said("the relay");
    // The one whom it may trust, but under a name that is not its own.
    secured.authority.certify(&secured.stage.postgres.data_dir(), &["elsewhere.example"]);
    secured.stage.sql("select pg_reload_conf()").await;
    let url = secured.postgres_url(&secured.authority);
    eventually("the other name to be refused", async || !secured.postgres_answers(&url).await).await;
    let by_authority_alone = url.replace("verify-full", "verify-ca");
    assert!(secured.postgres_answers(&by_authority_alone).await);
}

#[tokio::test]
async fn a_redis_that_a_stranger_vouches_for_is_sent_nothing() {
    let secured = Secured::set().await;
    secured.stage.enqueue("orders", "a").await;
    let postgres = secured.postgres_url(&secured.authority);
    let tap = Wiretap::before(secured.tls_port).await;
    let url = secured.redis_url().replace(&format!(":{}/", secured.tls_port), &format!(":{}/", tap.port));
    let mut relay = secured.run(&postgres, &url, &secured.stranger);
    let said = relay.saw("Redis is away").await;
    assert!(said.to_lowercase().contains("certificate") || said.contains("UnknownIssuer"), "{said}");
    assert_eq!(secured.stage.length("orders").await, 0);
    assert_eq!(secured.stage.ask::<i64>("select max(attempts)::bigint from outbox").await, 0);
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0);
    assert_nothing_secret(&relay.log());
    tap.assert_nothing_was_said("the relay");
    // The tap can tell the difference.
    let tapped = Wiretap::before(secured.tls_port).await;
    let url = secured.redis_url().replace(&format!(":{}/", secured.tls_port), &format!(":{}/", tapped.port));
    let mut trusted = secured.run(&postgres, &url, &secured.authority);
    eventually("the entry", async || secured.stage.length("orders").await == 1).await;
    trusted.signal(Signal::Term);
    assert_eq!(trusted.wait().await, 0);
    assert!(tapped.records().iter().flatten().any(|(kind, length, _)| *kind == 23 && *length > 32));
}

/// Nobody of this machine's authorities knows who certified that server; which of them it plays makes no difference.
#[tokio::test]
async fn whoever_a_stranger_vouches_for_is_sent_nothing_over_http_either() {
    let secured = Secured::set().await;
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |said: &str| {
        let said = said.to_lowercase();
        said.contains("certificate") || said.contains("unknownissuer")
    };
    let program = |name: &str, verb: &[&str]| {
        let mut command = std::process::Command::new(binary(name));
        command
            .args(verb)
            .env("DATABASE_URL", &secured.stage.database_url)
            .env("REDIS_URL", secured.stage.redis.url());
        command.env("BISAN_DATABASE", folder.path().join("bisan.sqlite")).env("BISAN_LISTEN", "127.0.0.1:0");
        command
    };
    let mut db = sqlx::PgConnection::connect(&secured.stage.database_url).await.expect("Postgres is there");
    hasad::migrate(&mut db).await.expect("a fresh database can be migrated");

    let tap = Wiretap::before(secured.tls_port).await;
    let mut archive = program("hasad", &["gc", "--dry-run"]);
    archive.env("HASAD_STORE", "s3://archive").env("AWS_ENDPOINT_URL", format!("https://localhost:{}", tap.port));
    archive.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
    let said = tokio::process::Command::from(archive).output().await.expect("it runs");
    assert_eq!(said.status.code(), Some(1));
    println!("{}", String::from_utf8_lossy(&said.stderr));
    tap.assert_nothing_was_said("the archive");

    let tap = Wiretap::before(secured.tls_port).await;
    let mut readers = program("bisan", &["run"]);
    readers.env("MEILI_URL", format!("https://localhost:{}", tap.port)).env("MEILI_KEY", "a-key-of-its-own");
    let mut readers = Child::spawn(readers);
    eventually("the search server to be refused", async || refused(&readers.log())).await;
    readers.signal(Signal::Term);
    readers.wait().await;
    tap.assert_nothing_was_said("the readers' side");

    let tap = Wiretap::before(secured.tls_port).await;
    let page = format!("https://localhost:{}/a", tap.port);
    let mut scraper = program("fallah", &["test-source", &page, "--allow-net", "127.0.0.0/8"]);
    scraper.env_remove("DATABASE_URL").current_dir(folder.path());
    let said = tokio::process::Command::from(scraper).output().await.expect("it runs");
    assert!(refused(&String::from_utf8_lossy(&said.stderr)), "{said:?}");
    tap.assert_nothing_was_said("the scraper");

    let tap = Wiretap::before(secured.tls_port).await;
    let mut relay = secured.stage.command(&["run"]);
    relay.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{}", tap.port));
    let mut relay = Child::spawn(relay);
    let traced = r#"{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#;
    secured.stage.sql(&format!("select outbox_enqueue('orders', 't', '1', headers => '{traced}')")).await;
    let said = relay.saw("the collector does not take traces").await;
    assert!(refused(&said), "{said}");
    relay.signal(Signal::Term);
    relay.wait().await;
    tap.assert_nothing_was_said("the relay");
}

/// The reader of a stream that has the least settings: its Redis and its own store.
fn reader(secured: &Secured, name: &str, folder: &Path, authority: &Authority) -> Child {
    let mut command = std::process::Command::new(binary(name));
    command.arg("run").env("DATABASE_URL", &secured.stage.database_url).env("REDIS_CA_FILE", &authority.file);
    // As the consumers' rights have it, by a user who may do all: this is about the way.
    command.env("REDIS_URL", format!("rediss://localhost:{}/", secured.tls_port));
    command.env("HASAD_STORE", format!("file://{}", folder.join("objects").display()));
    command.env("BISAN_DATABASE", folder.join("bisan.sqlite")).env("BISAN_LISTEN", "127.0.0.1:0");
    Child::spawn(command)
}

#[tokio::test]
async fn archive_and_readers_side_have_the_same_settings_for_a_redis_behind_tls() {
    let secured = Secured::set().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut db = sqlx::PgConnection::connect(&secured.stage.database_url).await.expect("Postgres is there");
    hasad::migrate(&mut db).await.expect("a fresh database can be migrated");
    secured.stage.redis.command(&["XGROUP", "CREATE", contract::STREAM, "others", "0", "MKSTREAM"]).await;
    for (name, group) in [("hasad", contract::HASAD), ("bisan", contract::BISAN)] {
        let mut stranger = reader(&secured, name, folder.path(), &secured.stranger);
        let said = stranger.saw("Redis is away").await;
        assert!(said.to_lowercase().contains("certificate") || said.contains("UnknownIssuer"), "{name}: {said}");
        stranger.signal(Signal::Term);
        assert_eq!(stranger.wait().await, 0, "{name}");

        let mut trusted = reader(&secured, name, folder.path(), &secured.authority);
        eventually(&format!("{group} to be there"), async || {
            let groups = secured.stage.redis.command(&["XINFO", "GROUPS", contract::STREAM]).await;
            format!("{groups:?}").contains(group)
        })
        .await;
        trusted.signal(Signal::Term);
        assert_eq!(trusted.wait().await, 0, "{name}");
        assert!(!trusted.log().contains("Redis is away"), "{}", trusted.log());
    }
}
