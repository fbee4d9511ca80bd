//! The reader's side: what it costs to bring articles into the file, and to find them there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bisan::search::{Query, Request, search_now};
use bisan::store::Filter;
use bisan::{Consume, Store, fold};
use contract::Export;
use outbox::{BatchHandler, Entry, EntryId, Envelope};
use outbox_tests::measure;
use outbox_tests::{Chance, Reading, Signal, told};
use rusqlite::{Connection, params};
use tokio::time::sleep;

use crate::options::Options;
use crate::progress;
use crate::table::{Line, Section, Target, Unit};
use outbox_tests::Samples;

const BATCH: usize = 200;
/// Words of each language; a few of them are everywhere, most are rare.
const WORDS: usize = 40_000;
const SEARCHES: usize = 1_000;
const SEARCHES_QUICK: usize = 100;

pub async fn section(options: &Options) -> Result<Section> {
    let articles = options.size(50_000, 1_000);
    let mut chance = Chance::seeded(7);
    let vocabulary = Vocabulary::new(&mut chance);
    let events: Vec<Export> = (0..articles).map(|nth| vocabulary.article(&mut chance, nth)).collect();
    let part = &events[..articles / 5];
    let (mut bare, mut handled) = (Samples::default(), Samples::default());
    for round in 1..=options.rounds() {
        progress::show(&format!("read: round {round} of {}", options.rounds()));
        bare.push(bare_upserts(part)?);
        handled.push(upserts(part).await?);
    }

    let reading = Reading::open().await;
    progress::show("read: filling the stream");
    reading.say(&events).await;
    let (streamed, peak) = from_the_stream(&reading, articles).await?;
    let store = Store::open(&reading.file())?;
    let searches = options.size(SEARCHES, SEARCHES_QUICK);
    let mixed = search(&store, (0..searches).map(|_| vocabulary.query(&mut chance)))?;
    let frequent = search(&store, vocabulary.frequent().take(searches / 10))?;
    let ms = |what: &str, value: f64| Line::new(what, Unit::Milliseconds, &Samples::one(value));
    let rate = |what: &str, samples: &Samples| Line::new(what, Unit::PerSecond, samples);
    Ok(Section {
        name: "read",
        conditions: format!(
            "{articles} made articles of 300 to 400 words, Arabic and English; batches of {BATCH}, the text index in all of \
             them, fsync at each commit; the first two rows with {} of them",
            part.len()
        ),
        lines: vec![
            rate("checked, inbox, authors, upsert, folded text", &handled).must(
                "bare upserts of the same rows, already folded",
                &bare,
                Target::AtLeast(0.6),
            ),
            rate("the same from the stream, as a process", &streamed)
                .note("from its start to the last acknowledgement"),
            Line::new("memory at most", Unit::Megabytes, &peak).target(Target::AtMost(100.0)),
            ms("search, one to three words, with snippets, p50", mixed.median()),
            ms("the same, p95", mixed.percentile(0.95)).target(Target::AtMost(30.0)),
            ms("search for the most frequent words, p95", frequent.percentile(0.95)),
        ],
    })
}

/// Words by how often they are used: the second half as often as the first, the third a third as often.
struct Vocabulary {
    arabic: Vec<String>,
    english: Vec<String>,
    weights: Vec<f64>,
}

impl Vocabulary {
    fn new(chance: &mut Chance) -> Self {
        let mut word = |letters: &[char], nth: usize| -> String {
            // Frequent words are short.
            let length = 2 + chance.below(3 + (nth as u64 + 1).ilog2() as u64 / 4);
            (0..=length).map(|_| letters[chance.below(letters.len() as u64) as usize]).collect()
        };
        let arabic: Vec<char> = "ابتثجحخدذرزسشصضطظعغفقكلمنهويةأإىئ".chars().collect();
        let english: Vec<char> = "abcdefghiklmnoprstuvwy".chars().collect();
        let words = |letters: &[char], word: &mut dyn FnMut(&[char], usize) -> String| {
            (0..WORDS).map(|nth| word(letters, nth)).collect()
        };
        let (arabic, english) = (words(&arabic, &mut word), words(&english, &mut word));
        let mut sum = 0.0;
        let weights = (1..=WORDS).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { arabic, english, weights: weights.collect() }
    }

    fn rank(&self, chance: &mut Chance) -> usize {
        let at = chance.below(1 << 53) as f64 / (1_u64 << 53) as f64 * self.weights[WORDS - 1];
        self.weights.partition_point(|sum| *sum < at).min(WORDS - 1)
    }

    fn text(&self, chance: &mut Chance, arabic: bool, words: u64) -> String {
        let mut text = String::new();
        for nth in 0..words {
            let rank = self.rank(chance);
            match arabic {
                true => {
                    let article = ["", "", "", "ال", "ال", "وال", "بال", "لل"][chance.below(8) as usize];
                    text += article;
                    text += &self.arabic[rank];
                }
                false => text += &self.english[rank],
            }
            text += if nth % 60 == 59 { ".\n\n" } else { " " };
        }
        text
    }

    fn article(&self, chance: &mut Chance, nth: usize) -> Export {
        let arabic = !nth.is_multiple_of(4);
        let (title, lead) = (self.text(chance, arabic, 8), self.text(chance, arabic, 25));
        let words = 300 + chance.below(100);
        let one = told(&format!("{nth}"), 1, title.trim(), self.text(chance, arabic, words).trim());
        let one = one.lead(lead.trim()).language(if arabic { "ar" } else { "en" });
        let one =
            one.source(["daily", "weekly", "wire"][nth % 3]).by(&format!("كاتب رقم {}", chance.below(500)), None);
        one.published(&format!("2026-{:02}-{:02}T10:00:00Z", 1 + nth % 12, 1 + nth % 28)).export()
    }

    /// What somebody types: words that are neither everywhere nor nowhere, sometimes not to their end.
    fn query(&self, chance: &mut Chance) -> String {
        let words = if chance.below(4) == 0 { &self.english } else { &self.arabic };
        let count = 1 + chance.below(3);
        let mut typed = vec![];
        for _ in 0..count {
            // Each power of ten as often as the others, from the twentieth word on.
            let rank = 20.0 * ((WORDS as f64 / 20.0).powf(chance.below(1_000) as f64 / 1_000.0));
            typed.push(words[(rank as usize).min(WORDS - 1)].clone());
        }
        if let Some(last) = typed.last_mut().filter(|last| last.chars().count() > 3 && chance.below(3) == 0) {
            last.pop();
        }
        typed.join(" ")
    }

    fn frequent(&self) -> impl Iterator<Item = String> {
        self.arabic.iter().zip(&self.english).flat_map(|(one, other)| [format!("{one} "), format!("{other} ")])
    }
}

/// Articles a second: the rows as they come out in the end, folded before, and nothing around them.
fn bare_upserts(events: &[Export]) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bare.sqlite");
    drop(Store::open_or_make(&file)?);
    let mut db = Connection::open(&file)?;
    db.execute_batch("pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -16384")?;
    let folded: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Export::ArticleUpserted(event) => Some((
                event,
                [
                    fold::text(&event.article.title),
                    fold::text(event.lead.as_deref().unwrap_or_default()),
                    fold::text(&event.article.authors[0].name),
                    fold::text(&event.article.body),
                ],
            )),
            _ => None,
        })
        .collect();
    let began = Instant::now();
    let mut change = 0_i64;
    for batch in folded.chunks(BATCH) {
        let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for (event, text) in batch {
            change += 1;
            let (origin, article) = (&event.origin, &event.article);
            let id: i64 = tx
                .prepare_cached(
                    "insert into article (source_url, source_name, version, content_hash, change, changed_at, dated_at,
                                          language, published_at, discovered_at, fetched_at, title, lead, body)
                     values (?1, ?2, ?3, ?4, ?5, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                     on conflict (source_url) do update set version = excluded.version, title = excluded.title,
                         lead = excluded.lead, body = excluded.body where excluded.version > article.version
                     returning id",
                )?
                .query_row(
                    params![
                        origin.source_url, origin.source_name, origin.version.cast_signed(), origin.content_hash, change,
                        event.language, article.published_at, origin.discovered_at, origin.fetched_at, article.title,
                        event.lead, article.body
                    ],
                    |row| row.get(0),
                )?;
            tx.prepare_cached(
                "insert into article_text (rowid, title, lead, authors, body) values (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![id, text[0], text[1], text[2], text[3]])?;
        }
        tx.commit()?;
    }
    Ok(events.len() as f64 / began.elapsed().as_secs_f64())
}

/// Articles a second: as the consumer hands them over.
async fn upserts(events: &[Export]) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let store = Store::open_or_make(&folder.path().join("bisan.sqlite"))?;
    let consume = Consume::new(store, [], std::time::Duration::from_secs(30));
    let entries: Vec<Entry> = (1..)
        .zip(events)
        .map(|(seq, event)| {
            let data = serde_json::to_value(event).expect("JSON")["data"].to_string();
            let (id, time) = (format!("event-{seq}"), std::time::SystemTime::now());
            let envelope = Envelope::new(id, event.r#type().to_owned(), 1, None, time, data, None);
            Entry::new(contract::STREAM, contract::BISAN, EntryId { generation: 1, seq }, envelope)
        })
        .collect();
    let began = Instant::now();
    for batch in entries.chunks(BATCH) {
        consume.handle(batch).await.map_err(|failure| anyhow::anyhow!("{}", failure.reason()))?;
    }
    Ok(events.len() as f64 / began.elapsed().as_secs_f64())
}

/// Articles a second, and memory, of the program that users run.
async fn from_the_stream(reading: &Reading, articles: usize) -> Result<(Samples, Samples)> {
    let began = Instant::now();
    let mut bisan = reading.run(&["--log", "warn"]);
    let pid = bisan.id().unwrap_or_default();
    let mut peak = Samples::default();
    while !reading.is_consumed().await {
        ensure!(began.elapsed() < Duration::from_secs(900), "it takes too long: {}", bisan.log());
        sleep(Duration::from_millis(100)).await;
        if let Some((_, at_most)) = measure::memory(pid) {
            peak = Samples::one(at_most);
        }
        progress::show("read: from the stream");
    }
    let rate = articles as f64 / began.elapsed().as_secs_f64();
    bisan.signal(Signal::Term);
    bisan.wait().await;
    let count: i64 = reading.db().query_row("select count(*) from article_text", [], |row| row.get(0))?;
    ensure!(count == i64::try_from(articles)?, "{count} of {articles} articles can be found");
    Ok((Samples::one(rate), peak))
}

/// Milliseconds of each search.
fn search(store: &Store, queries: impl Iterator<Item = String>) -> Result<Samples> {
    let (mut samples, mut found) = (Samples::default(), 0);
    for typed in queries {
        let began = Instant::now();
        let request = Request { query: Query::parse(&typed), filter: Filter::default(), page: 1, size: 20 };
        found += search_now(store, &request).with_context(|| format!("{typed:?}"))?.hits.len();
        samples.push(began.elapsed().as_secs_f64() * 1e3);
    }
    ensure!(found > 0, "nothing was found at all");
    Ok(samples)
}
