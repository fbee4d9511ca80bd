//! What consumers say of themselves, and what the relay says to them: up to where their groups are settled for good.

use jiff::{SignedDuration, Timestamp};
use outbox::{EntryId, keys};
use redis::{Value, pipe};
use serde::{Deserialize, Serialize};

use crate::append::Appender;
use crate::fault::Outage;
use crate::groups::can_be_kept;
use crate::letters::{Tray, storable_time};
use crate::replies::text;
use crate::retention::LETTERS_DAYS;
use crate::wires::To;

/// What one consumer has done since it started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tally {
    #[serde(default)]
    pub(crate) stream: String,
    #[serde(default)]
    pub(crate) group_name: String,
    #[serde(default)]
    pub(crate) consumer: String,
    processed: i64,
    failed: i64,
    retried: i64,
    buried: i64,
    #[serde(default)]
    lost: i64,
    handling_mean_us: i64,
    handling_p99_us: i64,
    last_active_at: Option<String>,
}

impl Appender {
    /// The tallies of each group's consumers. One that cannot be read is passed over, as is one that is as old as what Postgres
    /// forgets: a consumer that died may leave it in Redis for ever, and it would come back as news each time.
    pub(crate) async fn tallies(&mut self, trays: &[Tray]) -> Result<Vec<Tally>, Outage> {
        let key = |tray: &Tray| keys::stats(&tray.stream, &tray.group);
        let mut replies = vec![];
        for portion in self.wires.portions(trays, |_, _| false) {
            let mut pipeline = pipe();
            for tray in portion {
                pipeline.cmd("HGETALL").arg(key(tray));
            }
            replies.extend(self.wires.send(To::Key(&key(&portion[0])), &pipeline).await?);
        }
        let old = Timestamp::now() - SignedDuration::from_hours(24 * i64::from(LETTERS_DAYS));
        Ok(trays.iter().zip(&replies).flat_map(|(tray, reply)| read_tallies(tray, reply, old)).collect())
    }

    /// Tells consumers up to where their groups are settled and written down. It is for the comfort of their inboxes: where
    /// it cannot be said they are pruned later.
    pub(crate) async fn tell_settled(&mut self, positions: &[(&str, &str, EntryId)]) -> Result<(), Outage> {
        for portion in self.wires.portions(positions, |one, other| one.0 == other.0) {
            let mut pipeline = pipe();
            for (stream, group, settled) in portion {
                pipeline.cmd("HSET").arg(keys::settled(stream)).arg(*group).arg(settled.to_string());
            }
            self.wires.send(To::Key(&keys::settled(portion[0].0)), &pipeline).await?;
        }
        Ok(())
    }
}

fn read_tallies(tray: &Tray, reply: &Value, old: Timestamp) -> Vec<Tally> {
    let pairs: Vec<(&Value, &Value)> = match reply {
        Value::Array(flat) => flat.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
        _ => vec![],
    };
    let tally = |(name, value): (&Value, &Value)| {
        let (consumer, told) = (text(name).filter(|name| can_be_kept(name))?.to_owned(), text(value)?);
        let mut tally: Tally = serde_json::from_str(told).ok()?;
        tally.last_active_at = tally.last_active_at.and_then(|at| storable_time(&at));
        if tally.last_active_at.as_deref().and_then(|at| at.parse().ok()).is_some_and(|at: Timestamp| at < old) {
            return None;
        }
        Some(Tally { stream: tray.stream.clone(), group_name: tray.group.clone(), consumer, ..tally })
    };
    pairs.into_iter().filter_map(tally).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_that_is_older_than_what_is_remembered_is_passed_over() {
        let text = |text: &str| Value::BulkString(text.into());
        let told = |at: &str| {
            text(&format!(
                r#"{{"processed": 1, "failed": 0, "retried": 0, "buried": 0, "handling_mean_us": 1, "handling_p99_us": 1{at}}}"#
            ))
        };
        let reply = Value::Array(vec![
            text("old"),
            told(r#", "last_active_at": "2026-09-30T23:59:59.999Z""#),
            text("young"),
            told(r#", "last_active_at": "2026-10-01T00:00:00.000Z""#),
            text("never"),
            told(""),
        ]);
        let tray = Tray { stream: "s".into(), group: "g".into() };
        let old = "2026-10-01T00:00:00Z".parse().expect("a time");
        let read: Vec<_> = read_tallies(&tray, &reply, old).into_iter().map(|tally| tally.consumer).collect();
        assert_eq!(read, ["young", "never"]);
    }
}
