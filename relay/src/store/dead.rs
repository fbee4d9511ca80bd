//! Dead letters: rows set aside for a person.

use serde::Serialize;
use sqlx::{FromRow, PgConnection};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Which dead letters are meant. Without any field: all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) ids: Vec<String>,
    pub(crate) stream: Option<String>,
    pub(crate) r#type: Option<String>,
}

/// A dead letter.
#[derive(Debug, Serialize, FromRow)]
pub(crate) struct DeadLetter {
    pub(crate) id: String,
    pub(crate) stream: String,
    pub(crate) seq: i64,
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub(crate) r#type: String,
    pub(crate) key: Option<String>,
    pub(crate) ver: i32,
    pub(crate) attempts: i32,
    pub(crate) last_error: String,
    pub(crate) created_at: String,
    pub(crate) dead_at: String,
    /// Only when one is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) headers: Option<String>,
}

/// The newest dead letters first. `payloads`: with their payloads and headers.
pub(crate) async fn list(
    db: &mut PgConnection,
    filter: &Filter,
    rows_max: i64,
    payloads: bool,
) -> Result<Vec<DeadLetter>> {
    sqlx::query_as(
        "select id, stream, seq, type, key, ver, attempts, last_error,
                to_char(created_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') as created_at,
                to_char(dead_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') as dead_at,
                case when $5 then payload::text end as payload, case when $5 then headers::text end as headers
           from outbox
          where due_at = 'infinity' and ($1 = '{}' or id = any($1))
            and ($2::text is null or stream = $2) and ($3::text is null or type = $3)
          order by dead_at desc, seq desc
          limit $4",
    )
    .bind(&filter.ids)
    .bind(&filter.stream)
    .bind(&filter.r#type)
    .bind(rows_max)
    .bind(payloads)
    .fetch_all(db)
    .await
}

pub(crate) async fn count(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    sqlx::query_scalar(
        "select count(*) from outbox
          where due_at = 'infinity' and ($1 = '{}' or id = any($1))
            and ($2::text is null or stream = $2) and ($3::text is null or type = $3)",
    )
    .bind(&filter.ids)
    .bind(&filter.stream)
    .bind(&filter.r#type)
    .fetch_one(db)
    .await
}

/// Makes dead letters due now, all at the same time so that they keep their order, and with fresh attempts: the relay
/// gives each a new number and sends it. A relay that sleeps
/// is woken.
pub(crate) async fn replay(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    sqlx::query_scalar(
        "with replayed as (
             update outbox set dead_at = null, due_at = now(), attempts = 0
              where due_at = 'infinity' and ($1 = '{}' or id = any($1))
                and ($2::text is null or stream = $2) and ($3::text is null or type = $3)
             returning 1
         ), rung as (
             select pg_notify('outbox', current_schema()) from (select from replayed limit 1) as any_at_all
         )
         select count(*) from replayed where (select count(*) from rung) >= 0",
    )
    .bind(&filter.ids)
    .bind(&filter.stream)
    .bind(&filter.r#type)
    .fetch_one(db)
    .await
}

/// Forgets dead letters for good.
pub(crate) async fn drop(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    let done = sqlx::query(
        "delete from outbox
          where due_at = 'infinity' and ($1 = '{}' or id = any($1))
            and ($2::text is null or stream = $2) and ($3::text is null or type = $3)",
    )
    .bind(&filter.ids)
    .bind(&filter.stream)
    .bind(&filter.r#type)
    .execute(db)
    .await?;
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}
