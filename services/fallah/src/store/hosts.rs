//! Hosts: whose turn it is, and what their robots.txt says.

use std::time::Duration;

use serde::Serialize;
use sqlx::PgPool;

use super::us;

/// A turn at a host: one request may be made there, and nobody else makes one meanwhile.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Host {
    pub(crate) origin: String,
    pub(crate) slot: i64,
    pub(crate) failures: i32,
    /// What its robots.txt comes to, while that is known: rules, everything, nothing.
    pub(crate) robots_holds: Option<String>,
    /// Until when. It also says which answer this is.
    pub(crate) robots_until: Option<String>,
}

/// Turns at hosts that may be asked now and have something to be asked for.
///
/// Locked rows are skipped, so two programs never get a turn at the same host. Who dies with one keeps it for the lease.
pub(crate) async fn slots(db: &PgPool, lease: Duration, active: &[String], most: i64) -> sqlx::Result<Vec<Host>> {
    sqlx::query_as(
        "with free as (
             select h.origin from fallah.host h
              where h.next_at <= statement_timestamp()
                and (h.busy_until is null or h.busy_until < statement_timestamp())
                and (h.open_until is null or h.open_until <= statement_timestamp())
                and (exists (select from fallah.page p
                              where p.origin = h.origin and p.ready and p.source_name = any($3))
                     or exists (select from fallah.list l
                              where l.origin = h.origin and l.ready and l.source_name = any($3)))
              order by h.next_at
              limit $2
                for no key update skip locked
         )
         update fallah.host h
            set busy_until = clock_timestamp() + $1 * interval '1 microsecond', slot = h.slot + 1
           from free
          where h.origin = free.origin
         returning h.origin, h.slot, h.failures,
                   case when h.robots_until > clock_timestamp() then h.robots_holds end as robots_holds,
                   h.robots_until::text",
    )
    .bind(us(lease))
    .bind(most)
    .bind(active)
    .fetch_all(db)
    .await
}

/// How long until some host may be asked again; none if there is nothing to ask.
pub(crate) async fn still(db: &PgPool, active: &[String]) -> sqlx::Result<Option<Duration>> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "select min(extract(epoch from greatest(h.next_at, h.busy_until, h.open_until, statement_timestamp())
                            - statement_timestamp()))::float8
           from fallah.host h
          where exists (select from fallah.page p where p.origin = h.origin and p.ready and p.source_name = any($1))
             or exists (select from fallah.list l where l.origin = h.origin and l.ready and l.source_name = any($1))",
    )
    .bind(active)
    .fetch_one(db)
    .await?;
    Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))))
}

/// Ends a turn. The next one begins after `delay`, counted from when ours began; `shut`: the host is left alone so long.
pub(crate) async fn yield_slot(
    db: &PgPool,
    host: &Host,
    delay: Duration,
    failures: i32,
    shut: Option<(Duration, &str)>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.host
            set busy_until = null, failures = $4,
                next_at = clock_timestamp() + $3 * interval '1 microsecond',
                open_until = clock_timestamp() + $5 * interval '1 microsecond', open_why = $6
          where origin = $1 and slot = $2",
    )
    .bind(&host.origin)
    .bind(host.slot)
    .bind(us(delay))
    .bind(failures)
    .bind(shut.map(|(time, _)| us(time)))
    .bind(shut.map(|(_, why)| why))
    .execute(db)
    .await?;
    Ok(())
}

/// Leaves a host alone until its robots.txt is to be asked for again.
pub(crate) async fn shut(db: &PgPool, host: &Host) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.host set busy_until = null, open_until = robots_until, open_why = 'its robots.txt cannot be had'
          where origin = $1 and slot = $2",
    )
    .bind(&host.origin)
    .bind(host.slot)
    .execute(db)
    .await?;
    Ok(())
}

/// A host that is left alone, for how many seconds yet, and why.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct LeftAlone {
    pub(crate) host: String,
    pub(crate) seconds: i64,
    pub(crate) why: String,
}

/// Hosts that are left alone, though there is something to ask them for.
pub(crate) async fn left_alone(db: &PgPool) -> sqlx::Result<Vec<LeftAlone>> {
    sqlx::query_as(
        "select origin as host, extract(epoch from open_until - statement_timestamp())::bigint as seconds,
                coalesce(open_why, 'it failed') as why
           from fallah.host h
          where open_until > statement_timestamp()
            and (exists (select from fallah.page p where p.origin = h.origin and p.ready)
                 or exists (select from fallah.list l where l.origin = h.origin and l.ready))
          order by origin",
    )
    .fetch_all(db)
    .await
}

/// The last good copy of a host's robots.txt, and since when it could not say.
pub(crate) async fn robots(db: &PgPool, origin: &str) -> sqlx::Result<(Option<Vec<u8>>, Option<String>)> {
    sqlx::query_as("select robots, to_json(robots_bad_since) #>> '{}' from fallah.host where origin = $1")
        .bind(origin)
        .fetch_one(db)
        .await
}

/// Writes down what a host's robots.txt comes to.
pub(crate) async fn store_robots(
    db: &PgPool,
    host: &Host,
    holds: &str,
    good: Option<&[u8]>,
    lasts: Duration,
    bad_since: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.host
            set robots_holds = $3, robots = coalesce($4, robots), robots_bad_since = $6::timestamptz,
                robots_until = clock_timestamp() + $5 * interval '1 microsecond'
          where origin = $1 and slot = $2",
    )
    .bind(&host.origin)
    .bind(host.slot)
    .bind(holds)
    .bind(good)
    .bind(us(lasts))
    .bind(bad_since)
    .execute(db)
    .await?;
    Ok(())
}
