//! `bisan reindex`: its flags, and what it shows while it goes on.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use terminal::{print, print_json, unusable};

use super::{Goal, Reindex, Summary, Told};
use crate::meili::SearchServer;
use crate::{Error, Store};

/// The flags.
#[derive(Debug, Args)]
pub struct ReindexArgs {
    #[command(flatten)]
    server: SearchServer,

    /// Let the index that was before answer again; it is brought up to date first
    #[arg(long, conflicts_with = "abort")]
    swap_back: bool,

    /// Give up a rebuild, or the index that is kept for --swap-back: delete the spare index. An interrupted --swap-back is
    /// given up first, and the index kept
    #[arg(long)]
    abort: bool,

    /// Words that must find something in the new index before it answers; may be given again
    #[arg(long = "query", value_name = "WORDS")]
    queries: Vec<String>,

    /// Give up when Meilisearch is away for so long; called again, it goes on where it was
    #[arg(long, env = "BISAN_REINDEX_AWAY_MAX", default_value = "10m", value_parser = terminal::duration, value_name = "DURATION")]
    away_max: Duration,

    /// Tell each step, and the end, as a line of JSON
    #[arg(long)]
    json: bool,
}

impl ReindexArgs {
    /// Does it. Interrupted, it leaves all that is needed to go on.
    pub async fn run(&self, store: &Store, stop: impl Future<Output = ()>) -> anyhow::Result<ExitCode> {
        self.server.check()?;
        let goal = match (self.swap_back, self.abort) {
            (true, _) => Goal::SwapBack,
            (_, true) => Goal::Drop,
            _ => Goal::Rebuild,
        };
        let reindex =
            Reindex::new(store, &self.server, self.queries.clone(), self.away_max).map_err(|error| match error {
                Error::Unusable(sentence) => unusable(sentence),
                other => other.into(),
            })?;
        let mut show = Show::new(self.json);
        let summary = tokio::select! {
            summary = async { reindex.run(goal, &mut |told| show.tell(&told)).await } => summary?,
            () = stop => return Err(Error::Index("interrupted; called again, it goes on where it was".to_owned()).into()),
        };
        show.end(&summary)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A bar on a terminal, lines of JSON for programs, plain lines elsewhere.
struct Show {
    json: bool,
    bar: ProgressBar,
}

impl Show {
    fn new(json: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg:13} {wide_bar} {human_pos}/{human_len}  {eta}");
        bar.set_style(style.expect("a sound template"));
        if json || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { json, bar }
    }

    fn tell(&mut self, told: &Told) {
        if self.json {
            // What cannot be printed is not worth a failure: the end is.
            let _ = serde_json::to_string(told).map(|line| print(&format!("{line}\n")));
            return;
        }
        match told {
            Told::Loaded { articles, of } => {
                self.bar.set_length(*of);
                self.bar.set_position(*articles);
            }
            Told::Step { step } => {
                self.bar.set_message(step.replace('_', " "));
                self.line(&step.replace('_', " "));
            }
            Told::Resumed { step } => self.line(&format!("goes on where it was: {}", step.replace('_', " "))),
            Told::Behind { articles } => self.line(&format!("{articles} articles have changed meanwhile")),
            Told::Waiting { why } => self.line(&format!("{why}; waiting")),
            Told::Mending { what } => self.line(&format!("mending: {}", what.join("; "))),
        }
    }

    fn line(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    fn end(&self, summary: &Summary) -> serde_json::Result<()> {
        self.bar.finish_and_clear();
        if self.json {
            return print_json(summary);
        }
        let Summary { ended, documents, refused, milliseconds } = summary;
        let seconds = *milliseconds as f64 / 1000.0;
        print(&match *ended {
            "dropped" => "there is no spare index any more\n".to_owned(),
            "kept" => "nothing was swapped, and the index that was before is still kept\n".to_owned(),
            _ => format!(
                "the new index answers: {documents} documents, {refused} refused, {seconds:.1}s; \
                 the one before is kept (`bisan reindex --swap-back`)\n"
            ),
        });
        Ok(())
    }
}
