//! The tables, made once.

use sqlx::{Connection, PgConnection};

use crate::Error;

const VERSION: i32 = 1;
const SCHEMA: &str = include_str!("../../../../migrations/hasad/0001_hasad.sql");

/// Makes Hasad's tables and its inbox, in the schema `hasad`, or brings them to this version. Many may try at once.
pub async fn migrate(db: &mut PgConnection) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('hasad.migrate'))").execute(&mut *tx).await?;
    let there: bool =
        sqlx::query_scalar("select to_regclass('hasad.version') is not null").fetch_one(&mut *tx).await?;
    if there {
        let version: i32 =
            sqlx::query_scalar("select obj_description(to_regnamespace('hasad'))::int").fetch_one(&mut *tx).await?;
        if version > VERSION {
            return Err(Error::NewerTables { is: version, known: VERSION });
        }
    } else {
        sqlx::raw_sql(SCHEMA).execute(&mut *tx).await?;
        sqlx::raw_sql("comment on schema hasad is '1'").execute(&mut *tx).await?;
    }
    tx.commit().await?;
    // Beside the rows that it guards, whatever else lies in this database.
    sqlx::query("select set_config('search_path', 'hasad', false)").execute(&mut *db).await?;
    outbox::inbox::migrate(db).await?;
    Ok(())
}
