//! The compare-and-set append: Redis takes a batch exactly after what it has, or not at all.
//!
//! One pipeline a batch: `MULTI, XADD ..., EXEC, WATCH, XINFO`. The `WATCH` and `XINFO` at its end open the next batch and
//! cost no round trip: the top is read *under* the watch, so if it is the top we expect, and nobody has appended, trimmed
//! or flushed since, `EXEC` runs; else it answers nil and nothing was sent. `MULTI` matters: in a bare pipeline entry 5
//! can be refused for lack of memory and 6 be taken, and then 5 can never follow. `NOMKSTREAM` matters: a stream that
//! vanished answers nil instead of beginning silently in the middle.
//!
//! The connection is ours alone and is never repaired: whatever breaks it, the next one starts by asking for the tops.

use std::collections::{BTreeSet, HashMap};

use outbox::{EntryId, Envelope};
use redis::{Cmd, Pipeline, Value, cmd, pipe};

use crate::config::Server;
use crate::fault::{Error, Fault, Outage};
use crate::lanes::Top;
use crate::replies::{Appended, as_error, read_top, read_transaction};
use crate::wires::{To, Wires};

/// Notices of dead letters are kept to about so many; the dead letters themselves lie in Postgres.
const NOTICES_MAX: usize = 10_000;

/// One entry on its way to a stream.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) stream: &'a str,
    pub(crate) id: EntryId,
    pub(crate) envelope: &'a Envelope,
}

pub(crate) struct Appender {
    pub(crate) wires: Wires,
    /// The streams under watch, with the top that was read under it.
    pub(crate) watched: HashMap<String, Top>,
}

impl Appender {
    pub(crate) async fn connect(client: &redis::Client, server: &Server) -> Result<Self, Error> {
        let mut appender = Self { wires: Wires::connect(client, server).await?, watched: HashMap::new() };
        appender.check().await?;
        Ok(appender)
    }

    /// What no waiting will mend: a server too old, or one that throws streams away to make room.
    async fn check(&mut self) -> Result<(), Error> {
        let info = self.wires.info().await?;
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let version = field("redis_version");
        if version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major < 7) {
            return Err(Error::Unusable(format!("Redis {version} is too old: 7.0 or newer is needed")));
        }
        let policy = field("maxmemory_policy");
        if policy.starts_with("allkeys") {
            return Err(Error::Unusable(format!(
                "Redis's maxmemory-policy is {policy}, which throws away whole streams when memory is short: set noeviction"
            )));
        }
        if field("role") == "slave" {
            return Err(Outage("this server is a read-only replica".to_owned()).into());
        }
        if field("cluster_enabled") == "1" {
            self.wires.spread().await?;
        }
        Ok(())
    }

    /// Reads tops, and watches nothing: a watch costs Redis more, the more there are.
    pub(crate) async fn look(&mut self, streams: &[String]) -> Result<Vec<Top>, Outage> {
        // What an earlier watch saw is older than these answers.
        self.watched.retain(|stream, _| !streams.contains(stream));
        let replies = self.ask_each(streams, |pipeline, stream| {
            pipeline.cmd("XINFO").arg("STREAM").arg(stream);
        });
        replies.await?.iter().map(read_top).collect()
    }

    /// Reads tops, and watches their streams from here on.
    pub(crate) async fn tops(&mut self, streams: &[String]) -> Result<Vec<Top>, Outage> {
        let replies =
            self.ask_each(streams, |pipeline, stream| add_watch(pipeline, [stream.as_str()].into_iter())).await?;
        self.take_watch(streams.iter().map(String::as_str), &replies)
    }

    /// Reads one top, and watches nothing but its stream: a change to any other no longer breaks the next transaction.
    pub(crate) async fn watch_only(&mut self, stream: &str) -> Result<(), Outage> {
        let mut pipeline = pipe();
        pipeline.cmd("UNWATCH");
        add_watch(&mut pipeline, [stream].into_iter());
        let replies = self.send(stream, &pipeline).await?;
        self.unwatched(stream);
        self.take_watch([stream].into_iter(), &replies[1..])?;
        Ok(())
    }

    /// The top of a stream, if it is under watch.
    pub(crate) fn watched(&self, stream: &str) -> Option<&Top> {
        self.watched.get(stream)
    }

    /// Appends entries, in their order, if every watch on their streams still holds. In a cluster each stream is a transaction
    /// of its own.
    pub(crate) async fn append(&mut self, entries: &[Entry<'_>]) -> Result<Appended, Outage> {
        let mut all = vec![];
        for portion in self.wires.portions(entries, |one, other| one.stream == other.stream) {
            all.push((portion.len(), self.append_together(portion).await?));
        }
        Ok(Appended::joined(all))
    }

    async fn append_together(&mut self, entries: &[Entry<'_>]) -> Result<Appended, Outage> {
        let mut pipeline = Pipeline::with_capacity(entries.len() + 8);
        pipeline.add_command(cmd("MULTI"));
        let mut streams: Vec<&str> = Vec::new();
        for entry in entries {
            if streams.last() != Some(&entry.stream) {
                streams.push(entry.stream);
            }
            let mut xadd = Cmd::with_capacity(18, entry.envelope.bytes() + entry.stream.len() + 128);
            xadd.arg("XADD").arg(entry.stream).arg("NOMKSTREAM").arg(entry.id.to_string());
            add_fields(&mut xadd, entry.envelope);
            pipeline.add_command(xadd);
        }
        pipeline.add_command(cmd("EXEC"));
        add_watch(&mut pipeline, streams.iter().copied());

        let replies = self.send(streams[0], &pipeline).await?;
        let (transaction, rest) = replies.split_at(entries.len() + 2);
        let appended = read_transaction(transaction);
        self.unwatched(streams[0]); // EXEC ends every watch
        self.take_watch(streams.into_iter(), rest)?;
        appended
    }

    /// Appends entries, in their order, where others keep breaking the watch: a script compares and appends in one go. It
    /// costs Redis more, and nobody can come between.
    pub(crate) async fn append_by_script(&mut self, entries: &[&Entry<'_>]) -> Result<Appended, Outage> {
        let mut all = vec![];
        for portion in self.wires.portions(entries, |one, other| one.stream == other.stream) {
            all.push((portion.len(), self.append_together_by_script(portion).await?));
        }
        Ok(Appended::joined(all))
    }

    async fn append_together_by_script(&mut self, entries: &[&Entry<'_>]) -> Result<Appended, Outage> {
        let streams: Vec<&str> =
            entries.iter().map(|entry| entry.stream).collect::<BTreeSet<_>>().into_iter().collect();
        let mut script = cmd("EVAL");
        script.arg(include_str!("append.lua")).arg(streams.len()).arg(&streams);
        for stream in &streams {
            match self.watched.get(*stream) {
                Some(Top::At(top)) => script.arg(top.to_string()),
                _ => return Ok(Appended::None),
            };
        }
        for entry in entries {
            let nth = streams.binary_search(&entry.stream).expect("every entry's stream is among them");
            script.arg(nth + 1).arg(entry.id.to_string()).arg(entry.envelope.fields().count() * 2);
            add_fields(&mut script, entry.envelope);
        }
        let mut pipeline = pipe();
        pipeline.add_command(script);
        pipeline.cmd("UNWATCH"); // what we changed ourselves breaks our watch, too
        add_watch(&mut pipeline, streams.iter().copied());
        let replies = self.send(streams[0], &pipeline).await?;
        self.unwatched(streams[0]);
        self.take_watch(streams.into_iter(), &replies[2..])?;
        match (&replies[0], as_error(&replies[0])) {
            (_, Some(Fault::Outage(outage))) => Err(outage),
            (Value::Int(1), _) => Ok(Appended::All),
            // Whatever it did is seen by the tops.
            _ => Ok(Appended::None),
        }
    }

    /// Tells whoever listens on `<stream>:dead` of a dead letter. A notice: the dead letter itself lies in Postgres.
    pub(crate) async fn notice(&mut self, entry: &Entry<'_>, reason: &str, attempts: i32) -> Result<(), Outage> {
        let mut xadd = cmd("XADD");
        let notices = format!("{}:dead", entry.stream);
        xadd.arg(&notices).arg("MAXLEN").arg("~").arg(NOTICES_MAX).arg("*");
        xadd.arg("seq").arg(entry.id.seq).arg("attempts").arg(attempts).arg("reason").arg(reason);
        // Without the payload: it may be what was too large.
        for (name, value) in entry.envelope.fields().filter(|(name, _)| !["data", "headers"].contains(name)) {
            xadd.arg(name).arg(value.as_bytes());
        }
        let mut pipeline = pipe();
        pipeline.add_command(xadd);
        match self.wires.send(To::Key(&notices), &pipeline).await?.first() {
            Some(Value::ServerError(error)) => match Fault::of(error) {
                Fault::Outage(outage) => Err(outage),
                fault => {
                    tracing::warn!(stream = entry.stream, ?fault, "no notice of a dead letter could be given");
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }

    /// At the connection under whose watch a stream is.
    pub(crate) async fn send(&mut self, stream: &str, pipeline: &Pipeline) -> Result<Vec<Value>, Outage> {
        self.wires.send(To::Stream(stream), pipeline).await
    }

    /// The same question of each stream, with as few round trips as there are connections.
    pub(crate) async fn ask_each(
        &mut self,
        streams: &[String],
        add: impl Fn(&mut Pipeline, &String),
    ) -> Result<Vec<Value>, Outage> {
        let mut replies = vec![];
        for portion in self.wires.portions(streams, |_, _| false) {
            let mut pipeline = pipe();
            portion.iter().for_each(|stream| add(&mut pipeline, stream));
            replies.extend(self.send(&portion[0], &pipeline).await?);
        }
        Ok(replies)
    }

    /// The connection of this stream watches nothing any more.
    pub(crate) fn unwatched(&mut self, stream: &str) {
        if self.wires.are_many() {
            self.watched.remove(stream);
        } else {
            self.watched.clear();
        }
    }

    /// Reads the replies to `add_watch`.
    pub(crate) fn take_watch<'a>(
        &mut self,
        streams: impl Iterator<Item = &'a str>,
        replies: &[Value],
    ) -> Result<Vec<Top>, Outage> {
        let tops = streams.zip(replies.chunks_exact(2)).map(|(stream, pair)| {
            let top = match as_error(&pair[0]) {
                Some(Fault::Outage(outage)) => return Err(outage),
                Some(Fault::Refusal(reason)) => Top::Refused(reason),
                Some(Fault::Passed) | None => read_top(&pair[1])?,
            };
            self.watched.insert(stream.to_owned(), top.clone());
            Ok(top)
        });
        tops.collect()
    }
}

fn add_fields(command: &mut Cmd, envelope: &Envelope) {
    for (name, value) in envelope.fields() {
        command.arg(name).arg(value.as_bytes());
    }
}

/// One `WATCH` a stream, since one that names several is refused as a whole.
pub(crate) fn add_watch<'a>(pipeline: &mut Pipeline, streams: impl Iterator<Item = &'a str>) {
    for stream in streams {
        pipeline.cmd("WATCH").arg(stream);
        pipeline.cmd("XINFO").arg("STREAM").arg(stream);
    }
}
