//! One group is given published events again: on the lane that only it reads, at a rate that it can bear.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use sqlx::PgConnection;
use terminal::Unusable;

use crate::Seq;
use crate::config::Database;
use crate::store::replay::{self, Rows};

/// So many rows in one transaction at most.
const PORTION_MAX: u32 = 1_000;

/// Which events, and for whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Span {
    /// Of this stream
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: String,

    /// For this group
    #[arg(long, value_name = "NAME")]
    pub(crate) group: String,

    /// From this number of a row on, or from this time on
    #[arg(long, value_name = "NUMBER|TIME", value_parser = bound)]
    pub(crate) from: Bound,

    /// Up to this number or time [default: up to what was sent when this begins]
    #[arg(long, value_name = "NUMBER|TIME", value_parser = bound)]
    pub(crate) to: Option<Bound>,

    /// At most so many events a second
    #[arg(long, default_value = "1000", value_name = "EVENTS")]
    pub(crate) rate: NonZeroU32,

    /// Only say how many it would be
    #[arg(long, help_heading = "Output")]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) database: Database,
}

/// An end of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bound {
    Number(Seq),
    Time(String),
}

fn bound(text: &str) -> Result<Bound, String> {
    if let Ok(number) = text.parse() {
        return Ok(Bound::Number(number));
    }
    let time: Result<Timestamp, _> = text.parse();
    time.map(|time| Bound::Time(time.to_string())).map_err(|_| {
        "a bound is the number of a row, such as 1200, or a time, such as 2026-11-21T08:00:00Z".to_owned()
    })
}

/// How far it has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Replayed {
    pub(crate) meant: i64,
    pub(crate) done: i64,
    /// The number of the last row.
    pub(crate) last: Seq,
}

impl Span {
    /// What is wrong with these settings taken together.
    pub(crate) fn check(&self) -> Result<(), Unusable> {
        match (&self.from, &self.to) {
            (Bound::Number(from), Some(Bound::Number(to))) if from > to => {
                Err(Unusable("--from is greater than --to".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// Replays, and tells how far it has come after each portion.
pub(crate) async fn run(
    db: &mut PgConnection,
    span: &Span,
    mut progress: impl FnMut(&Replayed),
) -> anyhow::Result<Replayed> {
    let Span { stream, group, rate, .. } = span;
    let Some(sent) = replay::sent_to(db, stream, group).await? else {
        anyhow::bail!("no group {group:?} reads the stream {stream:?}; `relay groups` lists them");
    };
    let number = |bound: Option<&Bound>| match bound {
        Some(Bound::Number(number)) => Some(*number),
        _ => None,
    };
    let time = |bound: Option<&Bound>| match bound {
        Some(Bound::Time(time)) => Some(time.clone()),
        _ => None,
    };
    let (since, until) = (time(Some(&span.from)), time(span.to.as_ref()));
    let mut rows = Rows {
        stream,
        above: number(Some(&span.from)).map_or(0, |from| from.saturating_sub(1)),
        upto: number(span.to.as_ref()).unwrap_or(sent).min(sent),
        since: since.as_deref(),
        until: until.as_deref(),
    };
    let mut replayed = Replayed { meant: replay::count(db, &rows).await?, last: rows.above, ..Replayed::default() };
    if span.dry_run {
        return Ok(replayed);
    }
    let begun = Instant::now();
    let portion = i64::from(rate.get().min(PORTION_MAX));
    loop {
        let (count, last) = match replay::replay(db, &rows, group, portion).await {
            Ok(done) => done,
            Err(error) => {
                let Replayed { done, last, .. } = replayed;
                let on = format!("{done} events were replayed, up to number {last}; go on with --from {}", last + 1);
                return Err(anyhow::Error::new(error).context(on));
            }
        };
        let Some(last) = last else { return Ok(replayed) };
        (replayed.done, replayed.last, rows.above) = (replayed.done + count, last, last);
        progress(&replayed);
        // When so many may have gone.
        let due = Duration::from_secs_f64(replayed.done as f64 / f64::from(rate.get()));
        tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_number_or_a_time() {
        assert_eq!(bound("1200"), Ok(Bound::Number(1200)));
        assert_eq!(bound("2026-11-21T09:00:00+01:00"), Ok(Bound::Time("2026-11-21T08:00:00Z".to_owned())));
        assert!(bound("yesterday").is_err());
    }
}
