//! The theatre: servers, wires and processes, and one round after another on them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

use super::cast::{Cast, Places};
use super::checker::{Earlier, Verdict, judge};
use super::fault::Fault;
use super::heard::Heard;
use super::history::History;
use super::pen::{Pens, Told};
use super::rounds::{Cue, Family, Plan, Report, Rounds, Script, Wrong};
use super::watch::Watch;
use super::witness::Witness;
use crate::{Child, Effects, FileEffects, Postgres, Proxy, Redis};

/// So many of each, so that one can fail while another works.
const RELAYS: usize = 2;
const CONSUMERS_EACH: usize = 2;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Servers and processes that live through all rounds of a run.
pub struct Theatre<C> {
    pub(super) cast: C,
    pub(super) postgres: Postgres,
    /// The one in use, and one that may take over.
    pub(super) redis: [Redis; 2],
    pub(super) primary: usize,
    /// Of relays to Redis and to Postgres, of consumers to Redis and to Postgres.
    pub(super) wires: [Proxy; 4],
    pub(super) actors: Vec<Actor>,
    pub(super) witness: Witness,
    pub(super) watch: Watch,
    heard: Heard,
    earlier: Earlier,
    rounds: u64,
    database: String,
    _folder: TempDir,
}

pub(super) struct Actor {
    /// None: a relay.
    group: Option<&'static str>,
    pub(super) child: Child,
    /// So much of its log is known.
    heard: usize,
}

impl Actor {
    pub(super) fn is_relay(&self) -> bool {
        self.group.is_none()
    }
}

impl<C: Cast> Theatre<C> {
    /// Opens with everything at work.
    pub async fn open(cast: C) -> Self {
        // A crash of Postgres may not take what it acknowledged.
        let safe = [("synchronous_commit", "on"), ("max_connections", "200")];
        let alone = ["--auto-aof-rewrite-percentage", "0", "--repl-diskless-sync-delay", "0"];
        let (postgres, one, other) =
            tokio::join!(Postgres::start_with(&safe), Redis::start_with(&alone), Redis::start_with(&alone));
        let url = postgres.database().await;
        let mut db = PgConnection::connect(&url).await.expect("the server has just answered");
        outbox::migrate(&mut db, "public").await.expect("a fresh database can be migrated");
        let pool =
            PgPoolOptions::new().max_connections(40).connect(&url).await.expect("the server has just answered");
        Effects::make(&pool).await;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("effects");
        let wires = [
            Proxy::to(one.port()).await,
            Proxy::to(postgres.port()).await,
            Proxy::to(one.port()).await,
            Proxy::to(postgres.port()).await,
        ];
        let witness = Witness {
            pool,
            file: FileEffects::at(&path),
            path,
            groups: cast.groups(),
            streams: cast.streams(),
            letters_in_redis: cast.letters_in_redis(),
            seen: super::witness::Seen::default(),
        };
        let one_port = one.port();
        let mut theatre = Self {
            cast,
            postgres,
            redis: [one, other],
            primary: 0,
            wires,
            actors: vec![],
            watch: Watch::begin(witness.streams.clone(), one_port),
            witness,
            heard: Heard::default(),
            earlier: Earlier::new(),
            rounds: 0,
            database: url,
            _folder: folder,
        };
        let consumers = theatre.cast.groups().into_iter().flat_map(|group| [Some(group); CONSUMERS_EACH]);
        for group in std::iter::repeat_n(None, RELAYS).chain(consumers) {
            let child = theatre.call(group);
            theatre.actors.push(Actor { group, child, heard: 0 });
        }
        theatre
    }

    pub(super) fn redis(&self) -> &Redis {
        &self.redis[self.primary]
    }

    /// An actor takes its place again.
    pub(super) fn enter(&mut self, nth: usize) {
        self.hear();
        let group = self.actors[nth].group;
        self.actors[nth] = Actor { group, child: self.call(group), heard: 0 };
    }

    /// Takes in what consumers have said.
    fn hear(&mut self) {
        for actor in &mut self.actors {
            let Some(group) = actor.group else { continue };
            let more = actor.child.log_from(actor.heard);
            actor.heard += more.len();
            self.heard.take_in(group, &more);
        }
    }

    fn call(&self, group: Option<&'static str>) -> Child {
        let (redis, postgres) = if group.is_none() { (0, 1) } else { (2, 3) };
        let port = |server: u16, wire: usize| (format!(":{server}/"), format!(":{}/", self.wires[wire].port()));
        let (from, to) = port(self.postgres.port(), postgres);
        let places = Places {
            database_url: self.database.replace(&from, &to),
            redis_url: format!("redis://127.0.0.1:{}/", self.wires[redis].port()),
            file: self.witness.path.clone(),
        };
        Child::spawn(match group {
            None => self.cast.relay(&places),
            Some(group) => self.cast.consumer(&places, group),
        })
    }

    /// Waits until each event has come to its end in each group, or nothing moves any more.
    async fn until_rest(&mut self, told: Told, plan: &Plan<Fault>) -> History {
        let present = self.witness.present(&told.doubtful).await;
        let mut committed = told.acknowledged;
        committed.extend(told.doubtful.into_iter().filter(|event| present.contains(&event.id)));
        let groups = self.witness.groups.iter().map(|group| (*group).to_owned()).collect();
        let mut history = History { groups, committed, ..History::default() };
        let (mut moved, mut before, mut entries) = (Instant::now(), (0, 0), BTreeSet::new());
        loop {
            history.effects = self.witness.effects().await;
            history.buried = self.witness.letters(&self.redis[self.primary]).await;
            let now = (history.effects.len(), history.buried.len());
            if now != before {
                (moved, before) = (Instant::now(), now);
            }
            let is_over = is_complete(&history) || moved.elapsed() > plan.patience;
            if is_over || plan.until.is_some() {
                entries.extend(self.watch.take());
                entries.extend(self.witness.entries(&self.redis[self.primary]).await);
                history.entries = entries.iter().cloned().collect();
                history.attempted = self.witness.attempted().await;
                self.hear();
                (history.begun, history.blamed) = (self.heard.begun(), self.heard.blamed.clone());
                history.taken_over = self.heard.taken_over.clone();
            }
            if is_over || plan.until.is_some_and(|word| judge(&history, &self.earlier).says(word)) {
                return history;
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

impl<C: Cast> Rounds for Theatre<C> {
    type Fault = Fault;

    async fn round(&mut self, seed: u64, plan: &Plan<Fault>) -> Report<Fault> {
        let Script { cues, hold, calm, load } = plan.script(seed);
        let faults: Vec<Fault> = cues.iter().map(|cue| cue.fault).collect();
        self.rounds += 1;
        self.heard = Heard::default();
        let pens = Pens::write(&self.witness.pool, self.rounds, load);

        let mut struck = vec![];
        for Cue { fault, after, mut chance } in cues {
            sleep(after).await;
            struck.push(self.strike(fault, &mut chance).await);
        }
        sleep(hold).await;
        for fault in struck {
            self.mend(fault).await;
        }
        sleep(calm).await;
        let mended = Instant::now();
        let told = pens.rest().await;
        let mut history = self.until_rest(told, plan).await;
        // What Redis forgets of an acknowledgement or of a failure is begun once more, and nobody is to blame for it.
        if faults.iter().any(|fault| fault.family() == Family::Losses) {
            history.begun.clear();
        }
        let rest = mended.elapsed();

        self.witness.look_ahead(&self.redis[self.primary]).await;
        let verdict = judge(&history, &self.earlier);
        self.earlier.extend(history.committed.iter().map(|event| (event.id.clone(), None)));
        for entry in &history.entries {
            self.earlier.insert(entry.id.clone(), Some(entry.number.clone()));
        }
        let amounts = vec![
            ("events", history.committed.len()),
            ("effects", history.effects.len()),
            ("dead letters", history.buried.len()),
        ];
        let seen = (!verdict.is_clean()).then(|| json!({ "verdict": verdict, "history": history }));
        Report { faults, amounts, rest, verdict, seen }
    }

    fn logs(&self) -> Vec<(String, String)> {
        let name =
            |(nth, actor): (usize, &Actor)| (format!("{nth}-{}", actor.group.unwrap_or("relay")), actor.child.log());
        self.actors.iter().enumerate().map(name).collect()
    }

    async fn close(mut self) -> Verdict {
        for actor in &mut self.actors {
            actor.child.kill_9();
            actor.child.wait().await;
        }
        Verdict { duplicated: self.witness.repeated().await, ..Verdict::default() }
    }
}

/// Whether each event has taken effect or was buried, in each group.
fn is_complete(history: &History) -> bool {
    history.groups.iter().all(|group| {
        let done = history.effects.iter().filter(|effect| effect.group == *group).map(|effect| &effect.id);
        let buried = history.buried.iter().filter(|letter| letter.group == *group).map(|letter| &letter.id);
        let ended: BTreeSet<_> = done.chain(buried).collect();
        history.committed.iter().all(|event| ended.contains(&event.id))
    })
}
