//! The archive in numbers, for whoever watches it. Nothing here takes longer when there is more of it.

use sqlx::PgPool;

/// Sources that are told of.
const SOURCES_MAX: i64 = 1_000;
/// Marked objects are counted no further.
const MARKED_MAX: i64 = 100_000;

/// Of each stream the newest entry that is archived: stream, generation, number.
pub(crate) async fn applied(db: &PgPool, group: &str) -> sqlx::Result<Vec<(String, i64, i64)>> {
    // What is settled by the whole group has left the inbox, and its position has stayed.
    sqlx::query_as(
        "select distinct on (lane) lane, generation, max(seq) as seq
           from (select lane, generation, seq from inbox_seen where consumer_group = $1
                 union all select lane, generation, seq from inbox_floor where consumer_group = $1) known
          group by lane, generation
          order by lane, generation desc",
    )
    .bind(group)
    .fetch_all(db)
    .await
}

/// Of each source, how many seconds ago something of it was archived: one look into an index for each.
pub(crate) async fn silence(db: &PgPool) -> sqlx::Result<Vec<(String, f64)>> {
    sqlx::query_as(
        "with recursive source as (
             (select source_name from hasad.version order by source_name limit 1)
             union all
             select (select v.source_name from hasad.version v where v.source_name > s.source_name order by v.source_name limit 1)
               from source s where s.source_name is not null
         )
         select s.source_name,
                extract(epoch from clock_timestamp() - (select max(v.archived_at) from hasad.version v
                                                         where v.source_name = s.source_name))::float8
           from source s where s.source_name is not null limit $1",
    )
    .bind(SOURCES_MAX)
    .fetch_all(db)
    .await
}

/// Objects that nobody names, counted up to a hundred thousand.
pub(crate) async fn marked_count(db: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from (select from hasad.object where marked_at is not null limit $1) marked")
        .bind(MARKED_MAX)
        .fetch_one(db)
        .await
}

/// Of each verb what its last complete run found, and how many seconds ago it ended.
pub(crate) async fn last_runs(db: &PgPool) -> sqlx::Result<Vec<(String, i64, f64)>> {
    sqlx::query_as(
        "select verb, found, extract(epoch from clock_timestamp() - ended_at)::float8
           from (values ('fsck'), ('gc'), ('purge')) as known (name)
           join lateral (select verb, found, ended_at from hasad.run where verb = name order by id desc limit 1) run on true
          order by verb",
    )
    .fetch_all(db)
    .await
}
