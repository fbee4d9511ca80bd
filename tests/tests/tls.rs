//! Over TLS to both stores, as users with passwords who may do what is documented and nothing else.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use outbox_tests::{Child, Signal, Stage, binary, eventually};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sqlx::Connection;
use tempfile::TempDir;

const PASSWORD: &str = "p@ss/w:rd";
/// As it stands in a URL.
const IN_URLS: &str = "p%40ss%2Fw%3Ard";

/// What `docs/operations.md` gives the relay in Redis.
const REDIS_RIGHTS: [&str; 24] = [
    "+eval",
    "+xrevrange",
    "+xtrim",
    "+xdel",
    "+expire",
    "+persist",
    "+hset",
    "+hgetall",
    "+info",
    "+multi",
    "+exec",
    "+watch",
    "+unwatch",
    "+xadd",
    "+xinfo",
    "+xgroup",
    "+xrange",
    "+xlen",
    "+xpending",
    "+xsetid",
    "+hello",
    "+client",
    "+select",
    "+ping",
];

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
                "create role relay login password '{PASSWORD}';
                 grant usage on schema public to relay;
                 grant select, insert, update, delete on all tables in schema public to relay;
                 grant select, update on all sequences in schema public to relay"
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
    stage.redis.command(&[&user[..], &REDIS_RIGHTS].concat()).await;
    port
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
async fn a_postgres_that_a_stranger_vouches_for_is_refused() {
    let secured = Secured::set().await;
    let url = secured.postgres_url(&secured.stranger);
    let output = secured.stage.command(&["status"]).env("DATABASE_URL", &url).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.lines().count() == 1 && said.contains("certificate"), "{said}");
    assert_nothing_secret(&said);

    let mut relay = secured.run(&url, &secured.redis_url(), &secured.authority);
    relay.saw("Postgres is away").await;
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0);
    assert_nothing_secret(&relay.log());
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
    let mut relay = secured.run(&postgres, &secured.redis_url(), &secured.stranger);
    let said = relay.saw("Redis is away").await;
    assert!(said.to_lowercase().contains("certificate") || said.contains("UnknownIssuer"), "{said}");
    assert_eq!(secured.stage.length("orders").await, 0);
    assert_eq!(secured.stage.ask::<i64>("select max(attempts)::bigint from outbox").await, 0);
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0);
    assert_nothing_secret(&relay.log());
    let mut trusted = secured.run(&postgres, &secured.redis_url(), &secured.authority);
    eventually("the entry", async || secured.stage.length("orders").await == 1).await;
    trusted.signal(Signal::Term);
    assert_eq!(trusted.wait().await, 0);
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
