//! Rounds for the services: while a site changes, whoever brings it to its readers is killed, frozen and stopped, and their stores
//! fail. In the end of each round all is as the site shows it.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use clap::ValueEnum;
use servers::port;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::checker::Verdict;
use super::fault::Tail;
use super::rounds::{Cue, Family, Plan, Report, Rounds, Script, Tempo, Wrong};
use crate::{Chance, Far, Program, Proxy, Shown, Signal, Works};

/// Lists and pages are looked at again at once.
const LISTS: &str = "poll_min = \"1s\"\npoll_max = \"1s\"";
/// Articles that stay, so that a removal is no sign of a broken site.
const QUIET: usize = 12;
/// So many answers are wrong before the right one comes.
const WRONG_ANSWERS: usize = 5;
/// After so many rounds another site is opened: one that grows and loses articles for ever is no longer like any other.
const ROUNDS_MAX: usize = 60;

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// One thing that goes wrong with a service or with its store, and is mended a while later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Mishap {
    KillRelay,
    FreezeRelay,
    StopRelay,
    KillFallah,
    FreezeFallah,
    StopFallah,
    KillHasad,
    FreezeHasad,
    StopHasad,
    KillBisan,
    FreezeBisan,
    StopBisan,
    KillStore,
    CutStore,
    FreezeStore,
    SlowStore,
    LoseStoreReply,
    BusyStore,
    CutSearch,
    FreezeSearch,
    SlowSearch,
    BusySearch,
    RubbishSearch,
    FailSearchTask,
    KillRedis,
    FillRedis,
    LoseTail,
    FlushRedis,
    KillPostgres,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Program(Program),
    Store,
    Search,
    Redis,
    Postgres,
}

/// What is done.
#[derive(Clone, Copy)]
enum Deed {
    Kill(Program),
    Freeze(Program),
    Stop(Program),
    KillStore,
    BusyStore,
    Store(Tamper),
    Search(Tamper),
    SearchSays(Nonsense),
    KillRedis,
    FillRedis,
    LoseTail,
    FlushRedis,
    KillPostgres,
}

/// What is done to a wire.
#[derive(Clone, Copy)]
enum Tamper {
    Cut,
    Freeze,
    Slow,
    LoseReply,
}

/// What a search server says that works.
#[derive(Clone, Copy)]
enum Nonsense {
    Busy,
    Rubbish,
    TaskFailed,
}

impl Mishap {
    fn about(self) -> (Deed, &'static str) {
        use Program::{Bisan, Fallah, Hasad, Relay};
        match self {
            Self::KillRelay => (Deed::Kill(Relay), "the relay is killed"),
            Self::FreezeRelay => (Deed::Freeze(Relay), "the relay is frozen"),
            Self::StopRelay => (Deed::Stop(Relay), "the relay is asked to stop"),
            Self::KillFallah => (Deed::Kill(Fallah), "the scraper is killed"),
            Self::FreezeFallah => (Deed::Freeze(Fallah), "the scraper is frozen"),
            Self::StopFallah => (Deed::Stop(Fallah), "the scraper is asked to stop"),
            Self::KillHasad => (Deed::Kill(Hasad), "the archive is killed"),
            Self::FreezeHasad => (Deed::Freeze(Hasad), "the archive is frozen"),
            Self::StopHasad => (Deed::Stop(Hasad), "the archive is asked to stop"),
            Self::KillBisan => (Deed::Kill(Bisan), "the reader's side is killed"),
            Self::FreezeBisan => (Deed::Freeze(Bisan), "the reader's side is frozen"),
            Self::StopBisan => (Deed::Stop(Bisan), "the reader's side is asked to stop"),
            Self::KillStore => (Deed::KillStore, "the object store is killed"),
            Self::CutStore => (Deed::Store(Tamper::Cut), "connections to the object store are cut"),
            Self::FreezeStore => (Deed::Store(Tamper::Freeze), "the network to the object store is gone"),
            Self::SlowStore => (Deed::Store(Tamper::Slow), "the network to the object store is slow"),
            Self::LoseStoreReply => {
                (Deed::Store(Tamper::LoseReply), "a reply of the object store is lost after the deed")
            }
            Self::BusyStore => (Deed::BusyStore, "the object store says that it is busy"),
            Self::CutSearch => (Deed::Search(Tamper::Cut), "connections to the search server are cut"),
            Self::FreezeSearch => (Deed::Search(Tamper::Freeze), "the network to the search server is gone"),
            Self::SlowSearch => (Deed::Search(Tamper::Slow), "the network to the search server is slow"),
            Self::BusySearch => (Deed::SearchSays(Nonsense::Busy), "the search server says that it is busy"),
            Self::RubbishSearch => {
                (Deed::SearchSays(Nonsense::Rubbish), "the search server answers what is no answer")
            }
            Self::FailSearchTask => (Deed::SearchSays(Nonsense::TaskFailed), "a task of the search server fails"),
            Self::KillRedis => (Deed::KillRedis, "Redis is killed"),
            Self::FillRedis => (Deed::FillRedis, "Redis is full"),
            Self::LoseTail => (Deed::LoseTail, "Redis loses the tail of its file"),
            Self::FlushRedis => (Deed::FlushRedis, "Redis is flushed"),
            Self::KillPostgres => (Deed::KillPostgres, "Postgres crashes"),
        }
    }
}

impl Wrong for Mishap {
    type Place = Place;
    const EACH_ROUND: usize = 5;
    const TEMPO: Tempo = Tempo { patience: 30, strike: 300, hold: 1_200, calm: 100 };

    fn words(self) -> &'static str {
        self.about().1
    }

    fn family(self) -> Family {
        match self.about().0 {
            Deed::Kill(_) | Deed::Freeze(_) | Deed::Stop(_) => Family::Kills,
            Deed::Store(_) | Deed::Search(_) => Family::Wires,
            Deed::KillStore | Deed::BusyStore | Deed::SearchSays(_) => Family::Outages,
            Deed::KillRedis | Deed::FillRedis | Deed::KillPostgres => Family::Outages,
            Deed::LoseTail | Deed::FlushRedis => Family::Losses,
        }
    }

    fn place(self) -> Place {
        match self.about().0 {
            Deed::Kill(program) | Deed::Freeze(program) | Deed::Stop(program) => Place::Program(program),
            Deed::KillStore | Deed::BusyStore | Deed::Store(_) => Place::Store,
            Deed::Search(_) | Deed::SearchSays(_) => Place::Search,
            Deed::KillRedis | Deed::FillRedis | Deed::LoseTail | Deed::FlushRedis => Place::Redis,
            Deed::KillPostgres => Place::Postgres,
        }
    }
}

/// What has been done, and how it is mended.
enum Struck {
    Nothing,
    Gone(Program),
    Frozen(Program),
    StoreDown,
    /// Somebody else answers in its place.
    StoreBusy(JoinHandle<()>),
    StoreWire,
    SearchWire,
    RedisDown,
    RedisFull,
    Tail(Tail),
    PostgresDown,
}

/// A site, its programs and their stores, which live through all rounds of a run.
pub struct Services {
    works: Works,
    shown: Shown,
    rounds: usize,
}

impl Services {
    /// All of it at work, with a first set of articles that has come to its readers.
    pub async fn open() -> Self {
        let mut services = Self { works: Works::open_far(LISTS).await, shown: Shown::default(), rounds: 0 };
        for nth in 0..QUIET {
            services.shown.article(
                &services.works,
                &format!("/quiet-{nth}"),
                &format!("Quiet{nth:02} of the lighthouse"),
            );
        }
        services.shown.article(&services.works, "/edited", "Edited0 of the harbour");
        services.shown.article(&services.works, "/twice", "Heads of the coin");
        for program in Program::ALL {
            services.start(program);
        }
        let findings = services.until_right(crate::deadline()).await;
        assert!(findings.is_empty(), "before anything went wrong: {findings:#?}\n{:#?}", services.logs());
        services
    }

    fn far(&self) -> &Far {
        self.works.far.as_ref().expect("it was opened so")
    }

    fn start(&mut self, program: Program) {
        let settings: &[_] = match program {
            Program::Fallah => &[("FALLAH_RECHECK_MIN", "0"), ("FALLAH_RECHECK_MAX", "3s")],
            Program::Hasad => &[("HASAD_WRITE_MAX", "2s")],
            Program::Bisan => &[("BISAN_BATCH_WAIT_MAX", "0"), ("BISAN_MEILI_TIMEOUT", "2s")],
            Program::Relay => &[],
        };
        self.works.start(program, settings);
    }

    /// What the site does meanwhile. Each address changes once in a round at most: a version that nobody saw is none.
    fn change(&mut self, chance: &mut Chance, part: usize) -> usize {
        let (works, shown, round) = (&self.works, &mut self.shown, self.rounds);
        match part {
            0 => {
                shown.article(works, &format!("/new-{round}"), &format!("New{round} of the market"));
                shown.article(works, "/edited", &format!("Edited{round} of the harbour"));
                2
            }
            1 => {
                shown.article(
                    works,
                    "/twice",
                    if round % 2 == 1 { "Tails of the coin" } else { "Heads of the coin" },
                );
                let quiet = chance.below(QUIET as u64);
                shown.article(works, &format!("/quiet-{quiet}"), &format!("Loud{round} of the lighthouse"));
                2
            }
            // What came in an earlier round goes, now and then.
            _ if round % 3 == 0 => {
                shown.gone(works, &format!("/new-{}", round - 2));
                1
            }
            _ => 0,
        }
    }

    async fn strike(&mut self, mishap: Mishap, chance: &mut Chance) -> Struck {
        let (far, works) = (self.far(), &self.works);
        let double = far.search.double();
        match mishap.about().0 {
            Deed::Kill(program) => {
                works.running(program).kill_9();
                Struck::Gone(program)
            }
            Deed::Freeze(program) => {
                works.running(program).signal(Signal::Stop);
                Struck::Frozen(program)
            }
            Deed::Stop(program) => {
                works.running(program).signal(Signal::Term);
                Struck::Gone(program)
            }
            Deed::KillStore => {
                far.s3.kill();
                Struck::StoreDown
            }
            Deed::BusyStore => {
                let (port, at_work) = busy();
                far.s3_wire.lead_to(port);
                Struck::StoreBusy(at_work)
            }
            Deed::Store(tamper) => {
                disturb(&far.s3_wire, tamper, chance);
                Struck::StoreWire
            }
            Deed::Search(tamper) => {
                disturb(&far.search_wire, tamper, chance);
                Struck::SearchWire
            }
            Deed::SearchSays(nonsense) => {
                match nonsense {
                    Nonsense::Busy => double.answer("documents", 503, None, WRONG_ANSWERS),
                    Nonsense::Rubbish => double.answer_rubbish("documents", WRONG_ANSWERS),
                    Nonsense::TaskFailed => double.fail_tasks("internal", "internal", 1),
                }
                Struck::Nothing
            }
            Deed::KillRedis => {
                works.stage.redis.kill();
                Struck::RedisDown
            }
            Deed::FillRedis => {
                works.stage.redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
                Struck::RedisFull
            }
            Deed::LoseTail => Struck::Tail(Tail::begin(&works.stage.redis)),
            Deed::FlushRedis => {
                works.stage.redis.command(&["FLUSHALL"]).await;
                Struck::Nothing
            }
            Deed::KillPostgres => {
                works.stage.postgres.kill();
                Struck::PostgresDown
            }
        }
    }

    async fn mend(&mut self, struck: Struck) {
        let (far, stage) = (self.far(), &self.works.stage);
        match struck {
            Struck::Nothing => {}
            Struck::Gone(program) => {
                self.works.running_mut(program).wait().await;
                self.start(program);
            }
            Struck::Frozen(program) => self.works.running(program).signal(Signal::Cont),
            Struck::StoreDown => far.s3.restart().await,
            Struck::StoreBusy(at_work) => {
                far.s3_wire.lead_to(far.s3.port());
                at_work.abort();
            }
            Struck::StoreWire => calm(&far.s3_wire),
            Struck::SearchWire => calm(&far.search_wire),
            Struck::RedisDown => stage.redis.restart().await,
            Struck::RedisFull => drop(stage.redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await),
            Struck::Tail(tail) => tail.lose(&stage.redis).await,
            Struck::PostgresDown => stage.postgres.restart().await,
        }
    }

    /// Waits until all is as it should be, or nothing moves any more. Returns what is not as it should be.
    async fn until_right(&self, patience: Duration) -> Vec<String> {
        let (mut moved, mut before) = (Instant::now(), vec![]);
        loop {
            let mut wrong = self.shown.not_scraped(&self.works).await;
            wrong.extend(self.shown.not_archived(&self.works).await);
            wrong.extend(self.shown.not_read(&self.works).await);
            wrong.extend(self.not_found().await);
            if wrong.is_empty() {
                return wrong;
            }
            if wrong != before {
                (moved, before) = (Instant::now(), wrong.clone());
            }
            if moved.elapsed() > patience {
                return wrong;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// How the search index differs from what the site shows.
    async fn not_found(&self) -> Vec<String> {
        let search = &self.far().search;
        // What it was told to answer wrongly may be still to come, and comes to us then.
        let body = serde_json::json!({"offset": 0, "limit": 1_000});
        let path = format!("indexes/{}/documents/fetch", search.index);
        let (_, page) = search.ask("POST", &path, Some(body)).await;
        let Some(documents) = page["results"].as_array() else {
            return vec!["the search server does not say what it has".to_owned()];
        };
        let mut found: Vec<String> =
            documents.iter().map(|document| document["title"].as_str().unwrap_or_default().to_owned()).collect();
        let mut expected: Vec<String> =
            self.shown.newest().filter_map(|(_, title, _)| Some(title?.to_owned())).collect();
        found.sort();
        expected.sort();
        let lacks =
            expected.iter().filter(|title| !found.contains(title)).map(|title| format!("no search finds {title:?}"));
        let has =
            found.iter().filter(|title| !expected.contains(title)).map(|title| format!("a search finds {title:?}"));
        let mut wrong: Vec<_> = lacks.chain(has).collect();
        if wrong.is_empty() && found != expected {
            wrong.push("a search finds something twice".to_owned());
        }
        wrong
    }

    /// Nobody's fall is an event's fault.
    async fn buried(&self) -> Vec<String> {
        let letters = "select stream || ': ' || coalesce(id, '') || ': ' || coalesce(last_error, '') from outbox
                        where dead_at is not null
                       union all
                       select group_name || ': ' || coalesce(id, '') || ': ' || reason from outbox_dead_letter";
        let buried: Vec<String> =
            sqlx::query_scalar(letters).fetch_all(&self.works.stage.pool).await.expect("Postgres is there");
        buried.into_iter().map(|letter| format!("buried: {letter}")).collect()
    }
}

impl Rounds for Services {
    type Fault = Mishap;

    async fn round(&mut self, seed: u64, plan: &Plan<Mishap>) -> Report<Mishap> {
        let mut verdict = Verdict::default();
        if self.rounds == ROUNDS_MAX {
            let before = std::mem::replace(self, Self::open().await);
            verdict.add(before.close().await);
        }
        self.rounds += 1;
        let Script { cues, hold, calm, mut load } = plan.script(seed);
        let faults = cues.iter().map(|cue| cue.fault).collect();
        let mut changes = self.change(&mut load, 0);
        let mut struck = vec![];
        for Cue { fault, after, mut chance } in cues {
            sleep(after).await;
            struck.push(self.strike(fault, &mut chance).await);
        }
        changes += self.change(&mut load, 1);
        sleep(hold).await;
        // Programs that begin want their stores to be there: whoever keeps them running would begin them again until they are.
        let (gone, others): (Vec<_>, Vec<_>) =
            struck.into_iter().partition(|struck| matches!(struck, Struck::Gone(_)));
        for struck in others.into_iter().chain(gone) {
            self.mend(struck).await;
        }
        changes += self.change(&mut load, 2);
        sleep(calm).await;
        let mended = Instant::now();
        verdict.different.extend(self.until_right(plan.patience).await);
        let rest = mended.elapsed();
        verdict.spent.extend(self.buried().await);
        Report { faults, amounts: vec![("changes", changes)], rest, verdict, seen: None }
    }

    fn logs(&self) -> Vec<(String, String)> {
        Program::ALL.map(|program| (program.name().to_owned(), self.works.running(program).log())).into()
    }

    /// Everything stops in order, and each program's own check finds nothing.
    async fn close(mut self) -> Verdict {
        let mut findings = vec![];
        for program in [Program::Fallah, Program::Hasad, Program::Bisan, Program::Relay] {
            let child = self.works.running_mut(program);
            child.signal(Signal::Term);
            let code = child.wait().await;
            if code != 0 {
                findings.push(format!("{} ended with {code} when it was asked to stop", program.name()));
            }
        }
        // What a killed archive left is swept: what the first sweep marks is gone after the second.
        let checks = [
            (Program::Hasad, &["fsck", "--json"][..]),
            (Program::Hasad, &["gc", "--grace", "0", "--json"]),
            (Program::Hasad, &["gc", "--grace", "0", "--json"]),
            (Program::Bisan, &["verify", "--full", "--json"]),
            (Program::Relay, &["verify"]),
        ];
        for (program, verb) in checks {
            let (code, said) = self.works.verb(program, verb).await;
            if code != 0 {
                findings.push(format!("{} {} ended with {code}: {said}", program.name(), verb.join(" ")));
            }
        }
        findings.extend(self.shown.not_once(&self.works).await);
        Verdict { different: findings, ..Verdict::default() }
    }
}

fn disturb(wire: &Proxy, tamper: Tamper, chance: &mut Chance) {
    match tamper {
        Tamper::Cut => wire.refuse(),
        Tamper::Freeze => wire.freeze(),
        Tamper::Slow => wire.slow(Duration::from_millis(1 + chance.below(60))),
        Tamper::LoseReply => drop(wire.lose_reply(1 + chance.below(8) as usize)),
    }
}

fn calm(wire: &Proxy) {
    wire.slow(Duration::ZERO);
    wire.thaw();
    wire.accept();
}

/// A server that says 503 to everything, as long as its task lives.
fn busy() -> (u16, JoinHandle<()>) {
    let listener = port::listener().expect("loopback has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    listener.set_nonblocking(true).expect("sockets can be made so");
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is not blocking");
    let routes = axum::Router::new().fallback(async || StatusCode::SERVICE_UNAVAILABLE);
    let at_work = tokio::spawn(async move {
        let _ = axum::serve(listener, routes).await;
    });
    (port, at_work)
}
