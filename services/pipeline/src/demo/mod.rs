//! The bundled news site: so that whoever has named no source yet sees articles appear, change, and go.
//!
//! | file | idea |
//! |---|---|
//! | `articles.rs` | what was written for it |
//! | `bulletins.rs` | what comes afterwards, without end |
//! | `script.rs` | what there is at which second |
//! | `clock.rs` | seconds that pass only while somebody reads, and the days on which they were |
//! | `page.rs` | pages, sitemap, robots.txt |
//! | `serve.rs` | where all of it stands |

mod articles;
mod bulletins;
mod clock;
mod page;
mod script;
mod serve;

pub(crate) use clock::Clock;
pub(crate) use serve::{address, serve};

/// Its name, in events and everywhere else.
pub(crate) const NAME: &str = "harbour-post";

/// How it is read: often, since it changes by the second. It is ours, so nobody minds.
pub(crate) fn source(address: &str) -> String {
    format!(
        "[[source]]\nname = \"{NAME}\"\nhome = \"{address}/\"\nsitemaps = [\"{address}/sitemap.xml\"]\n\
         delay = \"50ms\"\npoll_min = \"1s\"\npoll_max = \"2s\"\n"
    )
}
