//! What `enqueue` adds to a transaction, beside what any insert of such a row adds.

use std::time::Instant;

use anyhow::Result;
use sqlx::{Connection, PgConnection};

use crate::ground::{Ground, PAYLOAD_BYTES, event, id};
use crate::options::Options;
use crate::progress;
use crate::table::{Line, Section, Target, Unit};
use outbox_tests::Samples;

pub const TABLES: &str = "
    create table orders (id bigint generated always as identity primary key, customer text not null, total bigint not null);
    create table plain (
        stream     text collate \"C\" not null,
        seq        bigint           generated always as identity (cache 1),
        id         text collate \"C\" not null,
        type       text             not null,
        key        text,
        ver        integer          not null default 1,
        payload    json             not null,
        headers    jsonb            not null default '{}',
        created_at timestamptz      not null default clock_timestamp(),
        due_at     timestamptz,
        attempts   integer          not null default 0,
        last_error text,
        dead_at    timestamptz,
        primary key (stream, seq),
        unique (id)
    );";

/// What a transaction does besides its own insert.
#[derive(Clone, Copy)]
pub enum With {
    Nothing,
    PlainInsert,
    Enqueue,
}

pub async fn section(ground: &mut Ground, options: &Options) -> Result<Section> {
    ground.another().await?;
    ground.sql(TABLES).await?;
    // Many short rounds: whatever else the machine does hits all three alike.
    let (rounds, transactions) = (options.size(10, 3) * u64::from(options.rounds()), options.size(1000, 200));
    let all = [With::Nothing, With::PlainInsert, With::Enqueue];
    let mut samples = all.map(|_| Samples::default());
    let mut db = ground.connect().await?;
    let mut nth = 0;
    for with in all {
        transact(&mut db, with, &mut nth, transactions).await?; // statements are prepared, pages are there
    }
    for round in 1..=rounds {
        progress::show(&format!("enqueue: round {round} of {rounds}"));
        for (with, samples) in all.into_iter().zip(&mut samples) {
            samples.push(transact(&mut db, with, &mut nth, transactions).await?);
        }
    }
    db.close().await?;

    let [nothing, plain, enqueue] = &samples;
    let alone = "one insert alone";
    Ok(Section {
        name: "enqueue",
        conditions: format!(
            "a transaction of one insert, one client, {rounds} rounds of {transactions} each, {PAYLOAD_BYTES} B payload, \
             fsync off (a dearer commit makes the ratio better); the plain table has the same columns, primary key and \
             unique id, but no checks and no trigger"
        ),
        lines: vec![
            Line::new(alone, Unit::Microseconds, nothing),
            Line::new("and a plain insert", Unit::Microseconds, plain).beside(alone, nothing),
            Line::new("and outbox::enqueue", Unit::Microseconds, enqueue)
                .must("and a plain insert", plain, Target::AtMost(1.35))
                .beside(alone, nothing),
        ],
    })
}

/// Microseconds a transaction.
async fn transact(db: &mut PgConnection, with: With, nth: &mut u64, transactions: u64) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..transactions {
        *nth += 1;
        order(db, with, *nth).await?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / transactions as f64)
}

/// One transaction.
pub async fn order(db: &mut PgConnection, with: With, nth: u64) -> Result<()> {
    let mut tx = db.begin().await?;
    insert_order(&mut tx).await?;
    match with {
        With::Nothing => {}
        With::PlainInsert => insert_plain(&mut tx, nth).await?,
        With::Enqueue => {
            let _ = outbox::enqueue(&mut tx, &event(nth)?).await?;
        }
    }
    Ok(tx.commit().await?)
}

pub async fn insert_order(db: &mut PgConnection) -> Result<()> {
    sqlx::query("insert into orders (customer, total) values ($1, $2)")
        .bind("somebody")
        .bind(1999_i64)
        .execute(db)
        .await?;
    Ok(())
}

async fn insert_plain(db: &mut PgConnection, nth: u64) -> Result<()> {
    let payload = format!(r#"{{"n": {nth}, "text": ""#);
    let payload = format!("{payload:x<width$}\"}}", width = PAYLOAD_BYTES - 2);
    sqlx::query(
        "insert into plain (stream, type, key, id, ver, payload, headers) values ($1, $2, $3, $4, $5, $6::json, $7::jsonb)",
    )
    .bind(crate::ground::STREAM)
    .bind("bench.happened")
    .bind(format!("key-{}", nth % 1000))
    .bind(id(nth))
    .bind(1)
    .bind(payload)
    .bind("{}")
    .execute(db)
    .await?;
    Ok(())
}
