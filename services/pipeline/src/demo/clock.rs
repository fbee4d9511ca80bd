//! Seconds that pass only while the program runs, so that a site which rested goes on where it was, and the days on which they
//! passed, so that dates are true.
//!
//! A second is written down before anybody sees what happens in it: the site never goes back, also not after a kill.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::script;
use crate::folder::write_secret;

const SECOND: Duration = Duration::from_secs(1);
/// What happens nothing in is written down so often.
const SAVE_EVERY: u64 = 10;

/// What is kept of the site.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Memory {
    /// Addresses hold it, so it stays the same.
    port: u16,
    second: u64,
    /// Each start: its first second, and when that was, in seconds of Unix.
    starts: Vec<(u64, i64)>,
}

/// The site's time. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    file: PathBuf,
    second: Arc<AtomicU64>,
    memory: Arc<Mutex<Memory>>,
}

impl Clock {
    /// Goes on where it was; begins if there is none yet, at a port that is free.
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let file = data.join("site.json");
        let known = match std::fs::read(&file) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("{} cannot be read", file.display()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Memory { port: servers::port::free()?, second: 0, starts: vec![] }
            }
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        };
        let clock =
            Self { file, second: Arc::new(AtomicU64::new(known.second)), memory: Arc::new(Mutex::new(known)) };
        clock.start(Timestamp::now());
        clock.save()?;
        Ok(clock)
    }

    pub(crate) fn port(&self) -> u16 {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).port
    }

    /// The second that the site shows.
    pub(super) fn second(&self) -> u64 {
        self.second.load(Ordering::SeqCst)
    }

    /// When a second was.
    pub(super) fn day(&self, second: u64) -> Timestamp {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let start = memory.starts.iter().rfind(|(first, _)| *first <= second).or(memory.starts.first());
        let Some((first, at)) = start else { return Timestamp::UNIX_EPOCH };
        let since = SignedDuration::from_secs(i64::try_from(second.saturating_sub(*first)).unwrap_or(0));
        Timestamp::from_second(*at).unwrap_or(Timestamp::UNIX_EPOCH).checked_add(since).unwrap_or(Timestamp::MAX)
    }

    /// Second after second, for good.
    pub(crate) async fn run(&self) -> Result<()> {
        let mut ticks = tokio::time::interval(SECOND);
        // A machine that slept has not missed anything.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.advance()?;
        }
    }

    fn advance(&self) -> Result<()> {
        let next = self.second() + 1;
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).second = next;
        if next.is_multiple_of(SAVE_EVERY) || script::at(next) != script::at(next - 1) {
            self.save()?;
        }
        self.second.store(next, Ordering::SeqCst);
        Ok(())
    }

    /// A start. One in which nothing could happen is not kept.
    fn start(&self, now: Timestamp) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        // The second that is shown has its day already.
        let first = if memory.starts.is_empty() { 0 } else { memory.second + 1 };
        memory.starts.retain(|(start, _)| *start < first);
        memory.starts.push((first, now.as_second()));
    }

    fn save(&self) -> Result<()> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        write_secret(&self.file, &serde_json::to_vec(&*memory)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_rest_it_goes_on_where_it_was_and_old_dates_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::open(folder.path()).expect("a clock");
        let began = clock.day(0);
        for _ in 0..25 {
            clock.advance().expect("written");
        }
        let (port, seen) = (clock.port(), script::at(clock.second()));
        drop(clock);

        let again = Clock::open(folder.path()).expect("the same clock");
        assert_eq!(again.port(), port);
        assert!(again.second() >= 22 && again.second() <= 25, "what was seen was written down");
        assert_eq!(script::at(again.second()), seen, "nothing goes back");
        assert_eq!(again.day(0), began);
        again.start(began + SignedDuration::from_hours(30));
        let next = again.second() + 1;
        assert_eq!(again.day(next), began + SignedDuration::from_hours(30));
        assert_eq!(again.day(3), began + SignedDuration::from_secs(3));
    }
}
