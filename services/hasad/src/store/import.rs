//! How far files were imported, so that an import can go on.

use sqlx::PgConnection;

/// How far a file was imported.
#[derive(Debug, Clone, Default, sqlx::FromRow)]
pub(crate) struct Progress {
    pub(crate) bytes: i64,
    pub(crate) lines: i64,
    pub(crate) bad_lines: i64,
    pub(crate) prefix_hash: String,
}

/// How far a file was imported before.
pub(crate) async fn progress(db: &mut PgConnection, file: &str) -> sqlx::Result<Option<Progress>> {
    sqlx::query_as("select bytes, lines, bad_lines, prefix_hash from hasad.import where file = $1")
        .bind(file)
        .fetch_optional(db)
        .await
}

/// Remembers how far it is, in the transaction of what was read.
pub(crate) async fn save_progress(db: &mut PgConnection, file: &str, progress: &Progress) -> sqlx::Result<()> {
    sqlx::query(
        "insert into hasad.import (file, bytes, lines, bad_lines, prefix_hash) values ($1, $2, $3, $4, $5)
         on conflict (file) do update set bytes = excluded.bytes, lines = excluded.lines, bad_lines = excluded.bad_lines,
                                          prefix_hash = excluded.prefix_hash, at = clock_timestamp()",
    )
    .bind(file)
    .bind(progress.bytes)
    .bind(progress.lines)
    .bind(progress.bad_lines)
    .bind(&progress.prefix_hash)
    .execute(db)
    .await?;
    Ok(())
}
