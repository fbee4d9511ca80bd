//! What readers see over HTTP: articles as pages for people and as JSON for programs, read-only.
//!
//! | file | idea |
//! |---|---|
//! | `routes.rs` | what stands at which address |
//! | `asked.rs` | what a query string asks for, checked |
//! | `answer.rs` | JSON or a page, validators, errors in one sentence |
//! | `metrics.rs` | the file in numbers, as Prometheus reads them |
//! | `guard.rs` | what every request and answer must bear |
//! | `page.rs` | the pages |

mod answer;
mod asked;
mod guard;
mod metrics;
mod page;
mod routes;

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

use crate::{Searcher, Store};

pub use asked::escaped;
pub(crate) use asked::time;
pub use asked::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
pub use metrics::METRICS;

/// As what the pages are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// What stands at the head of each page, and leads to its start.
    pub name: &'static str,
    /// Where earlier versions of an article are shown, if anywhere: a path, to which the article's address is added as `?url=`.
    pub history: Option<&'static str>,
}

impl Default for Site {
    fn default() -> Self {
        Self { name: "Bisan", history: None }
    }
}

/// What is served, searching by the index if there is one: for a program that serves more than this, as its site.
pub fn router(store: Store, index: Option<Searcher>, site: Site) -> Router {
    routes::router(store, index, site)
}

/// Serves until `shutdown` resolves, searching by the index if there is one; then answers under way have so long to end.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    index: Option<Searcher>,
    drain_max: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let asked = async move {
        shutdown.await;
        let _ = stop.send(true);
    };
    let (ears, death) = vitals::ears(listener);
    let serving = axum::serve(ears, routes::router(store, index, Site::default())).with_graceful_shutdown(asked);
    let patience = async {
        let _ = stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(drain_max).await;
    };
    tokio::select! {
        served = serving => served,
        error = death => Err(error),
        () = patience => {
            tracing::warn!("answers that did not end in time are cut off");
            Ok(())
        }
    }
}
