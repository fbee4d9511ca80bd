//! One struct: a field is a flag, an environment variable, a default and a line of `--help`. Everything is checked before anything
//! connects, also what the parts read from the environment by themselves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bisan::SearchWrite;
use clap::{Args, Parser, ValueEnum};
use fallah::Sources;
use terminal::{LogFormat, Secret, Unusable, duration};

use crate::whose;

/// Headings of `--help`.
const PLACES: &str = "Places";
const PHASES: &str = "Phases of a migration (each is undone by its setting)";
const OUTPUT: &str = "Output";

/// Reads news sites, relays, archives, searches and serves: all of it in one process.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "pipeline",
    version,
    max_term_width = 100,
    after_help = "Examples:
  pipeline                                             everything private, and a small news site to look at
  pipeline --sources sources.toml                      your own sites
  DATABASE_URL=... REDIS_URL=... MEILI_URL=... pipeline --sources sources.toml
  pipeline --hasad-consume off                         one stage rests, and its events wait

Every setting of a part holds here, too, by its variable: see `relay run --help`, `fallah run --help`,
`hasad run --help`, `bisan run --help`.
Exit codes: 0 done, 1 failed, 64 wrong flags or settings."
)]
pub struct Config {
    /// The folder in which all data lie that have no other place
    #[arg(long, env = "PIPELINE_DATA", default_value = ".data", value_name = "FOLDER", help_heading = PLACES)]
    pub data: PathBuf,

    /// Where people look (127.0.0.1:7655, or the next free port, if none is said)
    #[arg(long, env = "PIPELINE_LISTEN", value_name = "ADDRESS:PORT", help_heading = PLACES)]
    pub listen: Option<SocketAddr>,

    /// Postgres, as postgres://user:password@host:5432/database (none: a private one)
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", help_heading = PLACES)]
    pub database_url: Option<Secret>,

    /// Redis, as redis://user:password@host:6379/0 (none: a private one)
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL", help_heading = PLACES)]
    pub redis_url: Option<Secret>,

    /// The file that names the sources (none: a small news site comes with the program)
    #[arg(long, env = "FALLAH_SOURCES", value_name = "FILE", help_heading = PLACES)]
    pub sources: Option<PathBuf>,

    /// On: without sources, the small news site goes also into servers and stores that are yours
    #[arg(long, env = "PIPELINE_DEMO", default_value = "off", value_name = "WHETHER", help_heading = PLACES)]
    pub demo: Switch,

    /// Off: pages are read and items written, and nobody is told until it is on again
    #[arg(long, env = "PIPELINE_PUBLISH_EVENTS", default_value = "on", value_name = "WHETHER", help_heading = PHASES)]
    pub publish_events: Switch,

    /// Off: events wait for the archive
    #[arg(long, env = "PIPELINE_HASAD_CONSUME", default_value = "on", value_name = "WHETHER", help_heading = PHASES)]
    pub hasad_consume: Switch,

    /// Off: events wait for the reader's side, which goes on to serve what it has
    #[arg(long, env = "PIPELINE_BISAN_CONSUME", default_value = "on", value_name = "WHETHER", help_heading = PHASES)]
    pub bisan_consume: Switch,

    /// Whether the index of MEILI_URL is written (shadow) and also asked (on)
    #[arg(long, env = "BISAN_SEARCH_WRITE", default_value = "on", value_name = "WHETHER", help_heading = PHASES)]
    pub search_write: SearchWrite,

    /// When asked to stop: so long for what is under way, in all parts together
    #[arg(long, env = "PIPELINE_DRAIN_MAX", default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub drain_max: Duration,

    /// What is logged: off, error, warn, info, debug, trace, or a filter such as fallah=debug
    #[arg(long, env = "PIPELINE_LOG", default_value = "warn", value_parser = terminal::log_filter, value_name = "FILTER",
          help_heading = OUTPUT)]
    pub log: String,

    /// How log lines look
    #[arg(long, env = "PIPELINE_LOG_FORMAT", default_value = "text", value_name = "FORMAT", help_heading = OUTPUT)]
    pub log_format: LogFormat,
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is not.
    Off,
    /// It is.
    On,
}

impl Switch {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

/// What is known only when the servers are there.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The data folder, by its real name.
    pub(crate) data: PathBuf,
    pub(crate) database_url: String,
    pub(crate) redis_url: String,
    /// The address of the bundled site, if it is read.
    pub(crate) demo: Option<String>,
    /// Where people look.
    pub(crate) home: String,
}

impl Places {
    /// As far as they are known without the bundled site.
    pub(crate) fn new(data: &Path, database_url: &str, redis_url: &str) -> Self {
        Self {
            data: data.to_owned(),
            database_url: database_url.to_owned(),
            redis_url: redis_url.to_owned(),
            demo: None,
            home: String::new(),
        }
    }
}

/// The settings of all parts.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) fallah: fallah::Run,
    pub(crate) hasad: hasad::Config,
    pub(crate) bisan: bisan::Config,
}

impl Config {
    /// What is wrong with the settings, in one sentence: also with those of the parts, as far as they are known before any server.
    pub(crate) fn check(&self) -> Result<(), Unusable> {
        if self.drain_max.is_zero() {
            return Err(Unusable("--drain-max (PIPELINE_DRAIN_MAX) must not be 0".to_owned()));
        }
        let url =
            |url: &Option<Secret>, instead: &str| url.as_ref().map_or(instead.to_owned(), |url| url.reveal().into());
        let places = Places::new(
            &self.data,
            &url(&self.database_url, "postgres://127.0.0.1/postgres"),
            &url(&self.redis_url, "redis://127.0.0.1"),
        );
        let settings = self.settings(&places)?;
        self.relay(&places, None)?;
        if self.sources.is_some() {
            self.sources(None)?;
        } else if !self.demo.is_on() {
            whose::spare_yours(self, &settings)?;
        }
        Ok(())
    }

    /// What each part is told: its own variables, and what follows from ours.
    pub(crate) fn settings(&self, places: &Places) -> Result<Settings, Unusable> {
        let (database, redis) = (["--database-url", &places.database_url], ["--redis-url", &places.redis_url]);
        let in_data = |name: &str| places.data.join(name).display().to_string();

        let mut flags = told(&[&database]);
        if let Some(file) = &self.sources {
            flags.extend(["--sources".to_owned(), file.display().to_string()]);
        }
        if places.demo.is_some() {
            // So that a newcomer sees within a minute what takes days on the web.
            for (flag, variable, value) in [
                ("--allow-net", "FALLAH_ALLOW_NETS", "127.0.0.1"),
                ("--contact", "FALLAH_CONTACT", &places.home),
                ("--recheck-min", "FALLAH_RECHECK_MIN", "2s"),
                ("--removal-interval", "FALLAH_REMOVAL_INTERVAL", "1s"),
                ("--retry-delay-min", "FALLAH_RETRY_DELAY_MIN", "2s"),
            ] {
                unless_set(&mut flags, flag, variable, value);
            }
        }
        let fallah: fallah::Run = part(&flags)?;
        fallah.config.check()?;

        let mut flags = told(&[&database, &redis]);
        unless_set(&mut flags, "--store", "HASAD_STORE", &format!("file:{}", in_data("objects")));
        let hasad: hasad::Config = part(&flags)?;
        hasad.check()?;

        let search_write = self.search_write.to_possible_value().map(|value| value.get_name().to_owned());
        let mut flags = told(&[&redis, &["--search-write", &search_write.unwrap_or_default()]]);
        unless_set(&mut flags, "--database", "BISAN_DATABASE", &in_data("bisan.db"));
        let bisan: bisan::Config = part(&flags)?;
        bisan.check()?;
        Ok(Settings { fallah, hasad, bisan })
    }

    /// What the relay is told; its surface listens at this address, or where its own setting says.
    pub(crate) fn relay(&self, places: &Places, listen: Option<SocketAddr>) -> Result<relay::Running, Unusable> {
        let mut flags = told(&[&["--database-url", &places.database_url], &["--redis-url", &places.redis_url]]);
        if let Some(address) = listen {
            flags.extend(["--listen".to_owned(), address.to_string()]);
        }
        let relay: relay::Running = part(&flags)?;
        relay.check()?;
        Ok(relay)
    }

    /// The sources: those of the file, or the bundled site at this address.
    pub(crate) fn sources(&self, demo: Option<&str>) -> Result<Sources, Unusable> {
        let mut sources = match (&self.sources, demo) {
            (Some(file), _) if !file.exists() => {
                return Err(Unusable(format!("--sources (FALLAH_SOURCES) {} is not there", file.display())));
            }
            (Some(file), _) => Sources::read(file).map_err(|wrong| Unusable(wrong.to_string()))?,
            (None, demo) => Sources::parse(&crate::demo::source(demo.unwrap_or("http://127.0.0.1")))
                .map_err(|wrong| Unusable(format!("the bundled source{wrong}")))?,
        };
        if !self.publish_events.is_on() {
            sources.tell_nobody();
        }
        Ok(sources)
    }

    /// Whether the data folder is the one that nobody has named.
    pub(crate) fn data_by_default(&self) -> bool {
        self.data == Path::new(".data") && std::env::var_os("PIPELINE_DATA").is_none_or(|value| value.is_empty())
    }
}

fn told(pairs: &[&[&str]]) -> Vec<String> {
    pairs.iter().copied().flatten().map(|word| (*word).to_owned()).collect()
}

fn unless_set(flags: &mut Vec<String>, flag: &str, variable: &str, value: &str) {
    if std::env::var_os(variable).is_none_or(|value| value.is_empty()) {
        flags.extend([flag.to_owned(), value.to_owned()]);
    }
}

/// A command line that has nothing but one part's settings.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Line<T: Args> {
    #[command(flatten)]
    settings: T,
}

fn part<T: Args>(flags: &[String]) -> Result<T, Unusable> {
    terminal::settings::<Line<T>>(flags).map(|line| line.settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[&str]) -> Config {
        Config::try_parse_from([&["pipeline"], flags].concat()).expect("flags")
    }

    fn complaint(flags: &[&str]) -> String {
        config(flags).check().expect_err("must be refused").0
    }

    #[test]
    fn the_defaults_are_sound() {
        config(&[]).check().expect("sound");
    }

    #[test]
    fn what_is_made_up_goes_into_your_servers_only_if_you_say_so() {
        let yours = ["--database-url", "postgres://db.example/shop"];
        let said = complaint(&yours);
        assert!(said.contains("DATABASE_URL") && said.contains("PIPELINE_DEMO") && !said.contains('\n'), "{said}");
        assert!(complaint(&["--redis-url", "redis://cache"]).contains("REDIS_URL"));
        config(&[&yours[..], &["--demo", "on"]].concat()).check().expect("it was said");
    }

    #[test]
    fn what_is_wrong_is_said_before_anything_begins() {
        assert!(complaint(&["--database-url", "mysql://x"]).contains("DATABASE_URL"));
        assert!(complaint(&["--redis-url", "http://x"]).contains("REDIS_URL"));
        assert!(complaint(&["--sources", "/nowhere.toml"]).contains("/nowhere.toml is not there"));
        assert!(complaint(&["--drain-max", "0"]).contains("PIPELINE_DRAIN_MAX"));
    }

    #[test]
    fn each_phase_is_one_setting() {
        let config = config(&["--publish-events", "off", "--search-write", "shadow"]);
        let sources = config.sources(Some("http://127.0.0.1:9")).expect("sound");
        assert!(sources.iter().all(|source| !source.publish_events));
        assert_eq!(config.search_write, SearchWrite::Shadow);
        assert!(config.hasad_consume.is_on() && config.bisan_consume.is_on());
    }
}
