//! Order across processes: each partition of a topic is read by one consumer at a time.
//!
//! The right to read a partition is a key that expires. Whoever takes it over from somebody who was silent first ends that
//! one's connection, so that a reader that was frozen cannot be given entries any more when it wakes up; then takes over what
//! was pending; then reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Consumer;
use super::stream::Trouble;

/// The partitions of a topic, and which of them are ours.
#[derive(Debug)]
pub(super) struct Partitions {
    /// The first one's name also names the register of consumers.
    streams: Vec<Arc<str>>,
    /// Until when we may read each of ours.
    held: BTreeMap<Arc<str>, Instant>,
    looked: Option<Instant>,
}

impl Partitions {
    pub(super) fn of(topic: &str, count: u16) -> Self {
        let streams = (0..count).map(|nth| crate::partition::name(topic, nth).into()).collect();
        Self { streams, held: BTreeMap::new(), looked: None }
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &Arc<str>> {
        self.streams.iter()
    }

    pub(super) fn look_again(&mut self) {
        self.looked = None;
    }
}

impl Consumer {
    /// Keeps the partitions that are ours, and takes our share of those that are free.
    pub(super) async fn share(&mut self, now: Instant) -> Result<(), Trouble> {
        let lease = self.settings.claim_after;
        let Some(partitions) = &mut self.partitions else { return Ok(()) };
        // Whoever was frozen for longer than the lease has lost them, whatever Redis says by now.
        let late: Vec<Arc<str>> =
            partitions.held.iter().filter(|(_, until)| **until <= now).map(|(stream, _)| stream.clone()).collect();
        let time =
            partitions.looked.is_none_or(|at| now.duration_since(at) >= (lease / 6).min(Duration::from_secs(1)));
        if time {
            partitions.looked = Some(now);
        }
        if !late.is_empty() {
            self.end_reads().await?;
        }
        for stream in late {
            tracing::warn!(%stream, group = %self.group, "a partition was lost: this consumer was silent for too long");
            self.lose_partition(&stream);
        }
        if !time {
            return Ok(());
        }
        let ours = self
            .partitions
            .as_ref()
            .map(|partitions| partitions.held.keys().cloned().collect::<Vec<_>>())
            .unwrap_or_default();
        for stream in ours {
            if !self.hold(&stream, now).await? {
                tracing::warn!(%stream, group = %self.group, "a partition was lost to another consumer");
                self.end_reads().await?;
                self.lose_partition(&stream);
            }
        }
        let Some(partitions) = &self.partitions else { return Ok(()) };
        let (streams, held) = (partitions.streams.clone(), partitions.held.len());
        let register = format!("{}:{}:consumers", streams[0], self.group);
        let consumers =
            self.at(&streams[0], async |stream, _, me| stream.register(&register, me, lease).await).await?;
        let share = streams.len().div_ceil(consumers.max(1));
        if held > share {
            self.give_partition_back().await?;
        } else if held < share {
            self.take_partitions(share - held, &streams, now).await?;
        }
        Ok(())
    }

    async fn take_partitions(&mut self, wanted: usize, streams: &[Arc<str>], now: Instant) -> Result<(), Trouble> {
        let mut taken = 0;
        for stream in streams {
            let ours = self.partitions.as_ref().is_some_and(|partitions| partitions.held.contains_key(stream));
            if taken == wanted || ours || !self.hold(stream, now).await? {
                continue;
            }
            taken += 1;
            // A read that waits does not know of it.
            self.end_reads().await?;
            self.add_lanes(stream);
            for lane in self
                .lanes
                .iter()
                .filter(|(_, lane)| lane.stream == *stream)
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>()
            {
                self.at(&lane, async |door, names, _| door.create_group(names.lane, names.group, "0").await).await?;
                // Everything that is pending is ours now, however short ago its reader was heard of.
                while self.adopt_from(&lane, Duration::ZERO, 1_000).await? {}
            }
            tracing::info!(%stream, group = %self.group, "a partition is ours");
        }
        Ok(())
    }

    /// Gives one partition to whoever has fewer, once none of its events is in hand.
    async fn give_partition_back(&mut self) -> Result<(), Trouble> {
        let Some(partitions) = &self.partitions else { return Ok(()) };
        let idle = partitions.held.keys().rev().find(|stream| {
            !self.line.places().any(|((lane, _), held)| {
                held.is_running() && self.lanes.get(lane).is_some_and(|lane| lane.stream == **stream)
            })
        });
        let Some(stream) = idle.cloned() else { return Ok(()) };
        self.end_reads().await?;
        self.lose_partition(&stream);
        let holder = format!("{stream}:{}:holder", self.group);
        self.at(&stream, async |door, _, me| door.let_go(&holder, me).await).await?;
        tracing::info!(%stream, group = %self.group, "a partition is left to another consumer");
        Ok(())
    }

    /// Forgets a partition, and what is held of it: the next holder takes it over.
    fn lose_partition(&mut self, stream: &Arc<str>) {
        if let Some(partitions) = &mut self.partitions {
            partitions.held.remove(stream);
        }
        let lanes: Vec<_> =
            self.lanes.iter().filter(|(_, lane)| lane.stream == *stream).map(|(name, _)| name.clone()).collect();
        let places: Vec<_> = self
            .line
            .places()
            .filter(|((lane, _), _)| lanes.contains(lane))
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
    async fn hold(&mut self, stream: &Arc<str>, now: Instant) -> Result<bool, Trouble> {
        let (lease, holder) = (self.settings.claim_after, format!("{stream}:{}:holder", self.group));
        let held = self.at(stream, async |door, _, me| door.hold(&holder, me, lease).await).await?;
        if held {
            // Whoever read it before may be frozen, with a read that still waits.
            let reader = format!("{stream}:{}:reader", self.group);
            self.at(stream, async |door, _, me| door.take_reader(&reader, me).await).await?;
            if let Some(partitions) = &mut self.partitions {
                partitions.held.insert(stream.clone(), now + lease);
            }
        }
        Ok(held)
    }

    pub(super) async fn let_go_of_all(&mut self) -> Result<(), Trouble> {
        let Some(partitions) = &self.partitions else { return Ok(()) };
        let (held, streams) = (partitions.held.keys().cloned().collect::<Vec<_>>(), partitions.streams.clone());
        for stream in held {
            let holder = format!("{stream}:{}:holder", self.group);
            self.at(&stream, async |door, _, me| door.let_go(&holder, me).await).await?;
        }
        let register = format!("{}:{}:consumers", streams[0], self.group);
        self.at(&streams[0], async |stream, _, me| stream.unregister(&register, me).await).await
    }
}
