//! What the rarer verbs do and print.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, anyhow};
use clap::Command;
use sqlx::PgConnection;
use terminal::{print, print_json, printable, printable_lines, table};

use crate::compare::{self, Odd};
use crate::config::{Config, Server};
use crate::doctor::{self, Finding, Harm};
use crate::pausing::{self, Changed, Wish};
use crate::progress::Progress;
use crate::replay::{self, Span};
use crate::trail::{self, Progress as State, Trail};

pub(crate) async fn trace(db: &mut PgConnection, server: &Server, event: &str, json: bool) -> anyhow::Result<()> {
    let trail = trail::follow(db, server, event).await?;
    let trail = trail.ok_or_else(|| {
        anyhow!("nobody knows an event with the id or the number {event:?}: it was never committed, or published longer ago than rows are kept")
    })?;
    if json {
        return Ok(print_json(&trail)?);
    }
    print(&told(&trail));
    Ok(())
}

fn told(trail: &Trail) -> String {
    let mut text = format!("event {}\n", printable(&trail.event));
    for stretch in &trail.rows {
        let row = &stretch.row;
        let _ =
            write!(text, "row {} of {}, written {}: {}", row.seq, printable(&row.stream), row.created_at, row.state);
        if let Some(at) = &row.sent_at {
            let _ = write!(text, " {at} as entry {}", row.entry);
        }
        if let Some(at) = &row.due_at {
            let _ = write!(text, ", due {at}");
        }
        if let Some(error) = &row.last_error {
            let _ = write!(text, ", refused {} times: {}", row.attempts, printable(error));
        }
        if stretch.in_redis == Some(false) {
            text.push_str("; the entry was trimmed, or is lost");
        }
        text.push('\n');
        if let Some(parent) = &row.traceparent {
            let _ = writeln!(text, "trace {}", printable(parent));
        }
        if !stretch.groups.is_empty() {
            let mut rows = vec![["group", "state", "consumer", "deliveries", "idle"].map(str::to_owned)];
            rows.extend(stretch.groups.iter().map(|group| {
                let state = match group.state {
                    State::Waiting => "waiting",
                    State::Pending => "pending",
                    State::Settled => "settled",
                    State::Buried => "buried",
                };
                let dash = || "-".to_owned();
                let idle = group.idle_ms.map_or_else(dash, |ms| terminal::age(ms as f64 / 1e3));
                let deliveries = group.deliveries.map_or_else(dash, |deliveries| deliveries.to_string());
                [group.name.clone(), state.to_owned(), group.consumer.clone().unwrap_or_else(dash), deliveries, idle]
            }));
            text.push_str(&table(&rows));
        }
    }
    for letter in &trail.letters {
        let fate = match (&letter.replayed_at, &letter.dropped_at) {
            (Some(at), _) => format!("replayed {at}"),
            (_, Some(at)) => format!("dropped {at}"),
            _ => "waits for you: relay dead show".to_owned(),
        };
        let (group, reason) = (printable(&letter.group_name), printable_lines(&letter.reason));
        let _ = writeln!(
            text,
            "dead letter of {group} since {} after {} attempts: {reason}; {fate}",
            letter.buried_at, letter.attempts
        );
    }
    if let Some(why) = &trail.redis_away {
        let _ = writeln!(text, "Redis could not be asked: {why}");
    }
    text
}

pub(crate) async fn pause(db: &mut PgConnection, wish: Wish, stream: Option<String>) -> anyhow::Result<()> {
    let who = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let who = format!("{who} by relay pause");
    let Changed { stream, heard, all_is_paused } = pausing::change(db, wish, stream.as_deref(), &who).await?;
    let what = stream.as_deref().map_or("everything".to_owned(), printable);
    let done = match wish {
        Wish::Pause => "is paused",
        Wish::Resume => "flows again",
    };
    let heard = match heard {
        Some(true) => "",
        Some(false) if wish == Wish::Resume => {
            "; a relay has not heard it yet, and sends nothing of it until it has (it waits for Redis, or is frozen)"
        }
        Some(false) => {
            "; a relay has not heard it yet, and may send what it has in hand (it waits for Redis, or is frozen)"
        }
        None => "; no relay works just now",
    };
    let still =
        if wish == Wish::Resume && all_is_paused { ", once everything does: all is paused still" } else { "" };
    print(&format!("{what} {done}{still}{heard}\n"));
    Ok(())
}

pub(crate) async fn verify(
    db: &mut PgConnection,
    server: &Server,
    stream: Option<&str>,
    json: bool,
) -> anyhow::Result<()> {
    let mut progress = Progress::new("compared");
    let all = compare::compare(db, server, stream, |entries| progress.show(entries.cast_signed())).await?;
    progress.clear();
    let sound = all.iter().all(compare::Compared::is_sound);
    if json {
        print_json(&serde_json::json!({ "sound": sound, "streams": all }))?;
    } else {
        let mut rows = vec![["stream", "entries", "missing", "unknown", "different"].map(str::to_owned)];
        let odd = |odd: &Odd| match odd.first.as_slice() {
            [] => "0".to_owned(),
            [first, ..] => format!("{} (from {first})", odd.count),
        };
        rows.extend(all.iter().map(|one| {
            [one.stream.clone(), one.entries.to_string(), odd(&one.missing), odd(&one.unknown), odd(&one.different)]
        }));
        print(&table(&rows));
    }
    if sound {
        Ok(())
    } else {
        Err(anyhow!("rows and entries do not say the same; `--json` names the first of them"))
    }
}

pub(crate) async fn replay(db: &mut PgConnection, span: &Span) -> anyhow::Result<()> {
    let mut progress = Progress::new("replayed");
    let replayed = replay::run(db, span, |so_far| {
        let left = (so_far.meant - so_far.done).max(0) as f64 / f64::from(span.rate.get());
        progress.show_of(so_far.done, so_far.meant, left);
    })
    .await?;
    progress.clear();
    let (group, stream) = (printable(&span.group), printable(&span.stream));
    print(&match span.dry_run {
        true => format!("{} events of {stream} would be replayed to {group}\n", replayed.meant),
        false => format!("{} events of {stream} were replayed to {group}\n", replayed.done),
    });
    Ok(())
}

pub(crate) async fn doctor(config: &Config, json: bool) -> anyhow::Result<()> {
    let findings = doctor::examine(config).await;
    if json {
        print_json(&serde_json::json!({ "sound": findings.is_empty(), "findings": findings }))?;
    } else {
        let mut text = String::new();
        for Finding { name, harm, found, why, remedy } in &findings {
            let harm = match harm {
                Harm::Loses => "loses events",
                Harm::Delays => "holds events up",
                Harm::Refused => "does not work",
            };
            let _ = writeln!(
                text,
                "{name}: {harm}\n  found   {}\n  why     {why}\n  remedy  {remedy}\n",
                printable(found)
            );
        }
        if findings.is_empty() {
            text.push_str("nothing was found that loses events or holds them up\n");
        }
        print(&text);
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err(anyhow!("1 thing is not as it should be")),
        many => Err(anyhow!("{many} things are not as they should be")),
    }
}

/// The manual: one page to stdout, or one for each verb into a folder.
pub(crate) fn man(command: Command, folder: Option<&Path>) -> anyhow::Result<()> {
    match folder {
        None => {
            let mut page = vec![];
            clap_mangen::Man::new(command).render(&mut page)?;
            print(&String::from_utf8(page)?);
        }
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            clap_mangen::generate_to(command, folder).with_context(|| folder.display().to_string())?;
        }
    }
    Ok(())
}
