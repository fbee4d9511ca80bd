//! What no waiting will mend: Postgres too old, tables missing or of another version, rights missing, numbers handed out in
//! advance.

use sqlx::PgConnection;

use crate::Error;

/// For a relay: the tables, and every right that it needs. One sentence names what is wrong.
pub(crate) async fn check(db: &mut PgConnection, schema: &str) -> Result<(), Error> {
    presence(db, schema).await?;
    rights(db).await?;
    version(db).await
}

/// For who only looks: the tables are there, and of our version.
pub(crate) async fn tables(db: &mut PgConnection, schema: &str) -> Result<(), Error> {
    presence(db, schema).await?;
    version(db).await
}

async fn presence(db: &mut PgConnection, schema: &str) -> Result<(), Error> {
    let unusable = |sentence: String| Err(Error::Unusable(sentence));
    let version: String = sqlx::query_scalar("show server_version").fetch_one(&mut *db).await?;
    let major = version.split(['.', ' ']).next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < 15) {
        return unusable(format!("Postgres {version} is too old: 15 or newer is needed"));
    }
    let encoding: String = sqlx::query_scalar("show server_encoding").fetch_one(&mut *db).await?;
    if encoding == "SQL_ASCII" {
        return unusable(
            "the database's encoding is SQL_ASCII, which lets through text that nobody can read: use UTF8".to_owned(),
        );
    }
    let replica: bool = sqlx::query_scalar("select pg_is_in_recovery()").fetch_one(&mut *db).await?;
    if replica {
        return Err(sqlx::Error::Protocol("this server is a read-only standby".into()).into());
    }
    let usable: Option<bool> =
        sqlx::query_scalar("select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = $1")
            .bind(schema)
            .fetch_optional(&mut *db)
            .await?;
    if usable == Some(false) {
        return unusable(format!("this Postgres user lacks rights: usage on schema {schema}"));
    }
    let there: bool =
        sqlx::query_scalar("select to_regclass('outbox_schema') is not null").fetch_one(&mut *db).await?;
    if !there {
        return unusable(format!("the schema {schema:?} holds no outbox: run `relay migrate` first"));
    }
    let lost: Vec<String> = sqlx::query_scalar(
        "select name from unnest(array['outbox', 'outbox_stream', 'outbox_receipt', 'outbox_group', 'outbox_overtaken',
                                       'outbox_relay', 'outbox_dead_letter', 'outbox_consumer', 'outbox_stream_names', 'outbox_seq_seq', 'outbox_doorbell']) as name
          where to_regclass(name) is null",
    )
    .fetch_all(&mut *db)
    .await?;
    if !lost.is_empty() {
        return unusable(format!(
            "the schema {schema:?} has lost {}: restore them, or start afresh",
            lost.join(", ")
        ));
    }
    Ok(())
}

async fn version(db: &mut PgConnection) -> Result<(), Error> {
    let unusable = |sentence: String| Err(Error::Unusable(sentence));
    let (found, cache): (i32, i64) = sqlx::query_as(
        "select (select coalesce(max(version), 0) from outbox_schema),
                (select seqcache from pg_sequence where seqrelid = 'outbox_seq_seq'::regclass)",
    )
    .fetch_one(&mut *db)
    .await?;
    let known = outbox::SCHEMA_VERSION;
    if found > known {
        return unusable(format!(
            "the outbox schema has version {found}, this relay knows {known}: upgrade the relay"
        ));
    }
    if found < known {
        return unusable(format!(
            "the outbox schema has version {found}, this relay needs {known}: run `relay migrate`"
        ));
    }
    let unlogged: bool =
        sqlx::query_scalar("select relpersistence <> 'p' from pg_class where oid = 'outbox'::regclass")
            .fetch_one(&mut *db)
            .await?;
    if unlogged {
        return unusable(
            "the table outbox is unlogged, so a crash empties it: alter table outbox set logged".to_owned(),
        );
    }
    if cache != 1 {
        return unusable(format!(
            "the sequence outbox_seq_seq hands out {cache} numbers in advance, so they do not rise in the order they are \
             taken and events could be lost: alter sequence outbox_seq_seq cache 1"
        ));
    }
    Ok(())
}

async fn rights(db: &mut PgConnection) -> Result<(), Error> {
    let missing: Vec<String> = sqlx::query_scalar(
        "select format('%s on %s', wanted.privilege, wanted.name)
           from (values ('select', 'outbox_schema'), ('select', 'outbox'), ('update', 'outbox'), ('delete', 'outbox'),
                        ('select', 'outbox_stream'), ('insert', 'outbox_stream'), ('update', 'outbox_stream'),
                        ('select', 'outbox_receipt'), ('insert', 'outbox_receipt'), ('update', 'outbox_receipt'),
                        ('delete', 'outbox_receipt'), ('select', 'outbox_group'), ('insert', 'outbox_group'),
                        ('update', 'outbox_group'), ('delete', 'outbox_group'), ('select', 'outbox_overtaken'), ('insert', 'outbox_overtaken'),
                        ('update', 'outbox_overtaken'), ('delete', 'outbox_overtaken'), ('select', 'outbox_relay'),
                        ('update', 'outbox_relay'), ('select', 'outbox_dead_letter'), ('insert', 'outbox_dead_letter'),
                        ('delete', 'outbox_dead_letter'), ('select', 'outbox_consumer'), ('insert', 'outbox_consumer'),
                        ('update', 'outbox_consumer'), ('delete', 'outbox_consumer'), ('select', 'outbox_stream_names'), ('select', 'outbox_seq_seq'),
                        ('update', 'outbox_doorbell')) as wanted (privilege, name)
          where not has_table_privilege(wanted.name, wanted.privilege)
         union all
         select 'execute on ' || name from unnest(array['outbox_newest()', 'outbox_mark()', 'outbox_release(text[],bigint[])']) as name
          where not has_function_privilege(name, 'execute')",
    )
    .fetch_all(&mut *db)
    .await?;
    if !missing.is_empty() {
        return Err(Error::Unusable(format!("the relay's Postgres user lacks rights: {}", missing.join(", "))));
    }
    Ok(())
}
