//! The verbs that look: how it stands, groups, blockers.

use terminal::{print, print_json, table};

use super::connect;
use crate::config::Database;
use crate::standing::{self, Standing};
use crate::store::people;
use crate::verdict::Verdict;

/// How it stands, and what that means.
#[derive(serde::Serialize)]
struct Judged {
    verdict: Verdict,
    #[serde(flatten)]
    standing: Standing,
}

pub(super) async fn status(database: &Database, json: bool, check: bool) -> anyhow::Result<()> {
    let standing = Standing::read(&mut connect(database).await?).await?;
    let verdict = standing.verdict();
    let holds_up = verdict.holds_up();
    if json {
        print_json(&Judged { verdict, standing })?;
    } else {
        print(&standing.told(&verdict));
    }
    if check && holds_up {
        return Err(anyhow::anyhow!("something is stuck or late"));
    }
    Ok(())
}

pub(super) async fn groups(database: &Database, stream: Option<&str>, json: bool) -> anyhow::Result<()> {
    let mut db = connect(database).await?;
    let (mut groups, mut consumers) = (people::groups(&mut db).await?, people::consumers(&mut db).await?);
    groups.retain(|group| stream.is_none_or(|stream| group.stream == stream));
    consumers.retain(|consumer| stream.is_none_or(|stream| consumer.stream == stream));
    if json {
        return Ok(print_json(&serde_json::json!({ "groups": groups, "consumers": consumers }))?);
    }
    let tables = standing::of_groups(&groups, &consumers);
    print(if tables.is_empty() { "no group reads\n" } else { tables.trim_start() });
    Ok(())
}

pub(super) async fn blockers(database: &Database, json: bool) -> anyhow::Result<()> {
    let blockers = people::blockers(&mut connect(database).await?).await?;
    if json {
        return Ok(print_json(&blockers)?);
    }
    print(&if blockers.is_empty() {
        "nobody is writing to the outbox\n".to_owned()
    } else {
        table(&standing::blocker_rows(&blockers))
    });
    Ok(())
}
