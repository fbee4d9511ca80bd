//! Published events that one group is given again.

use sqlx::{Connection, PgConnection};

use super::Result;
use crate::Seq;

/// Which rows of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Rows<'a> {
    pub(crate) stream: &'a str,
    pub(crate) above: Seq,
    pub(crate) upto: Seq,
    /// Written between these times, if they are given; as text.
    pub(crate) since: Option<&'a str>,
    pub(crate) until: Option<&'a str>,
}

/// Up to which number a stream was sent; none: there is no such stream, or the group does not read it.
pub(crate) async fn sent_to(db: &mut PgConnection, stream: &str, group: &str) -> Result<Option<Seq>> {
    sqlx::query_scalar(
        "select s.sent_seq from outbox_stream s join outbox_group g on g.stream = s.stream where s.stream = $1 and g.name = $2",
    )
    .bind(stream)
    .bind(group)
    .fetch_optional(db)
    .await
}

/// How many rows that are.
pub(crate) async fn count(db: &mut PgConnection, rows: &Rows<'_>) -> Result<i64> {
    sqlx::query_scalar(
        "select count(*) from outbox
          where stream = $1 and seq > $2 and seq <= $3 and due_at is null
            and ($4::text is null or created_at >= $4::timestamptz) and ($5::text is null or created_at <= $5::timestamptz)",
    )
    .bind(rows.stream)
    .bind(rows.above)
    .bind(rows.upto)
    .bind(rows.since)
    .bind(rows.until)
    .fetch_one(db)
    .await
}

/// The next of these rows become rows of their own on the lane that only this group reads, each under a new id: to an inbox
/// they are new. Returns how many, and the number of the last one.
pub(crate) async fn replay(
    db: &mut PgConnection,
    rows: &Rows<'_>,
    group: &str,
    rows_max: i64,
) -> Result<(i64, Option<Seq>)> {
    let mut tx = db.begin().await?;
    let replayed = sqlx::query_as(
        "with event as (
             select o.*, outbox_new_id() as new_id, (select generation from outbox_stream where stream = $1) as generation
               from outbox o
              where stream = $1 and seq > $2 and seq <= $3 and due_at is null
                and ($4::text is null or created_at >= $4::timestamptz) and ($5::text is null or created_at <= $5::timestamptz)
              order by seq
              limit $7
         ), row as (
             insert into outbox (stream, type, key, id, ver, payload, headers)
             select stream || ':' || $6 || ':replay', type, key, new_id, ver, payload,
                    headers || jsonb_build_object('replay-of', id, 'outbox-id', new_id, 'outbox-replays', '1',
                          'outbox-entry', generation || '-' || seq,
                          'outbox-time', to_char(created_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))
               from event order by seq
         )
         select count(*), max(seq) from event",
    )
    .bind(rows.stream)
    .bind(rows.above)
    .bind(rows.upto)
    .bind(rows.since)
    .bind(rows.until)
    .bind(group)
    .bind(rows_max)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(replayed)
}
