//! The baseline: the usual outbox relay, which takes one row after the other. It selects a hundred rows
//! `for update skip locked`; each is then sent, marked as published, and committed. Every answer is waited for.
//!
//! It follows a published design word by word, with its table and its indexes, but for one thing: it does not sleep
//! 300 ms after each batch, as the original does.

use std::time::Instant;

use anyhow::Result;
use sqlx::{Connection, PgConnection};

use crate::ground::{Ground, PAYLOAD_BYTES};

/// In a schema of its own: one of our views bears the table's name.
const TABLE: &str = "
    drop schema if exists usual cascade;
    create schema usual;
    create table usual.outbox_events (
        id bigserial primary key,
        type varchar(50) not null,
        chain_id integer not null,
        block_number bigint not null,
        tx_hash varchar(100) not null,
        log_index integer not null,
        auction_address varchar(100),
        round_id integer,
        from_token varchar(100),
        want_token varchar(100),
        timestamp bigint not null,
        payload_json jsonb not null default '{}',
        uniq varchar(200) not null,
        ver integer not null default 1,
        published_at timestamptz,
        retries integer default 0,
        last_error text,
        created_at timestamptz default now(),
        constraint outbox_events_uniq_key unique (uniq)
    );
    create index idx_outbox_unpublished on usual.outbox_events (id) where published_at is null;
    create index idx_outbox_chain_block on usual.outbox_events (chain_id, block_number);
    create index idx_outbox_created on usual.outbox_events (created_at);
    create index idx_outbox_retries on usual.outbox_events (retries) where published_at is null and retries > 3;";

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    r#type: String,
    chain_id: i32,
    block_number: i64,
    tx_hash: String,
    log_index: i32,
    auction_address: Option<String>,
    timestamp: i64,
    payload_json: String,
    uniq: String,
    ver: i32,
}

/// Rows a second.
pub async fn row_at_a_time(ground: &mut Ground, rows: i64) -> Result<f64> {
    ground.clear_redis().await?;
    ground.sql(&format!("{TABLE} {}", insert(rows))).await?;
    ground.sql("analyze usual.outbox_events; checkpoint;").await?;
    let mut db = ground.connect().await?;

    let began = Instant::now();
    loop {
        sqlx::raw_sql("begin").execute(&mut db).await?;
        let batch = fetch_unpublished(&mut db).await?;
        if batch.is_empty() {
            break;
        }
        for (nth, row) in batch.iter().enumerate() {
            if nth > 0 {
                sqlx::raw_sql("begin").execute(&mut db).await?;
            }
            publish(ground, row).await?;
            sqlx::query("update usual.outbox_events set published_at = now() where id = $1")
                .bind(row.id)
                .execute(&mut db)
                .await?;
            sqlx::raw_sql("commit").execute(&mut db).await?;
        }
    }
    let rate = rows as f64 / began.elapsed().as_secs_f64();
    db.close().await?;
    ground.sql("drop schema usual cascade").await?;
    Ok(rate)
}

async fn fetch_unpublished(db: &mut PgConnection) -> Result<Vec<Row>> {
    Ok(sqlx::query_as(
        "select id, type, chain_id, block_number, tx_hash, log_index, auction_address, round_id, from_token, want_token,
                timestamp, payload_json::text, uniq, ver, retries
           from usual.outbox_events
          where published_at is null
          order by id
          limit 100
          for update skip locked",
    )
    .fetch_all(db)
    .await?)
}

async fn publish(ground: &mut Ground, row: &Row) -> Result<()> {
    redis::cmd("XADD")
        .arg("events")
        .arg(&["MAXLEN", "~", "100000", "*"])
        .arg("type")
        .arg(&row.r#type)
        .arg("chain_id")
        .arg(row.chain_id)
        .arg("block_number")
        .arg(row.block_number)
        .arg("tx_hash")
        .arg(&row.tx_hash)
        .arg("log_index")
        .arg(row.log_index)
        .arg("auction_address")
        .arg(row.auction_address.as_deref().unwrap_or_default())
        .arg("timestamp")
        .arg(row.timestamp)
        .arg("uniq")
        .arg(&row.uniq)
        .arg("ver")
        .arg(row.ver)
        .arg("payload_json")
        .arg(&row.payload_json)
        .exec_async(&mut ground.cache)
        .await?;
    Ok(())
}

fn insert(rows: i64) -> String {
    format!(
        r#"insert into usual.outbox_events (type, chain_id, block_number, tx_hash, log_index, auction_address, timestamp,
                                      payload_json, uniq)
           select 'deploy', 1, n / 10, '0x' || repeat('a', 64), n % 10, '0x' || repeat('b', 40), 1700000000 + n,
                  (rpad('{{"n": ' || n || ', "text": "', {filled}, 'x') || '"}}')::jsonb, 'deploy:1:' || n
             from generate_series(1, {rows}) as n;"#,
        filled = PAYLOAD_BYTES - 2
    )
}
