//! The crawl in numbers, for whoever watches it.

use sqlx::PgPool;

/// Pages that wait are counted up to here, of all sources together.
const DUE_MAX: i64 = 100_000;

/// How a source stands.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Watched {
    pub(crate) name: String,
    pub(crate) halted: bool,
    /// Seconds since its newest article was found; since it was named, if it has none.
    pub(crate) silent_s: f64,
    /// Seconds since a page or a list of it was last read; since it was named, if none was.
    pub(crate) unread_s: f64,
}

/// How these sources stand: a look into an index or two for each, and one at its lists.
pub(crate) async fn watched(db: &PgPool, names: &[String]) -> sqlx::Result<Vec<Watched>> {
    sqlx::query_as(
        "select s.name, s.halted_at is not null as halted,
                extract(epoch from clock_timestamp() - coalesce(
                    (select max(i.discovered_at) from fallah.item i where i.source_name = s.name), s.known_at))::float8 as silent_s,
                extract(epoch from clock_timestamp() - coalesce(greatest(
                    (select max(p.fetched_at) from fallah.page p where p.source_name = s.name and p.source_url is not null),
                    (select max(l.read_at) from fallah.list l where l.source_name = s.name)), s.known_at))::float8 as unread_s
           from fallah.source s
          where s.name = any($1)
          order by s.name",
    )
    .bind(names)
    .fetch_all(db)
    .await
}

/// How many pages of each source are due.
pub(crate) async fn due(db: &PgPool, names: &[String]) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as(
        "select name, count(due.source_name)
           from unnest($1::text[]) as s(name)
           left join (select source_name from fallah.page where ready limit $2) due on due.source_name = s.name
          group by name
          order by name",
    )
    .bind(names)
    .bind(DUE_MAX)
    .fetch_all(db)
    .await
}
