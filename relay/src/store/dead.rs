//! Dead letters: what could not be sent, and what a group's handler could not make take effect. Set aside for a person.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection, Postgres};

use utoipa::ToSchema;

use super::Result;
use super::people::utc;

/// An event that was replayed so often and came back each time is replayed only by its id.
pub(crate) const REPLAYS_MAX: i32 = 3;
/// So many rounds of a letter that was replayed in vain are shown.
const ROUNDS_MAX: i64 = 10;
/// Letters of the relay bear no number of their own, and come before those of groups that were buried at the same time.
const NO_NUMBER: i64 = i64::MAX;
/// So many letters of groups are replayed in one transaction.
const PORTION: i64 = 1_000;

/// Which dead letters are meant. Without any field: all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) ids: Vec<String>,
    pub(crate) stream: Option<String>,
    pub(crate) r#type: Option<String>,
    pub(crate) group: Option<String>,
    /// Only those that hold this text, in whichever case: in their id, key, payload, or why they failed.
    pub(crate) search: Option<String>,
    /// Where it has been looked in payloads for that text already: those in which it may be found. None: look in all.
    pub(crate) found: Option<Vec<String>>,
}

/// Where a page of the list ends, and the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    dead_us: i64,
    no: i64,
    entry: String,
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let mut number = || parts.next()?.parse().ok();
        let (dead_us, no) = (number().ok_or(())?, number().ok_or(())?);
        // What no letter bears would be refused by Postgres.
        let entry = parts.next().filter(|entry| !entry.contains('\0')).ok_or(())?.to_owned();
        // Beyond a century around our time no letter was buried, and Postgres cannot add so much.
        let sane = (0..=10_000_000_000_000_000).contains(&dead_us);
        if sane { Ok(Self { dead_us, no, entry }) } else { Err(()) }
    }
}

/// A dead letter.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
pub(crate) struct DeadLetter {
    /// Where the list goes on behind it.
    #[serde(skip)]
    pub(crate) cursor: String,
    pub(crate) id: String,
    pub(crate) stream: String,
    /// The group whose handler it could not pass; none: it could not be sent.
    pub(crate) group_name: Option<String>,
    /// Its number where it was read: in the lane if there is one, else in the stream.
    pub(crate) entry: Option<String>,
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub(crate) r#type: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) ver: Option<i32>,
    pub(crate) attempts: i32,
    pub(crate) last_error: String,
    pub(crate) replays: i32,
    pub(crate) created_at: Option<String>,
    pub(crate) dead_at: String,
    /// From here on only when one is shown. Of one that was replayed: the lane on which it failed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lane: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) headers: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) failures: Option<String>,
    /// The rounds before, the last one first, as far as they are remembered.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) earlier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consumer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) handler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) fields: Option<String>,
    /// Something of it is not shown (RELAY_MASK): where "***" stands.
    #[sqlx(default)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) masked: bool,
}

/// JSON as it was written; what is none, as a string.
fn as_json<S: Serializer>(text: &Option<String>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match text.as_deref().map(serde_json::from_str::<&RawValue>) {
        Some(Ok(json)) => json.serialize(serializer),
        _ => text.serialize(serializer),
    }
}

/// What became of letters that were to be replayed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub(crate) replayed: i64,
    /// They are no events, so nothing can be sent.
    pub(crate) no_events: i64,
    /// They came back too often.
    pub(crate) looping: i64,
}

/// Both kinds, as one table.
const LETTERS: &str = "(
    select null::bigint as no, null::text as group_name, id::text, stream::text, null::text as lane, seq::text as entry,
           type::text, key::text, ver::integer, attempts::integer, last_error, 0 as replays, created_at, dead_at,
           payload::text, headers::text,
           null::text as failures, null::text as consumer, null::text as handler, null::text as fields
      from outbox
     where due_at = 'infinity'
    union all
    select no, group_name, coalesce(id, 'letter-' || no), stream, nullif(lane, stream), entry, type, key, ver, attempts, reason,
           replays, time, buried_at, payload, headers::text, failures::text, consumer, handler, case when id is null then fields::text end
      from outbox_dead_letter
     where replayed_at is null and dropped_at is null
    ) letter";

/// Which of them are meant, by the parameters of `bound`. `id`, `group` and `reason` say where the letter keeps these.
fn meant(id: &str, group: &str, reason: &str) -> String {
    format!(
        "($1 = '{{}}' or {id} = any($1)) and ($2::text is null or stream = $2)
         and ($3::text is null or type = $3) and ($4::text is null or {group} = $4)
         and ($5::text is null or position(lower($5) in lower(concat_ws(chr(10), {id}, key, {reason}))) > 0
              or $6::text[] is null and position(lower($5) in lower(payload::text)) > 0
              or {id} = any($6))"
    )
}

/// In both kinds together.
fn meant_of_all() -> String {
    meant("id", "group_name", "last_error")
}

/// Of those that could not be sent.
fn meant_unsent() -> String {
    meant("id", "null::text", "last_error")
}

/// Of those that groups have left, and nobody has replayed or dropped yet.
fn meant_of_groups() -> String {
    let meant = meant("coalesce(id, 'letter-' || no)", "group_name", "reason");
    format!("replayed_at is null and dropped_at is null and {meant}")
}

type Query<'q> = sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments>;

fn bound<'q>(statement: String, filter: &'q Filter) -> Query<'q> {
    sqlx::query(AssertSqlSafe(statement))
        .bind(&filter.ids)
        .bind(&filter.stream)
        .bind(&filter.r#type)
        .bind(&filter.group)
        .bind(&filter.search)
        .bind(&filter.found)
}

async fn number(db: &mut PgConnection, query: Query<'_>) -> Result<i64> {
    use sqlx::Row;
    query.fetch_one(db).await?.try_get(0)
}

/// The newest dead letters first, or those behind a cursor. `whole`: with their payloads and all that is known of them.
pub(crate) async fn list(
    db: &mut PgConnection,
    filter: &Filter,
    behind: Option<&Cursor>,
    rows_max: i64,
    whole: bool,
) -> Result<Vec<DeadLetter>> {
    let statement = format!(
        "select (extract(epoch from dead_at) * 1000000)::bigint || '.' || coalesce(no, {NO_NUMBER}) || '.' || entry as cursor,
                id, stream, group_name, entry, type, key, ver, attempts, last_error, replays,
                {} as created_at, {} as dead_at,
                case when $8 then lane end as lane, case when $8 then payload end as payload,
                case when $8 then headers end as headers, case when $8 then failures end as failures,
                case when $8 then consumer end as consumer, case when $8 then handler end as handler,
                case when $8 then fields end as fields,
                case when $8 then (
                    select json_agg(json_build_object('replays', replays, 'entry', entry, 'attempts', attempts, 'reason', reason,
                                                      'failures', failures, 'replayed_at', {}))
                      from (select * from outbox_dead_letter e
                             where e.id = letter.id and e.stream = letter.stream and e.group_name = letter.group_name
                               and e.no < letter.no and e.replayed_at is not null
                             order by e.no desc limit {ROUNDS_MAX}) round)::text end as earlier
           from {LETTERS} where {}
            and ($9::bigint is null or (letter.dead_at, coalesce(no, {NO_NUMBER}), letter.entry)
                                     < (timestamptz 'epoch' + $9 * interval '1 microsecond', $10, $11))
          order by letter.dead_at desc, coalesce(no, {NO_NUMBER}) desc, letter.entry desc
          limit $7",
        utc("created_at"),
        utc("dead_at"),
        utc("replayed_at"),
        meant_of_all()
    );
    let rows = bound(statement, filter)
        .bind(rows_max)
        .bind(whole)
        .bind(behind.map(|cursor| cursor.dead_us))
        .bind(behind.map(|cursor| cursor.no))
        .bind(behind.map(|cursor| cursor.entry.as_str()))
        .fetch_all(db)
        .await?;
    rows.iter().map(DeadLetter::from_row).collect()
}

/// Letters of which only the payload holds what is searched for: the newest, at most so many and of so many bytes together,
/// each with its type and payload.
pub(crate) async fn found_in_payload(
    db: &mut PgConnection,
    filter: &Filter,
    rows_max: i64,
    bytes_max: i64,
) -> Result<Vec<(String, Option<String>, String)>> {
    use sqlx::Row;
    let statement = format!(
        "select id, type, payload
           from (select id, type, payload, dead_at,
                        sum(octet_length(payload)) over (order by dead_at desc, id, no) as bytes
                   from {LETTERS}
                  where payload is not null and $5::text is not null and {}
                    and position(lower($5) in lower(concat_ws(chr(10), id, key, last_error))) = 0) found
          where bytes <= $8
          order by dead_at desc
          limit $7",
        meant_of_all()
    );
    let rows = bound(statement, filter).bind(rows_max).bind(bytes_max).fetch_all(db).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

/// What a replay would do.
pub(crate) async fn replayable(db: &mut PgConnection, filter: &Filter) -> Result<Replayed> {
    let all = count(db, filter).await?;
    let (no_events, looping) = left(db, filter).await?;
    Ok(Replayed { replayed: all - no_events - looping, no_events, looping })
}

pub(crate) async fn count(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    let statement = format!("select count(*) from {LETTERS} where {}", meant_of_all());
    number(db, bound(statement, filter)).await
}

/// Sends dead letters again: those of the relay to the end of their streams, those of a group on the lane that only this group
/// reads. Tells how far it has come after each portion. A relay that sleeps is woken.
pub(crate) async fn replay(
    db: &mut PgConnection,
    filter: &Filter,
    mut progress: impl FnMut(i64),
) -> Result<Replayed> {
    let mut all = Replayed { replayed: replay_unsent(db, filter).await?, ..Replayed::default() };
    loop {
        progress(all.replayed);
        let replayed = replay_of_groups(db, filter).await?;
        all.replayed += replayed;
        if replayed == 0 {
            break;
        }
    }
    (all.no_events, all.looping) = left(db, filter).await?;
    Ok(all)
}

/// How many letters no replay touches: those that are no events, and those that came back too often.
async fn left(db: &mut PgConnection, filter: &Filter) -> Result<(i64, i64)> {
    let left = |condition: &str| {
        let statement =
            format!("select count(*) from outbox_dead_letter where {condition} and {}", meant_of_groups());
        bound(statement, filter)
    };
    let no_events = number(db, left("not replayable")).await?;
    let looping = number(db, left(&format!("replayable and replays >= {REPLAYS_MAX} and $1 = '{{}}'"))).await?;
    Ok((no_events, looping))
}

/// What could not be sent is due now, all at the same time so that it keeps its order, and with fresh attempts: the relay
/// gives each a new number.
async fn replay_unsent(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    let statement = format!(
        "with replayed as (
             update outbox set dead_at = null, due_at = now(), attempts = 0
              where due_at = 'infinity' and {}
             returning 1
         ), rung as (
             select pg_notify('outbox', current_schema()) from (select from replayed limit 1) as any_at_all
         )
         select count(*) from replayed where (select count(*) from rung) >= 0",
        meant_unsent()
    );
    number(db, bound(statement, filter)).await
}

/// A letter of a group becomes a row of its own, on the lane that only this group reads; its headers say what it was. In one
/// transaction with the mark that it was replayed, so two people who replay it at once replay it once.
async fn replay_of_groups(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    let mut tx = db.begin().await?;
    let statement = format!(
        "with letter as (
             select * from outbox_dead_letter
              where replayable and (replays < {REPLAYS_MAX} or $1 <> '{{}}') and {}
              order by no
              limit {PORTION}
                for update skip locked
         ), marked as (
             update outbox_dead_letter d set replayed_at = clock_timestamp() from letter where d.no = letter.no
         ), row as (
             insert into outbox (stream, type, key, id, ver, payload, headers)
             select stream || ':' || group_name || ':replay', type, key, outbox_new_id(), ver, payload::json,
                    coalesce(headers, '{{}}')
                    || jsonb_build_object('outbox-id', id, 'outbox-replays', (replays + 1)::text, 'outbox-entry', origin, 'outbox-time',
                          to_char(time at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))
               from letter order by no
             returning 1
         )
         select count(*) from row",
        meant_of_groups()
    );
    let replayed = number(&mut tx, bound(statement, filter)).await?;
    tx.commit().await?;
    Ok(replayed)
}

/// Forgets dead letters for good.
pub(crate) async fn drop(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    let statement = format!(
        "with unsent as (
             delete from outbox where due_at = 'infinity' and {} returning 1
         ), of_groups as (
             update outbox_dead_letter set dropped_at = clock_timestamp() where {} returning 1
         )
         select (select count(*) from unsent) + (select count(*) from of_groups)",
        meant_unsent(),
        meant_of_groups(),
    );
    number(db, bound(statement, filter)).await
}
