//! What checks and sweeps found, for people and alerts.

use sqlx::PgPool;

/// Remembers what a verb found.
pub(crate) async fn note_run(
    db: &PgPool,
    verb: &str,
    began: jiff::Timestamp,
    found: i64,
    report: &str,
) -> sqlx::Result<()> {
    sqlx::query("insert into hasad.run (verb, began_at, found, report) values ($1, $2::timestamptz, $3, $4::json)")
        .bind(verb)
        .bind(began.to_string())
        .bind(found)
        .bind(report)
        .execute(db)
        .await?;
    Ok(())
}
