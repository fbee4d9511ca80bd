//! The order in which all of it begins and ends: folder, servers, tables, parts, the one address; and back.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection};
use terminal::Secret;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::config::{Config, Places, Settings};
use crate::demo::{self, Clock};
use crate::folder::Folder;
use crate::part::{Part, Stop, Stopper, keep_up};
use crate::parts::Parts;
use crate::private::{self, Kept};
use crate::stages::Stages;
use crate::{alone, web, whole, whose};

/// Where people look, if nobody says otherwise. If it is taken, the next free one of some.
const PORT: u16 = 7655;
const PORTS_TRIED_MAX: u16 = 20;
/// Ports of the programs that these are: nobody should find something else there.
const NOT_THESE: [u16; 4] = [7654, 7656, 7657, 7658];
/// So long it may take to begin.
const TABLES_MAX: Duration = Duration::from_secs(60);
const TABLES_RETRY: Duration = Duration::from_millis(500);
/// For people who look.
const CONNECTIONS: u32 = 2;
const ACQUIRE_MAX: Duration = Duration::from_secs(2);
/// Private servers have so long to end; their keepers go on for longer, and by force at last.
const SERVERS_END_MAX: Duration = Duration::from_secs(30);
/// What a shell says of a program that was ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Runs all of it until it is asked to stop.
pub async fn run(config: Config) -> Result<()> {
    let config = whose::without_our_own(config);
    config.check()?;
    terminal::trace(&config.log, config.log_format);
    // The one provider that is compiled in; a second call has nothing to do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (stopper, stop) = Stopper::new();
    listen_to_signals(stopper.clone());

    let private = config.database_url.is_none() || config.redis_url.is_none();
    let folder = Folder::open(&config.data, config.data_by_default(), private)?;
    if config.database_url.is_none() {
        whole::refuse_without_its_postgres(folder.path())?;
    }
    // Dropped in the middle, servers end by their keepers.
    let begun = tokio::select! {
        begun = begin(&config, &folder, &stop) => begun?,
        () = stop.clone().asked() => {
            say("stopped before it began");
            return Ok(());
        }
    };
    begun.until_stopped(&config, &folder, stopper, stop).await
}

/// The first signal is a wish; the second one is an end.
fn listen_to_signals(stopper: Stopper) {
    let heard = |kind| signal(kind).expect("signal handlers can be set");
    let (mut interrupt, mut terminate) = (heard(SignalKind::interrupt()), heard(SignalKind::terminate()));
    tokio::spawn(async move {
        for nth in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if nth > 0 {
                break;
            }
            stopper.stop();
        }
        eprintln!("pipeline: ended at once; private servers end by themselves");
        std::process::exit(INTERRUPTED);
    });
}

/// What has begun.
struct Begun {
    servers: Vec<Arc<Kept>>,
    ends: Vec<(&'static str, oneshot::Receiver<()>)>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    watching: Vec<tokio::task::JoinHandle<()>>,
    articles: bisan::Store,
}

async fn begin(config: &Config, folder: &Folder, stop: &Stop) -> Result<Begun> {
    let data = folder.path();
    say(&format!("data: {}", folder.with_its_place()));
    let (listener, home) = listen(config.listen).await?;
    let (postgres, redis) = servers(config, data).await?;
    let url = |kept: &Option<Arc<Kept>>, named: &Option<Secret>| {
        kept.as_ref()
            .map(|kept| kept.url())
            .or_else(|| named.as_ref().map(|url| url.reveal().to_owned()))
            .unwrap_or_default()
    };
    let (database_url, redis_url) = (url(&postgres, &config.database_url), url(&redis, &config.redis_url));
    let servers: Vec<_> = postgres.into_iter().chain(redis).collect();
    for server in &servers {
        say(&format!("{}: private, 127.0.0.1:{}", server.title(), server.port()));
    }
    let provisional = Places::new(data, &database_url, &redis_url);
    let settings = config.settings(&provisional)?;
    whose::in_words(config, &settings).iter().for_each(|line| say(line));
    let yours = whose::yours(config, &settings);
    folder.close(!yours.contains(&whose::OBJECTS), !yours.contains(&whose::ARTICLES))?;

    let mut watching: Vec<_> = vec![];
    let options = terminal::postgres(Some(&Secret::from(database_url.as_str())), "pipeline")?;
    let mut db = open_patiently(&options).await?;
    if config.database_url.is_some() && (config.hasad_consume.is_on() || config.bisan_consume.is_on()) {
        let at = whose::postgres(config.database_url.as_ref());
        alone::take(&mut db, &at).await?;
        make_tables(&mut db).await?;
        watching.push(tokio::spawn(alone::hold(db, options, at, stop.clone())));
    } else {
        make_tables(&mut db).await?;
        db.close().await?;
    }
    let clock = config.sources.is_none().then(|| Clock::open(data)).transpose()?;
    let places = Places { demo: clock.as_ref().map(demo::address), home: home.clone(), ..provisional };
    let settings = config.settings(&places)?;
    let articles = bisan::Store::open_or_make(&settings.bisan.database.database)
        .with_context(|| format!("the file {}", settings.bisan.database.database.display()))?;
    say("tables: made, or as they should be");

    watching.extend(servers.iter().map(|server| tokio::spawn(Arc::clone(server).watch(stop.clone()))));
    let parts = Parts::new();
    let names = [parts.relay.name, parts.fallah.name, parts.hasad.name, parts.bisan.name];
    let begun = parts.begin(config, &settings, &places, articles.clone(), stop);
    let mut ends: Vec<_> = names.into_iter().zip(begun).collect();
    if let Some(clock) = clock {
        say(&format!("source: the bundled {}, {} (name your own by --sources)", demo::NAME, demo::address(&clock)));
        let site = Part::new("site");
        ends.push((site.name, keep_up(site, stop.clone(), 1, move |stop| demo::serve(clock.clone(), stop))));
    }

    let operator = parts.operator.url();
    let searcher = bisan::Searcher::new(&settings.bisan.index)?;
    let stages = stages(&settings, &places, parts, articles.clone(), &servers)?;
    let serving = tokio::spawn(web::serve(listener, web::router(Arc::new(stages), searcher), stop.clone()));
    write_env(folder, &settings, &places)?;
    if let Some(operator) = operator {
        say(&format!("operator's page: {operator}"));
    }
    say(&format!(
        "by hand: . {}/env, then psql $DATABASE_URL, relay status, hasad history URL, bisan search WORDS",
        folder.in_words()
    ));
    terminal::print(&format!("\nopen {home}\n\n"));
    say(&format!("Ctrl-C ends it all; what it knows stays in {}", folder.in_words()));
    Ok(Begun { servers, ends, serving, watching, articles })
}

impl Begun {
    async fn until_stopped(mut self, config: &Config, folder: &Folder, stopper: Stopper, stop: Stop) -> Result<()> {
        // A pipeline that nobody can look at must not look as if it lived.
        let early = tokio::select! {
            // It also ends because of the wish, and may have done so by now.
            biased;
            () = stop.asked() => None,
            ended = &mut self.serving => Some(ended),
        };
        stopper.stop();
        say("stopping");
        let end = Instant::now() + config.drain_max;
        for (name, ended) in self.ends {
            if tokio::time::timeout_at(end, ended).await.is_err() {
                tracing::warn!(
                    part = name,
                    "did not end in time; what it had in hand is done again at the next start"
                );
            }
        }
        let served = match early {
            None => self.serving.await?,
            Some(ended) => Err(ended?.err().unwrap_or_else(|| std::io::Error::other("by itself"))),
        };
        for watching in self.watching {
            watching.await?;
        }
        self.articles.rest();
        // The last ones, and all at once: each has much to write down.
        let ending: Vec<_> =
            self.servers.into_iter().map(|server| tokio::spawn(async move { server.end().await })).collect();
        for server in ending {
            match timeout(SERVERS_END_MAX, server).await {
                Ok(ended) => ended??,
                Err(_) => tracing::warn!("a private server takes long to end; its keeper sees to it"),
            }
        }
        say(&format!("stopped; everything is in {}", folder.in_words()));
        served.context("the HTTP server has ended")
    }
}

/// Private servers, where none are named; both begin at once.
async fn servers(config: &Config, data: &Path) -> Result<(Option<Arc<Kept>>, Option<Arc<Kept>>)> {
    let postgres = async {
        match config.database_url {
            None => private::postgres(data).await.map(Some),
            Some(_) => Ok(None),
        }
    };
    let redis = async {
        match config.redis_url {
            None => private::redis(data).await.map(Some),
            Some(_) => Ok(None),
        }
    };
    tokio::try_join!(postgres, redis)
}

/// A Postgres that was named may begin later than we do.
async fn open_patiently(options: &PgConnectOptions) -> Result<PgConnection> {
    let began = Instant::now();
    let mut said = false;
    loop {
        match terminal::open(options).await {
            Ok(db) => return Ok(db),
            Err(error @ sqlx::Error::Io(_)) if began.elapsed() < TABLES_MAX => {
                if !std::mem::replace(&mut said, true) {
                    say(&format!("waiting for Postgres: {}", outbox::in_words(&error)));
                }
                sleep(TABLES_RETRY).await;
            }
            Err(error) => return Err(error).context("Postgres"),
        }
    }
}

/// The tables of all parts but Bisan's, whose file makes its own.
async fn make_tables(db: &mut PgConnection) -> Result<()> {
    fallah::migrate(db).await?;
    hasad::migrate(db).await?;
    Ok(())
}

/// The address for people, bound, and how it is written.
async fn listen(asked: Option<SocketAddr>) -> Result<(TcpListener, String)> {
    let listener = match asked {
        Some(address) => TcpListener::from_std(terminal::listen("--listen (PIPELINE_LISTEN)", address)?)?,
        None => {
            let mut found = None;
            for port in (PORT..PORT + PORTS_TRIED_MAX).filter(|port| !NOT_THESE.contains(port)) {
                if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                    found = Some(listener);
                    break;
                }
            }
            match found {
                Some(listener) => listener,
                None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port is free on 127.0.0.1")?,
            }
        }
    };
    let home = format!("http://{}/", listener.local_addr()?);
    Ok((listener, home))
}

fn stages(
    settings: &Settings,
    places: &Places,
    parts: Parts,
    articles: bisan::Store,
    servers: &[Arc<Kept>],
) -> Result<Stages> {
    let options = terminal::postgres(Some(&Secret::from(places.database_url.as_str())), "pipeline")?
        .options([("statement_timeout", "3s"), ("jit", "off")]);
    let db =
        PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE_MAX).connect_lazy_with(options);
    Ok(Stages {
        parts,
        db,
        archive: hasad::Look::new(&settings.hasad)?,
        articles,
        servers: servers.to_vec(),
        stream: settings.hasad.stream.clone(),
        groups: [settings.hasad.group.clone(), contract::BISAN.to_owned()],
        seen: Mutex::default(),
    })
}

fn write_env(folder: &Folder, settings: &Settings, places: &Places) -> Result<()> {
    let file = settings.bisan.database.database.display().to_string();
    folder.write_env(&[
        ("DATABASE_URL", &places.database_url),
        ("REDIS_URL", &places.redis_url),
        ("HASAD_STORE", settings.hasad.place.store.reveal()),
        ("BISAN_DATABASE", &file),
    ])
}

fn say(words: &str) {
    eprintln!("pipeline: {words}");
}
