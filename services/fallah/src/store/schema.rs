//! The tables, made once and brought up to date.

use sqlx::{Connection, PgConnection};

/// What made each version of the tables.
const MIGRATIONS: [&str; 2] = [
    include_str!("../../../../migrations/fallah/0001_fallah.sql"),
    include_str!("../../../../migrations/fallah/0002_watched.sql"),
];

/// The version of the tables that this program knows.
pub(crate) const VERSION: i32 = MIGRATIONS.len() as i32;

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
    format!("{}\nbegin;\n{}\n{}\ncommit;\n", outbox::migration_sql("public"), MIGRATIONS.join("\n"), marked())
}

/// The tables' version stands beside them.
fn marked() -> String {
    format!("comment on schema fallah is '{VERSION}';")
}

/// Makes the outbox's tables and Fallah's, or brings them to this version. Many may try at once.
pub async fn migrate(db: &mut PgConnection) -> Result<Before, crate::Error> {
    let outbox = outbox::migrate(db, "public").await?;
    let mut tx = db.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('fallah.migrate'))").execute(&mut *tx).await?;
    let fallah: i32 = sqlx::query_scalar("select coalesce(obj_description(to_regnamespace('fallah'))::int, 0)")
        .fetch_one(&mut *tx)
        .await?;
    if fallah > VERSION {
        return Err(crate::Error::Unusable(format!(
            "the tables are of version {fallah}, and this program knows {VERSION}: use a newer one"
        )));
    }
    for migration in MIGRATIONS.iter().skip(fallah.unsigned_abs() as usize) {
        sqlx::raw_sql(*migration).execute(&mut *tx).await?;
    }
    if fallah < VERSION {
        sqlx::raw_sql(sqlx::AssertSqlSafe(marked())).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(Before { outbox, fallah })
}
