//! The tables, made once.

use sqlx::{Connection, PgConnection};

/// The version of the tables that this program knows.
pub(crate) const VERSION: i32 = 1;
const SCHEMA: &str = include_str!("../../../../migrations/fallah/0001_fallah.sql");

/// The versions that were there before; 0: no tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// The outbox's.
    pub outbox: i32,
    /// Fallah's.
    pub fallah: i32,
}

/// The SQL of fresh tables.
pub(crate) fn migration_sql() -> String {
    format!("{}\n{SCHEMA}\ncomment on schema fallah is '{VERSION}';\n", outbox::migration_sql("public"))
}

/// Makes the outbox's tables and Fallah's, or brings them to this version. Many may try at once.
pub async fn migrate(db: &mut PgConnection) -> Result<Before, crate::Error> {
    let outbox = outbox::migrate(db, "public").await?;
    let mut tx = db.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('fallah.migrate'))").execute(&mut *tx).await?;
    let there: bool =
        sqlx::query_scalar("select to_regclass('fallah.source') is not null").fetch_one(&mut *tx).await?;
    if there {
        let version: i32 =
            sqlx::query_scalar("select obj_description(to_regnamespace('fallah'))::int").fetch_one(&mut *tx).await?;
        if version > VERSION {
            return Err(crate::Error::Unusable(format!(
                "the tables are of version {version}, and this program knows {VERSION}: use a newer one"
            )));
        }
        return Ok(Before { outbox, fallah: version });
    }
    sqlx::raw_sql(SCHEMA).execute(&mut *tx).await?;
    sqlx::raw_sql("comment on schema fallah is '1'").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Before { outbox, fallah: 0 })
}
