//! The four parts: each as its own program runs it, on a thread of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fallah::Crawler;
use terminal::Streams;
use tokio::sync::oneshot;

use crate::config::{Config, Places, Settings};
use crate::operator::Operator;
use crate::part::{Part, State, Stop, keep_up};

/// Threads beside each part's own, as its program has them.
const RELAY_THREADS: usize = 4;
const FALLAH_THREADS: usize = 4;
const HASAD_THREADS: usize = 32;
const BISAN_THREADS: usize = 8;
/// A group that rests is looked after so often.
const PLACE_INTERVAL: Duration = Duration::from_secs(30);

/// The crawler that works at present, for its counts.
pub(crate) type Crawling = Arc<Mutex<Option<Arc<Crawler>>>>;

/// All parts, for those who watch.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) relay: Part,
    pub(crate) fallah: Part,
    pub(crate) hasad: Part,
    pub(crate) bisan: Part,
    pub(crate) crawling: Crawling,
    pub(crate) operator: Arc<Operator>,
}

impl Parts {
    pub(crate) fn new() -> Self {
        let [relay, fallah, hasad, bisan] = ["relay", "fallah", "hasad", "bisan"].map(Part::new);
        Self { relay, fallah, hasad, bisan, crawling: Arc::default(), operator: Arc::new(Operator::new()) }
    }

    /// Begins them all. Each answer says that one has ended for good, which it does when it is asked to.
    pub(crate) fn begin(
        &self,
        config: &Config,
        settings: &Settings,
        places: &Places,
        articles: bisan::Store,
        stop: &Stop,
    ) -> Vec<oneshot::Receiver<()>> {
        vec![
            self.relay(config, places, stop),
            self.fallah(config, settings, places.demo.clone(), stop),
            if config.hasad_consume.is_on() {
                self.hasad(settings, stop)
            } else {
                rest(
                    &self.hasad,
                    &settings.hasad.streams,
                    (settings.hasad.stream.clone(), settings.hasad.group.clone()),
                    stop,
                )
            },
            if config.bisan_consume.is_on() {
                self.bisan(settings, articles, stop)
            } else {
                rest(
                    &self.bisan,
                    &settings.bisan.streams,
                    (contract::STREAM.to_owned(), contract::BISAN.to_owned()),
                    stop,
                )
            },
        ]
    }

    fn relay(&self, config: &Config, places: &Places, stop: &Stop) -> oneshot::Receiver<()> {
        let (config, places, operator) = (config.clone(), places.clone(), Arc::clone(&self.operator));
        keep_up(self.relay.clone(), stop.clone(), RELAY_THREADS, move |stop| {
            let relay = config.relay(&places, operator.choose());
            async move { Ok(relay?.run(stop.asked()).await?) }
        })
    }

    fn fallah(
        &self,
        config: &Config,
        settings: &Settings,
        demo: Option<String>,
        stop: &Stop,
    ) -> oneshot::Receiver<()> {
        let (config, fallah, crawling) = (config.clone(), settings.fallah.clone(), Arc::clone(&self.crawling));
        keep_up(self.fallah.clone(), stop.clone(), FALLAH_THREADS, move |stop| {
            let (config, fallah, demo, crawling) =
                (config.clone(), fallah.clone(), demo.clone(), Arc::clone(&crawling));
            async move {
                // Read anew, so that a file which is mended while it fails is heeded.
                let sources = config.sources(demo.as_deref())?;
                let crawler = tokio::select! {
                    crawler = Crawler::connect(&fallah.config, sources) => crawler?,
                    () = stop.clone().asked() => return Ok(()),
                };
                *crawling.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&crawler));
                let listener = fallah.listener()?;
                Ok(fallah.crawl(&crawler, listener, stop.asked()).await?)
            }
        })
    }

    fn hasad(&self, settings: &Settings, stop: &Stop) -> oneshot::Receiver<()> {
        let hasad = settings.hasad.clone();
        keep_up(self.hasad.clone(), stop.clone(), HASAD_THREADS, move |stop| {
            let hasad = hasad.clone();
            async move {
                let archive = hasad::archive(&hasad)?;
                // What is lost is told now, and not with the next event; which waits for us meanwhile.
                let owned = tokio::select! {
                    owned = archive.own() => owned,
                    () = stop.clone().asked() => return Ok(()),
                };
                if let Err(lost @ (hasad::Error::OwnerMissing(..) | hasad::Error::OtherOwner(..))) = owned {
                    make_group(&hasad.streams, &hasad.stream, &hasad.group).await?;
                    return Err(lost.into());
                }
                let listener = hasad.listener()?;
                Ok(hasad::run(&hasad, archive, listener, stop.asked()).await?)
            }
        })
    }

    fn bisan(&self, settings: &Settings, articles: bisan::Store, stop: &Stop) -> oneshot::Receiver<()> {
        let bisan = settings.bisan.clone();
        keep_up(self.bisan.clone(), stop.clone(), BISAN_THREADS, move |stop| {
            let (bisan, articles) = (bisan.clone(), articles.clone());
            async move {
                let handler = bisan::Consume::new(articles.clone(), bisan.skip_sources.clone(), bisan.write_max);
                let consumer = bisan.consumer(handler)?;
                bisan::consume(&bisan, consumer, &articles, stop.asked()).await
            }
        })
    }
}

/// A part that is off. Its group is there all the same, so that events wait for it, and nothing is trimmed before it has seen it.
fn rest(part: &Part, streams: &Streams, (stream, group): (String, String), stop: &Stop) -> oneshot::Receiver<()> {
    let (streams, off) = (streams.clone(), part.clone());
    keep_up(part.clone(), stop.clone(), 1, move |stop| {
        let (streams, stream, group, off) = (streams.clone(), stream.clone(), group.clone(), off.clone());
        async move {
            loop {
                make_group(&streams, &stream, &group).await?;
                off.is(State::Off);
                tokio::select! {
                    () = stop.clone().asked() => return Ok(()),
                    () = tokio::time::sleep(PLACE_INTERVAL) => {}
                }
            }
        }
    })
}

async fn make_group(streams: &Streams, stream: &str, group: &str) -> anyhow::Result<()> {
    let terminal::Redis { url, ca } = streams.server()?;
    let client = match ca {
        None => redis::Client::open(url.reveal())?,
        Some(pem) => {
            let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem) };
            redis::Client::build_with_tls(url.reveal(), certificates)?
        }
    };
    let mut db = client.get_multiplexed_async_connection().await?;
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATE").arg(stream).arg(group).arg("0").arg("MKSTREAM");
    match create.exec_async(&mut db).await {
        Err(error) if error.code() != Some("BUSYGROUP") => Err(error.into()),
        _ => Ok(()),
    }
}
