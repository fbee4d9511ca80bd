//! What rows say, page by page, for a comparison with what Redis has.

use sqlx::PgConnection;

use super::Result;
use crate::Seq;

/// A stream, as far as Postgres knows it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) stream: String,
    pub(crate) generation: u64,
    pub(crate) sent: Seq,
    /// Up to here retention has deleted rows.
    pub(crate) pruned: Seq,
}

/// A row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) seq: Seq,
    pub(crate) id: String,
    /// It must be in Redis, unless it was trimmed: it is neither held nor undecided.
    pub(crate) sent: bool,
}

pub(crate) async fn streams(db: &mut PgConnection, only: Option<&str>) -> Result<Vec<Known>> {
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "select stream, generation, sent_seq, pruned_seq from outbox_stream
          where $1::text is null or stream = $1 order by stream",
    )
    .bind(only)
    .fetch_all(db)
    .await?;
    let known = |(stream, generation, sent, pruned): (String, i64, i64, i64)| Known {
        stream,
        generation: generation.unsigned_abs(),
        sent,
        pruned,
    };
    Ok(rows.into_iter().map(known).collect())
}

/// The rows of a stream from one number to another, lowest first.
pub(crate) async fn rows(
    db: &mut PgConnection,
    stream: &str,
    from: Seq,
    upto: Seq,
    rows_max: i64,
) -> Result<Vec<Row>> {
    let rows: Vec<(i64, String, bool)> = sqlx::query_as(
        "select seq, id::text, due_at is null and not exists (select from outbox_overtaken g where g.missing @> seq)
           from outbox where stream = $1 and seq >= $2 and seq <= $3 order by seq limit $4",
    )
    .bind(stream)
    .bind(from)
    .bind(upto)
    .bind(rows_max)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(seq, id, sent)| Row { seq, id, sent }).collect())
}

/// Whether rows that were seen a moment ago are still there, and were sent under their numbers.
pub(crate) async fn still_sent(db: &mut PgConnection, stream: &str, seqs: &[Seq]) -> Result<Vec<Seq>> {
    sqlx::query_scalar(
        "select seq from outbox
          where stream = $1 and seq = any($2) and due_at is null
            and not exists (select from outbox_overtaken g where g.missing @> seq)",
    )
    .bind(stream)
    .bind(seqs)
    .fetch_all(db)
    .await
}
