//! Order across processes: each partition of a stream is read by one consumer at a time.
//!
//! The right to read a partition is a key that expires. Whoever takes it over from somebody who was silent first ends that
//! one's connection, so that a reader that was frozen cannot be given entries any more when it wakes up; then claims what
//! was pending; then reads.
//!
//! Whoever has more than its share gives one back: begins nothing of it any more, and lets go of it when its last attempt has
//! ended. So a partition that is never idle changes hands, too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Consumer;
use super::schedule::Clock;
use super::stream::{Right, Trouble};

/// The partitions of a stream, and which of them are ours.
#[derive(Debug)]
pub(super) struct Partitions {
    /// The first one's name also names the register of consumers.
    streams: Vec<Arc<str>>,
    /// Until when we may read each of ours.
    held: BTreeMap<Arc<str>, Instant>,
    /// Ours until its last attempt has ended.
    leaving: Option<Arc<str>>,
    look: Clock,
}

impl Partitions {
    pub(super) fn of(stream: &str, count: u16) -> Self {
        let streams = (0..count).map(|nth| crate::partition::name(stream, nth).into()).collect();
        Self { streams, held: BTreeMap::new(), leaving: None, look: Clock::default() }
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &Arc<str>> {
        self.streams.iter()
    }

    /// After a loss all that was decided is decided anew.
    pub(super) fn look_again(&mut self) {
        self.look = Clock::default();
        self.leaving = None;
    }
}

/// How many partitions are due to the consumer that has so many before it.
fn share(partitions: usize, consumers: usize, before: usize) -> usize {
    let consumers = consumers.max(1);
    partitions / consumers + usize::from(before < partitions % consumers)
}

impl Consumer {
    /// Keeps the partitions that are ours, and takes our share of those that are free.
    pub(super) async fn share(&mut self) -> Result<(), Trouble> {
        // Not from when the turn began: it may have taken long to connect.
        let (now, lease) = (Instant::now(), self.told.settings.claim_after);
        let Some(partitions) = &mut self.partitions else { return Ok(()) };
        // Whoever was frozen for longer than the lease has lost them, whatever Redis says by now.
        let late: Vec<Arc<str>> =
            partitions.held.iter().filter(|(_, until)| **until <= now).map(|(stream, _)| stream.clone()).collect();
        let time = partitions.look.is_time(now, (lease / 6).min(Duration::from_secs(1)));
        if !late.is_empty() {
            self.end_reads().await?;
        }
        for stream in late {
            tracing::warn!(%stream, group = %self.told.group, "a partition was lost: this consumer was silent for too long");
            self.lose_partition(&stream);
        }
        if !time {
            return Ok(());
        }
        self.hold_on().await?;
        let Some(partitions) = &self.partitions else { return Ok(()) };
        let streams = partitions.streams.clone();
        let (consumers, before) =
            self.at(&streams[0], async |door, names, me| door.register(&names, me, lease).await).await?;
        let share = share(streams.len(), consumers, before);
        self.hand_over().await?;
        let Some(partitions) = &self.partitions else { return Ok(()) };
        let (held, leaving) = (partitions.held.len(), partitions.leaving.is_some());
        // What has just been lost is found again before it is given away: it may lack its group.
        let settled = !leaving && !self.lanes.has_unknown();
        if held > share && settled {
            self.give_partition_back().await?;
        } else if held < share {
            self.take_partitions(share - held, &streams, now).await?;
        }
        Ok(())
    }

    /// Keeps the partitions that are ours.
    pub(super) async fn hold_on(&mut self) -> Result<(), Trouble> {
        let Some(partitions) = &self.partitions else { return Ok(()) };
        for (stream, until) in partitions.held.clone() {
            let kept = match self.hold(&stream).await? {
                Right::Kept => true,
                // Nobody had it any more. Before its time that is a loss of Redis; after it somebody may have come and gone.
                Right::Taken => Instant::now() < until,
                Right::Others => false,
            };
            if !kept {
                tracing::warn!(%stream, group = %self.told.group, "a partition was lost to another consumer");
                self.end_reads().await?;
                self.lose_partition(&stream);
            }
        }
        Ok(())
    }

    async fn take_partitions(&mut self, wanted: usize, streams: &[Arc<str>], now: Instant) -> Result<(), Trouble> {
        let mut taken = 0;
        for stream in streams {
            let ours = self.partitions.as_ref().is_some_and(|partitions| partitions.held.contains_key(stream));
            if taken == wanted || ours || self.hold(stream).await? == Right::Others {
                continue;
            }
            taken += 1;
            // At once: whatever fails from here on, what is held is read.
            self.lanes.add(stream);
            // A read that waits does not know of it.
            self.end_reads().await?;
            for lane in self.lanes.of_stream(stream) {
                self.enter(&lane, now).await?;
            }
            tracing::info!(%stream, group = %self.told.group, "a partition is ours");
        }
        Ok(())
    }

    /// Begins nothing of one partition any more, for it is due to another consumer.
    async fn give_partition_back(&mut self) -> Result<(), Trouble> {
        self.end_reads().await?;
        let Some(partitions) = &mut self.partitions else { return Ok(()) };
        let Some(stream) = partitions.held.keys().next_back().cloned() else { return Ok(()) };
        partitions.leaving = Some(stream.clone());
        for name in self.lanes.of_stream(&stream) {
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.leaving = true;
            }
        }
        self.give_back(&stream, false).await?;
        self.hand_over().await
    }

    /// Lets go of the partition that is to leave, once none of its attempts runs.
    async fn hand_over(&mut self) -> Result<(), Trouble> {
        let Some(stream) = self.partitions.as_ref().and_then(|partitions| partitions.leaving.clone()) else {
            return Ok(());
        };
        let lanes = self.lanes.of_stream(&stream);
        if self.line.places().any(|((lane, _), pending)| pending.is_running() && lanes.contains(lane)) {
            return Ok(());
        }
        self.settle().await?;
        self.give_back(&stream, true).await?;
        self.lose_partition(&stream);
        self.at(&stream, async |door, names, me| door.let_go(&names, me).await).await?;
        tracing::info!(%stream, group = %self.told.group, "a partition is left to another consumer");
        Ok(())
    }

    /// Forgets a partition and what is pending of it, and cuts its attempts off: the next holder claims it. An attempt is
    /// forgotten only when it has ended, so that its events do not begin again beside it if the partition comes back.
    fn lose_partition(&mut self, stream: &Arc<str>) {
        if let Some(partitions) = &mut self.partitions {
            partitions.held.remove(stream);
            partitions.leaving.take_if(|leaving| leaving == stream);
        }
        let lanes = self.lanes.of_stream(stream);
        self.attempts.cut_off(&lanes);
        let places: Vec<_> = self
            .line
            .places()
            .filter(|((lane, _), pending)| lanes.contains(lane) && !pending.is_running())
            .map(|(place, _)| place.clone())
            .collect();
        for place in places {
            self.forget(&place);
        }
        for lane in lanes {
            self.lanes.remove(&lane);
        }
    }

    /// Takes or keeps the right to read a partition.
    async fn hold(&mut self, stream: &Arc<str>) -> Result<Right, Trouble> {
        let (now, lease) = (Instant::now(), self.told.settings.claim_after);
        let right = self.at(stream, async |door, names, me| door.hold(&names, me, lease).await).await?;
        if right != Right::Others {
            // Whoever read it before may be frozen, with a read that still waits.
            if !self.at(stream, async |door, names, me| door.take_reader(&names, me).await).await? {
                self.at(stream, async |door, names, me| door.let_go(&names, me).await).await?;
                return Ok(Right::Others);
            }
            if let Some(partitions) = &mut self.partitions {
                partitions.held.insert(stream.clone(), now + lease);
            }
        }
        Ok(right)
    }

    pub(super) async fn let_go_of_all(&mut self) -> Result<(), Trouble> {
        let Some(partitions) = &self.partitions else { return Ok(()) };
        let (held, streams) = (partitions.held.keys().cloned().collect::<Vec<_>>(), partitions.streams.clone());
        for stream in held {
            self.at(&stream, async |door, names, me| door.let_go(&names, me).await).await?;
        }
        self.at(&streams[0], async |door, names, me| door.unregister(&names, me).await).await
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        for (partitions, consumers) in [(8, 1), (8, 2), (8, 3), (4, 3), (2, 5), (1, 1)] {
            let shares: Vec<_> = (0..consumers).map(|before| share(partitions, consumers, before)).collect();
            assert_eq!(shares.iter().sum::<usize>(), partitions, "{shares:?}");
            assert!(shares.iter().max() <= shares.iter().min().map(|least| least + 1).as_ref(), "{shares:?}");
        }
    }
}
