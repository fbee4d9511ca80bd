//! The tables, embedded: the same files that lie in `migrations/outbox`.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{Error, Result};

const MIGRATIONS: [&str; 6] = [
    include_str!("../migrations/0001_outbox.sql"),
    include_str!("../migrations/0002_relay.sql"),
    include_str!("../migrations/0003_views.sql"),
    include_str!("../migrations/0004_groups.sql"),
    include_str!("../migrations/0005_pause.sql"),
    include_str!("../migrations/0006_newest.sql"),
];

/// The newest version of the schema that this crate knows.
pub const SCHEMA_VERSION: i32 = MIGRATIONS.len() as i32;

/// One lock for everyone who migrates; the number says nothing.
const LOCK: i64 = 6_873_522_870_211_842_107;

const VERSION_TABLE: &str = "create table outbox_schema (
    version    integer     primary key,
    applied_at timestamptz not null default now()
);";

/// Brings the outbox's tables in `schema` (usually `public`) to the newest version, in one transaction. Returns the
/// version that was there before: 0 on a fresh database, [`SCHEMA_VERSION`] when there was nothing to do.
///
/// Safe to call from many processes at once. A schema made by a newer crate is [`Error::SchemaTooNew`].
pub async fn migrate(db: &mut PgConnection, schema: &str) -> Result<i32> {
    migrate_to(db, schema, SCHEMA_VERSION).await
}

async fn migrate_to(db: &mut PgConnection, schema: &str, target: i32) -> Result<i32> {
    // Read committed, whatever the default is: what others migrated while we waited for the lock must be seen.
    let mut tx = db.begin_with("begin isolation level read committed").await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;

    let there: bool = sqlx::query_scalar("select exists (select from pg_namespace where nspname = $1)")
        .bind(schema)
        .fetch_one(&mut *tx)
        .await?;
    if !there {
        sqlx::raw_sql(AssertSqlSafe(format!("create schema {}", quoted(schema)))).execute(&mut *tx).await?;
    }
    sqlx::raw_sql(AssertSqlSafe(enter(schema))).execute(&mut *tx).await?;

    let versioned: bool =
        sqlx::query_scalar("select to_regclass('outbox_schema') is not null").fetch_one(&mut *tx).await?;
    if !versioned {
        sqlx::raw_sql(VERSION_TABLE).execute(&mut *tx).await?;
    }
    let found: i32 =
        sqlx::query_scalar("select coalesce(max(version), 0) from outbox_schema").fetch_one(&mut *tx).await?;
    if found > SCHEMA_VERSION {
        return Err(Error::SchemaTooNew { found, known: SCHEMA_VERSION });
    }
    for (version, sql) in (1..=target).zip(MIGRATIONS).skip(found as usize) {
        sqlx::raw_sql(sql).execute(&mut *tx).await?;
        sqlx::query("insert into outbox_schema (version) values ($1)").bind(version).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(found)
}

/// Everything that [`migrate`] would run on a fresh database, as one script for people who run their own migrations.
pub fn migration_sql(schema: &str) -> String {
    let mut script = format!(
        "begin isolation level read committed;\ncreate schema if not exists {};\n{}\n{VERSION_TABLE}\n",
        quoted(schema),
        enter(schema)
    );
    for (version, sql) in (1..).zip(MIGRATIONS) {
        script.push_str(&format!("\n{sql}\ninsert into outbox_schema (version) values ({version});\n"));
    }
    script.push_str("commit;\n");
    script
}

/// Names in the migrations are bare, so that they can live in any schema.
fn enter(schema: &str) -> String {
    format!("set local search_path to {};", quoted(schema))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
