//! The same drain where it could be slower: many rows sent before, many unsent, transactions that stay open.

use anyhow::Result;
use sqlx::Connection;

use crate::drain::{DEFAULT_BATCH_ROWS, Drained, drain};
use crate::ground::{Ground, SERVERS, event};
use crate::options::Options;
use crate::table::{Line, Section, Target, Unit};
use crate::{limits, progress};
use outbox_tests::Samples;

pub async fn section(ground: &mut Ground, options: &Options) -> Result<Section> {
    let (rows, rounds, sent, unsent) = (options.rows(), options.rounds(), options.sent_rows(), options.unsent_rows());
    let mut old = Ground::new().await?;
    old.load_millions(sent).await?;
    let mut late = Ground::new().await?;
    // What the rounds take away is there on top.
    late.load_millions(unsent + i64::from(rounds - 1) * rows * 5 / 4).await?;

    let [mut limit, mut plain, mut after_many, mut among_many, mut writer, mut bystander] = <[Samples; 6]>::default();
    let [mut writer_after_many, mut overtaken_after] = <[Samples; 2]>::default();
    for round in 1..=rounds {
        let show = |what: &str| progress::show(&format!("history: round {round} of {rounds}, {what}"));
        show("limit");
        limit.push(limits::pipelined_xadd(ground, rows, 1).await?);

        show("nothing else");
        ground.clear().await?;
        ground.load(rows).await?;
        plain.push(drain(ground, rows, DEFAULT_BATCH_ROWS).await?.rate);

        show("many sent before");
        let newest = old.newest_number().await?;
        old.pretend_sent(newest).await?;
        old.load(rows).await?;
        after_many.push(drain(&mut old, rows, DEFAULT_BATCH_ROWS).await?.rate);

        show("many unsent");
        let newest = newest_entry(&mut late).await?;
        late.pretend_sent(newest).await?;
        among_many.push(drain(&mut late, rows, DEFAULT_BATCH_ROWS).await?.rate);

        show("an open transaction that wrote to the outbox");
        ground.clear().await?;
        let drained = beside_a_writer(ground, rows).await?;
        writer.push(drained.rate);
        overtaken_after.push(drained.first_after.as_secs_f64());

        show("the same, and many sent before");
        let newest = old.newest_number().await?;
        old.pretend_sent(newest).await?;
        writer_after_many.push(beside_a_writer(&mut old, rows).await?.rate);

        show("an open transaction that did not");
        ground.clear().await?;
        let mut bystanding = ground.connect().await?;
        let mut open = bystanding.begin().await?;
        sqlx::raw_sql("create table of_its_own (n int)").execute(&mut *open).await?;
        ground.load(rows).await?;
        bystander.push(drain(ground, rows, DEFAULT_BATCH_ROWS).await?.rate);
        open.rollback().await?;
    }

    let line = |what: &str, samples: &Samples| {
        Line::new(what, Unit::PerSecond, samples).must("nothing else", &plain, Target::AtLeast(0.9))
    };
    let lines = vec![
        Line::new("pipelined XADD alone", Unit::PerSecond, &limit),
        Line::new("nothing else", Unit::PerSecond, &plain).beside("pipelined XADD alone", &limit),
        line(&format!("after {sent} sent rows"), &after_many),
        line(&format!("among {unsent} unsent rows"), &among_many),
        line("beside an open transaction that wrote to the outbox", &writer).note(format!(
            "sending began {:.1} s after the relay's start: it waits that long before it overtakes",
            overtaken_after.median()
        )),
        line(&format!("the same, after {sent} sent rows"), &writer_after_many),
        line("beside an open transaction that did not", &bystander),
    ];
    let conditions = format!("{rows} rows at batches of {DEFAULT_BATCH_ROWS}, fsync off; {SERVERS}");
    Ok(Section { name: "history", conditions, lines })
}

/// Drains rows beside a transaction that has taken an older number and stays open.
async fn beside_a_writer(ground: &mut Ground, rows: i64) -> Result<Drained> {
    let mut slow = ground.connect().await?;
    let mut open = slow.begin().await?;
    let _ = outbox::enqueue(&mut open, &event(u64::from(u32::MAX))?).await?;
    ground.load(rows).await?;
    let drained = drain(ground, rows, DEFAULT_BATCH_ROWS).await?;
    open.rollback().await?;
    Ok(drained)
}

/// How far the rows have gone in Redis; 0 at the beginning.
async fn newest_entry(ground: &mut Ground) -> Result<i64> {
    let newest: Vec<(String, Vec<(String, String)>)> = redis::cmd("XREVRANGE")
        .arg(crate::ground::STREAM)
        .arg(&["+", "-", "COUNT", "1"])
        .query_async(&mut ground.cache)
        .await?;
    let number = newest.first().and_then(|(id, _)| id.split_once('-')?.1.parse().ok());
    Ok(number.unwrap_or(0))
}
