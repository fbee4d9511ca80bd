//! Against a server that plays a script.

mod answers;
mod limits;
mod redirects;
mod server;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use server::{Act, Server, answer};

fn settings() -> Settings {
    let guard = Guard::new(["127.0.0.1".parse().expect("a net")]);
    Settings::new(user_agent("https://example.org/bot"), guard)
}

fn fetcher() -> Fetcher {
    Fetcher::new(&settings()).expect("a client")
}

/// Waits no longer than a test may.
fn hasty() -> Fetcher {
    let settings = Settings {
        head_time_max: Duration::from_millis(600),
        pause_time_max: Duration::from_millis(600),
        total_time_max: Duration::from_secs(3),
        ..settings()
    };
    Fetcher::new(&settings).expect("a client")
}

async fn page(server: &Server) -> Answer {
    fetcher().ask(&Ask::new(&server.at("/"), Accept::Page)).await
}

/// Follows redirects with leave for all.
async fn followed(from: &Address) -> Answer {
    fetcher().follow(&Ask::new(from, Accept::Page), HOPS_MAX, async |_: Address| Ok(())).await
}

fn bytes(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Body { body, .. } => body.into_bytes().expect("a body"),
        other => panic!("{other:?}"),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}
