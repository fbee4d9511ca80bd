//! Where one event is, from its row to the last group: what `relay trace` says.

use outbox::EntryId;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::Seq;
use crate::append::Appender;
use crate::config::Server;
use crate::fault::{Error, Outage};
use crate::store::trail::{self, LetterTrail, RowTrail};

/// Everything that is known of an event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Trail {
    /// The event's id.
    pub(crate) event: String,
    /// Its own row first; then those that replay it for a group.
    pub(crate) rows: Vec<Stretch>,
    /// What groups have set aside of it, the newest first.
    pub(crate) letters: Vec<LetterTrail>,
    /// Why Redis could not be asked.
    pub(crate) redis_away: Option<String>,
}

/// A row and its entry.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stretch {
    #[serde(flatten)]
    pub(crate) row: RowTrail,
    /// Whether the entry is in Redis. One that every group has settled is trimmed after a while. None: Redis does not say.
    pub(crate) in_redis: Option<bool>,
    pub(crate) groups: Vec<GroupTrail>,
}

/// How far an event has come in a group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupTrail {
    pub(crate) name: String,
    pub(crate) state: Progress,
    /// Who has it in hand.
    pub(crate) consumer: Option<String>,
    /// How often it was handed out, if somebody has it in hand.
    pub(crate) deliveries: Option<i64>,
    /// For how long it has been in hand without a sign of life.
    pub(crate) idle_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    /// The group has not read so far.
    Waiting,
    /// A consumer has it in hand.
    Pending,
    /// It is done: its effect took place, or it was set aside.
    Settled,
    /// It is done in the group's books, and lies among its dead letters.
    Buried,
}

/// Follows an event, by its id, the number of its row, or that of its entry. None: nobody knows it.
pub(crate) async fn follow(db: &mut PgConnection, server: &Server, name: &str) -> Result<Option<Trail>, Error> {
    let (mut id, mut rows, mut letters) =
        (name.to_owned(), trail::rows(db, name).await?, trail::letters(db, name).await?);
    if rows.is_empty() && letters.is_empty() {
        // An id may look like a number; so it comes first.
        id = match trail::id_of(db, name, number(name)).await? {
            Some(id) => id,
            None => return Ok(None),
        };
        (rows, letters) = (trail::rows(db, &id).await?, trail::letters(db, &id).await?);
    }
    let (mut stretches, mut redis_away) = (vec![], None);
    let mut redis = match Appender::connect(&server.client()?, server).await {
        Ok(redis) => Some(redis),
        Err(why) => {
            redis_away = Some(why.to_string());
            None
        }
    };
    for row in rows {
        let mut stretch = Stretch { row, in_redis: None, groups: vec![] };
        if stretch.row.state == "sent"
            && let Some(redis) = &mut redis
            && let Err(outage) = look(redis, &mut stretch, &letters).await
        {
            redis_away = Some(outage.to_string());
        }
        stretches.push(stretch);
    }
    Ok(Some(Trail { event: id, rows: stretches, letters, redis_away }))
}

/// The number of a row: `42`, or with the generation of its entry `1-42`.
fn number(name: &str) -> Option<(Option<i64>, Seq)> {
    match name.split_once('-') {
        None => Some((None, name.parse().ok()?)),
        Some((generation, seq)) => Some((Some(generation.parse().ok()?), seq.parse().ok()?)),
    }
}

async fn look(redis: &mut Appender, stretch: &mut Stretch, letters: &[LetterTrail]) -> Result<(), Outage> {
    let RowTrail { stream, entry, .. } = &stretch.row;
    let Ok(number) = entry.parse::<EntryId>() else { return Ok(()) };
    let (_, there) = redis.look_up(stream, &[number]).await?;
    stretch.in_redis = there.into_iter().next().flatten();
    for group in redis.groups(std::slice::from_ref(stream)).await?.groups {
        let in_hand = match group.pending > 0 && number <= group.delivered {
            true => redis.in_hand(stream, &group.name, number).await?,
            false => None,
        };
        let buried = || letters.iter().any(|letter| letter.group_name == group.name && letter.entry == *entry);
        let state = match &in_hand {
            Some(_) => Progress::Pending,
            None if number > group.delivered => Progress::Waiting,
            None if buried() => Progress::Buried,
            None => Progress::Settled,
        };
        let (consumer, idle_ms, deliveries) = match in_hand {
            Some((consumer, idle_ms, deliveries)) => (Some(consumer), Some(idle_ms), Some(deliveries)),
            None => (None, None, None),
        };
        stretch.groups.push(GroupTrail { name: group.name, state, consumer, deliveries, idle_ms });
    }
    Ok(())
}
