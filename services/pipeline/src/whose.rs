//! Whose a server or a store is: this data folder's own, or yours. It is said at the start, and what was made up for a first look
//! goes into nothing that is yours unless you say so.

use std::path::Path;

use terminal::{Secret, Unusable};

use crate::config::{Config, Settings};
use crate::private;

/// A URL of our own private server, as the file for a shell has it, names none that is yours: the server is begun as if nothing were said.
pub(crate) fn without_our_own(mut config: Config) -> Config {
    let ours = |url: &Option<Secret>, server: &str| {
        let url = url.as_ref()?;
        private::is_ours(&config.data, server, url.reveal()).then_some(())
    };
    let (postgres, redis) = (ours(&config.database_url, "postgres"), ours(&config.redis_url, "redis"));
    if postgres.is_some() {
        config.database_url = None;
    }
    if redis.is_some() {
        config.redis_url = None;
    }
    config
}

/// Refuses to pour the bundled site into what is yours.
pub(crate) fn spare_yours(config: &Config, settings: &Settings) -> Result<(), Unusable> {
    let yours = yours(config, settings);
    if yours.is_empty() {
        return Ok(());
    }
    Err(Unusable(format!(
        "no sources are named, and the made-up articles of the bundled news site do not go into what is yours ({}): name your own \
         by --sources (FALLAH_SOURCES), or say --demo on (PIPELINE_DEMO)",
        yours.join(", ")
    )))
}

/// The settings that name where objects and articles are.
pub(crate) const OBJECTS: &str = "HASAD_STORE";
pub(crate) const ARTICLES: &str = "BISAN_DATABASE";

/// The settings that name something of yours.
pub(crate) fn yours(config: &Config, settings: &Settings) -> Vec<&'static str> {
    let default = |name: &str| config.data.join(name);
    let store = settings.hasad.place.store.reveal();
    let folder = store.strip_prefix("file:").map(|path| path.strip_prefix("//").unwrap_or(path));
    let index = &settings.bisan.index;
    let all = [
        ("DATABASE_URL", config.database_url.is_some()),
        ("REDIS_URL", config.redis_url.is_some()),
        (OBJECTS, !folder.is_some_and(|folder| is_same(Path::new(folder), &default("objects")))),
        (ARTICLES, !is_same(&settings.bisan.database.database, &default("bisan.db"))),
        ("MEILI_URL", index.meili_url.is_some() && config.search_write != bisan::SearchWrite::Off),
    ];
    all.into_iter().filter_map(|(setting, yours)| yours.then_some(setting)).collect()
}

/// Whether both names lead to one place, be something there already or not.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| {
        let of_a_new_one = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(of_a_new_one).unwrap_or_else(|| path.to_owned())
    };
    one == other || real(one) == real(other)
}

/// Where everything of yours is, for people: without a user, and without a password.
pub(crate) fn in_words(config: &Config, settings: &Settings) -> Vec<String> {
    let mut lines = vec![];
    for setting in yours(config, settings) {
        let line = match setting {
            "DATABASE_URL" => format!("Postgres: yours, {}", postgres(config.database_url.as_ref())),
            "REDIS_URL" => format!("Redis: yours, {}", redis(config.redis_url.as_ref())),
            OBJECTS => format!("objects: yours, {}", settings.hasad.place.store),
            ARTICLES => format!("articles: yours, {}", settings.bisan.database.database.display()),
            _ => {
                let url = settings.bisan.index.meili_url.as_deref().unwrap_or_default();
                format!("search index: yours, {}", terminal::Address::from(url))
            }
        };
        lines.push(line);
    }
    lines
}

/// The server and the database of a URL.
pub(crate) fn postgres(url: Option<&Secret>) -> String {
    let Ok(options) = terminal::postgres(url, "pipeline") else { return String::new() };
    let at = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    // As Postgres has it: nobody named one, so it is the user's.
    format!("{at}/{}", options.get_database().unwrap_or_else(|| options.get_username()))
}

fn redis(url: Option<&Secret>) -> String {
    use redis::IntoConnectionInfo;
    let known = url.and_then(|url| url.reveal().into_connection_info().ok());
    known.map_or_else(String::new, |known| format!("{}/{}", known.addr(), known.redis_settings().db()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_yours_is_told_without_its_password() {
        let url = |text: &str| Some(Secret::from(text));
        assert_eq!(postgres(url("postgres://me:hunter2@db.example/shop").as_ref()), "db.example:5432/shop");
        assert_eq!(postgres(url("postgres://me:hunter2@db.example").as_ref()), "db.example:5432/me");
        assert_eq!(redis(url("redis://me:hunter2@cache:6380/2").as_ref()), "cache:6380/2");
    }
}
