//! Rounds for the services: while a site changes, whoever brings it to its readers is killed, frozen and stopped, and their stores
//! fail. In the end of each round all is as the site shows it.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use tokio::time::sleep;

use crate::{Chance, Far, Program, Shown, Signal, Works};

/// Lists and pages are looked at again at once.
const LISTS: &str = "poll_min = \"1s\"\npoll_max = \"1s\"";
/// Articles that stay, so that a removal is no sign of a broken site.
const QUIET: usize = 12;
/// So many answers are wrong before the right one comes.
const WRONG_ANSWERS: usize = 5;

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// One thing that goes wrong with a service or with its store, and is mended a while later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Mishap {
    KillRelay,
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
    CutSearch,
    FreezeSearch,
    SlowSearch,
    BusySearch,
    RubbishSearch,
    FailSearchTask,
    KillRedis,
    FlushRedis,
    KillPostgres,
}

/// Two mishaps of one round do not strike at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Program(Program),
    Store,
    Search,
    Redis,
    Postgres,
}

/// What is done.
enum Deed {
    Kill,
    Freeze,
    Stop,
    Other,
}

impl Mishap {
    pub const ALL: [Self; 24] = [
        Self::KillRelay,
        Self::KillFallah,
        Self::FreezeFallah,
        Self::StopFallah,
        Self::KillHasad,
        Self::FreezeHasad,
        Self::StopHasad,
        Self::KillBisan,
        Self::FreezeBisan,
        Self::StopBisan,
        Self::KillStore,
        Self::CutStore,
        Self::FreezeStore,
        Self::SlowStore,
        Self::LoseStoreReply,
        Self::CutSearch,
        Self::FreezeSearch,
        Self::SlowSearch,
        Self::BusySearch,
        Self::RubbishSearch,
        Self::FailSearchTask,
        Self::KillRedis,
        Self::FlushRedis,
        Self::KillPostgres,
    ];

    /// What happens, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::KillRelay => "the relay is killed",
            Self::KillFallah => "the scraper is killed",
            Self::FreezeFallah => "the scraper is frozen",
            Self::StopFallah => "the scraper is asked to stop",
            Self::KillHasad => "the archive is killed",
            Self::FreezeHasad => "the archive is frozen",
            Self::StopHasad => "the archive is asked to stop",
            Self::KillBisan => "the reader's side is killed",
            Self::FreezeBisan => "the reader's side is frozen",
            Self::StopBisan => "the reader's side is asked to stop",
            Self::KillStore => "the object store is killed",
            Self::CutStore => "connections to the object store are cut",
            Self::FreezeStore => "the network to the object store is gone",
            Self::SlowStore => "the network to the object store is slow",
            Self::LoseStoreReply => "a reply of the object store is lost after the deed",
            Self::CutSearch => "connections to the search server are cut",
            Self::FreezeSearch => "the network to the search server is gone",
            Self::SlowSearch => "the network to the search server is slow",
            Self::BusySearch => "the search server says that it is busy",
            Self::RubbishSearch => "the search server answers what is no answer",
            Self::FailSearchTask => "a task of the search server fails",
            Self::KillRedis => "Redis is killed",
            Self::FlushRedis => "Redis is flushed",
            Self::KillPostgres => "Postgres crashes",
        }
    }

    fn place(self) -> Place {
        match self {
            Self::KillRelay => Place::Program(Program::Relay),
            Self::KillFallah | Self::FreezeFallah | Self::StopFallah => Place::Program(Program::Fallah),
            Self::KillHasad | Self::FreezeHasad | Self::StopHasad => Place::Program(Program::Hasad),
            Self::KillBisan | Self::FreezeBisan | Self::StopBisan => Place::Program(Program::Bisan),
            Self::KillStore | Self::CutStore | Self::FreezeStore | Self::SlowStore | Self::LoseStoreReply => {
                Place::Store
            }
            Self::CutSearch | Self::FreezeSearch | Self::SlowSearch => Place::Search,
            Self::BusySearch | Self::RubbishSearch | Self::FailSearchTask => Place::Search,
            Self::KillRedis | Self::FlushRedis => Place::Redis,
            Self::KillPostgres => Place::Postgres,
        }
    }

    fn deed(self) -> Deed {
        match self {
            Self::KillRelay | Self::KillFallah | Self::KillHasad | Self::KillBisan => Deed::Kill,
            Self::FreezeFallah | Self::FreezeHasad | Self::FreezeBisan => Deed::Freeze,
            Self::StopFallah | Self::StopHasad | Self::StopBisan => Deed::Stop,
            _ => Deed::Other,
        }
    }

    /// One to three mishaps at different places.
    fn draw(chance: &mut Chance) -> Vec<Self> {
        let mut drawn: Vec<Self> = vec![];
        for _ in 0..=chance.below(3) {
            let mishap = Self::ALL[chance.below(Self::ALL.len() as u64) as usize];
            if drawn.iter().all(|other| other.place() != mishap.place()) {
                drawn.push(mishap);
            }
        }
        drawn
    }
}

/// The end of a round.
#[derive(Debug)]
pub struct Service {
    pub mishaps: Vec<Mishap>,
    /// Articles that came, changed or went.
    pub changes: usize,
    /// From when the last mishap was mended until everything was as it should be.
    pub rest: Duration,
    pub took: Duration,
    /// What is not as it should be, one sentence for each finding.
    pub findings: Vec<String>,
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

    /// One round: changes and mishaps, everything mended, rest, and what is not as it should be after so long without progress.
    pub async fn round(&mut self, seed: u64, patience: Duration) -> Service {
        let (began, mut chance) = (Instant::now(), Chance::seeded(seed));
        self.rounds += 1;
        let mishaps = Mishap::draw(&mut chance);
        let mut changes = self.change(&mut chance, 0);
        for mishap in &mishaps {
            pause(&mut chance, 400).await;
            self.strike(*mishap, &mut chance).await;
        }
        changes += self.change(&mut chance, 1);
        pause(&mut chance, 1_200).await;
        for mishap in &mishaps {
            self.mend(*mishap).await;
        }
        changes += self.change(&mut chance, 2);
        let mended = Instant::now();
        let mut findings = self.until_right(patience).await;
        let rest = mended.elapsed();
        findings.extend(self.buried().await);
        Service { mishaps, changes, rest, took: began.elapsed(), findings }
    }

    /// The end of a run: everything stops in order, and each program's own check finds nothing.
    pub async fn close(mut self) -> Vec<String> {
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
        self.shown.assert_each_content_once(&self.works).await;
        findings
    }

    /// What each program has said.
    pub fn logs(&self) -> Vec<(String, String)> {
        Program::ALL.map(|program| (program.name().to_owned(), self.works.running(program).log())).into()
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

    async fn strike(&mut self, mishap: Mishap, chance: &mut Chance) {
        if let Place::Program(program) = mishap.place() {
            let child = self.works.running(program);
            return match mishap.deed() {
                Deed::Kill => child.kill_9(),
                Deed::Freeze => child.signal(Signal::Stop),
                _ => child.signal(Signal::Term),
            };
        }
        let (far, delay) = (self.far(), Duration::from_millis(1 + chance.below(60)));
        let double = far.search.double();
        match mishap {
            Mishap::KillStore => far.s3.kill(),
            Mishap::CutStore => far.s3_wire.refuse(),
            Mishap::FreezeStore => far.s3_wire.freeze(),
            Mishap::SlowStore => far.s3_wire.slow(delay),
            Mishap::LoseStoreReply => drop(far.s3_wire.lose_reply(1 + chance.below(8) as usize)),
            Mishap::CutSearch => far.search_wire.refuse(),
            Mishap::FreezeSearch => far.search_wire.freeze(),
            Mishap::SlowSearch => far.search_wire.slow(delay),
            Mishap::BusySearch => double.answer("documents", 503, None, WRONG_ANSWERS),
            Mishap::RubbishSearch => double.answer_rubbish("documents", WRONG_ANSWERS),
            Mishap::FailSearchTask => double.fail_tasks("internal", "internal", 1),
            Mishap::KillRedis => self.works.stage.redis.kill(),
            Mishap::FlushRedis => drop(self.works.stage.redis.command(&["FLUSHALL"]).await),
            Mishap::KillPostgres => self.works.stage.postgres.kill(),
            _ => unreachable!("programs were dealt with before"),
        }
    }

    async fn mend(&mut self, mishap: Mishap) {
        if let Place::Program(program) = mishap.place() {
            match mishap.deed() {
                Deed::Freeze => self.works.running(program).signal(Signal::Cont),
                _ => {
                    self.works.running_mut(program).wait().await;
                    self.start(program);
                }
            }
            return;
        }
        let far = self.far();
        match mishap.place() {
            Place::Store if mishap == Mishap::KillStore => far.s3.restart().await,
            Place::Store => {
                far.s3_wire.slow(Duration::ZERO);
                far.s3_wire.thaw();
                far.s3_wire.accept();
            }
            Place::Search => {
                far.search_wire.slow(Duration::ZERO);
                far.search_wire.thaw();
                far.search_wire.accept();
            }
            Place::Redis if mishap == Mishap::KillRedis => self.works.stage.redis.restart().await,
            Place::Postgres => self.works.stage.postgres.restart().await,
            _ => {}
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

async fn pause(chance: &mut Chance, most_ms: u64) {
    sleep(Duration::from_millis(chance.below(most_ms))).await;
}
