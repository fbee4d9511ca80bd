//! Hosts: whose turn it is, and what their robots.txt says.

use std::time::Duration;

use serde::Serialize;
use sqlx::{PgConnection, PgPool};

use super::us;

/// A turn at a host: one request may be made there, and nobody else makes one meanwhile.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Host {
    pub(crate) origin: String,
    pub(crate) slot: i64,
    pub(crate) failures: i32,
    /// What its robots.txt comes to, while that is known.
    pub(crate) robots_holds: Option<Holds>,
    /// Until when. It also says which answer this is.
    pub(crate) robots_until: Option<String>,
}

/// What a host's robots.txt comes to: its text, or one of these where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub(crate) enum Holds {
    Rules,
    Everything,
    Nothing,
}

/// How turns are given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slots {
    /// To which run.
    pub(crate) run: i32,
    /// Who dies with one keeps it for so long at most.
    pub(crate) lease: Duration,
    /// Now.
    pub(crate) most: i64,
    /// At hosts of one source, with those that have been given already: a site of many hosts leaves turns to the others.
    pub(crate) share: i64,
}

/// Turns at hosts that may be asked now and have something to be asked for, those of sources with few hosts first.
///
/// Locked rows are skipped, so two programs never get a turn at the same host. `source_name || ''` keeps Postgres from
/// looking for a ready page among all pages of a source.
pub(crate) async fn slots(db: &PgPool, slots: Slots, active: &[String]) -> sqlx::Result<Vec<Host>> {
    sqlx::query_as(
        "with waiting as (
             select h.origin, h.next_at,
                    row_number() over (partition by h.source_name order by h.next_at)
                    + (select count(*) from fallah.host busy
                        where busy.source_name = h.source_name and busy.leased_by = $4
                          and busy.busy_until >= statement_timestamp()) as nth
               from fallah.host h
              where h.next_at <= statement_timestamp()
                and (h.busy_until is null or h.busy_until < statement_timestamp())
                and (h.open_until is null or h.open_until <= statement_timestamp())
                and (exists (select from fallah.page p
                              where p.origin = h.origin and p.ready and p.source_name || '' = any($3))
                     or exists (select from fallah.list l
                              where l.origin = h.origin and l.ready and l.source_name = any($3)))
         ), free as (
             select h.origin from fallah.host h join waiting w using (origin)
              where w.nth <= $5 and h.next_at <= statement_timestamp()
                and (h.busy_until is null or h.busy_until < statement_timestamp())
              order by w.nth, w.next_at
              limit $2
                for no key update of h skip locked
         )
         update fallah.host h
            set busy_until = clock_timestamp() + $1 * interval '1 microsecond', slot = h.slot + 1, leased_by = $4
           from free
          where h.origin = free.origin
         returning h.origin, h.slot, h.failures,
                   case when h.robots_until > clock_timestamp() then h.robots_holds end as robots_holds,
                   h.robots_until::text",
    )
    .bind(us(slots.lease))
    .bind(slots.most)
    .bind(active)
    .bind(slots.run)
    .bind(slots.share)
    .fetch_all(db)
    .await
}

/// Makes hosts known of which a source has pages or lists, up to so many of its own. In one order, whoever writes: two
/// lists of the same hosts must not wait for each other in a circle.
pub(super) async fn name(db: &mut PgConnection, source: &str, origins: &[&str], most: i64) -> sqlx::Result<()> {
    sqlx::query(
        "insert into fallah.host (origin, source_name)
         select o, $1 from (select distinct o from unnest($2::text[]) o
                             where not exists (select from fallah.host where origin = o)
                             order by o
                             limit greatest(0, $3 - (select count(*) from fallah.host where source_name = $1))) new
          order by o
             on conflict do nothing",
    )
    .bind(source)
    .bind(origins)
    .bind(most)
    .execute(db)
    .await?;
    Ok(())
}

/// How long until some host may be asked again; none if there is nothing to ask.
pub(crate) async fn still(db: &PgPool, active: &[String]) -> sqlx::Result<Option<Duration>> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "select min(extract(epoch from greatest(h.next_at, h.busy_until, h.open_until, statement_timestamp())
                            - statement_timestamp()))::float8
           from fallah.host h
          where exists (select from fallah.page p where p.origin = h.origin and p.ready and p.source_name || '' = any($1))
             or exists (select from fallah.list l where l.origin = h.origin and l.ready and l.source_name = any($1))",
    )
    .bind(active)
    .fetch_one(db)
    .await?;
    Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))))
}

/// How a turn has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended<'a> {
    /// From the beginning of its request to the beginning of the next; none: nothing was asked for.
    pub(crate) delay: Option<Duration>,
    /// Of that has passed already.
    pub(crate) passed: Duration,
    /// In a row.
    pub(crate) failures: i32,
    /// The host is left alone.
    pub(crate) shut: Option<Shut<'a>>,
}

/// For how long a host is left alone, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shut<'a> {
    pub(crate) time: Duration,
    pub(crate) why: &'a str,
}

impl Ended<'_> {
    /// Nothing was asked for.
    pub(crate) fn idle(host: &Host) -> Self {
        Self { delay: None, passed: Duration::ZERO, failures: host.failures, shut: None }
    }
}

/// Ends a turn.
pub(crate) async fn yield_slot(db: &PgPool, host: &Host, ended: Ended<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.host
            set busy_until = null, leased_by = null, failures = $4, delay_us = coalesce($7, delay_us),
                next_at = greatest(next_at, clock_timestamp() + $3 * interval '1 microsecond'),
                open_until = clock_timestamp() + $5 * interval '1 microsecond', open_why = $6
          where origin = $1 and slot = $2",
    )
    .bind(&host.origin)
    .bind(host.slot)
    .bind(us(ended.delay.unwrap_or_default().saturating_sub(ended.passed)))
    .bind(ended.failures)
    .bind(ended.shut.map(|shut| us(shut.time)))
    .bind(ended.shut.map(|shut| shut.why))
    .bind(ended.delay.map(us))
    .execute(db)
    .await?;
    Ok(())
}

/// Gives back a turn in which something was asked for that did not come in time: the next one keeps the host's delay.
pub(crate) async fn give_back_slot(db: &PgPool, host: &Host) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.host
            set busy_until = null, leased_by = null, next_at = clock_timestamp() + delay_us * interval '1 microsecond'
          where origin = $1 and slot = $2",
    )
    .bind(&host.origin)
    .bind(host.slot)
    .execute(db)
    .await?;
    Ok(())
}

/// Reserves the next request at a host, beside its turns, of which one may be under way. Returns how long to wait for it;
/// none: we know no such host, so it has no rate here.
pub(crate) async fn reserve(db: &PgPool, origin: &str, delay: Duration) -> sqlx::Result<Option<Duration>> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "update fallah.host h
            set next_at = ours.at + ours.delay
           from (select origin, delay,
                        greatest(next_at, case when busy_until > clock_timestamp() then clock_timestamp() + delay
                                               else clock_timestamp() end) as at
                   from (select origin, next_at, busy_until,
                                greatest(delay_us, $2) * interval '1 microsecond' as delay
                           from fallah.host where origin = $1 for no key update) asked) ours
          where h.origin = ours.origin
         returning extract(epoch from ours.at - clock_timestamp())::float8",
    )
    .bind(origin)
    .bind(us(delay))
    .fetch_optional(db)
    .await?;
    Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))))
}

/// Leaves a host alone until its robots.txt is to be asked for again.
pub(crate) async fn shut(db: &PgPool, host: &Host) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.host set busy_until = null, leased_by = null, open_until = robots_until, open_why = 'its robots.txt cannot be had'
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
    holds: Holds,
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
