//! A Redis to connect to.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{Secret, Unusable};

/// Where the streams are, for programs that have to be told.
#[derive(Debug, Clone, Args)]
pub struct Streams {
    /// Redis, as redis://user:password@host:6379/0, or rediss:// for TLS
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<Secret>,

    /// A PEM file with the certificate authority of a rediss:// server (else the public ones)
    #[arg(long, env = "REDIS_CA_FILE", value_name = "FILE")]
    pub redis_ca_file: Option<PathBuf>,
}

/// An address of a Redis that has been checked.
#[derive(Debug, Clone)]
pub struct Redis {
    /// Where it is.
    pub url: Secret,
    /// Who vouches for it, in PEM; none: the public authorities.
    pub ca: Option<Vec<u8>>,
}

impl Streams {
    /// The server; checked, not connected.
    pub fn server(&self) -> Result<Redis, Unusable> {
        let url = self.redis_url.as_ref().ok_or_else(|| wrong("is not set"))?;
        redis(url, self.redis_ca_file.as_deref())
    }
}

/// The server of REDIS_URL and REDIS_CA_FILE; checked, not connected.
pub fn redis(url: &Secret, ca_file: Option<&Path>) -> Result<Redis, Unusable> {
    let scheme = url.reveal().split_once("://").map_or("", |(scheme, _)| scheme);
    if !["redis", "rediss", "unix", "redis+unix"].contains(&scheme) {
        return Err(wrong("must begin with redis://, rediss:// or unix://"));
    }
    let Some(file) = ca_file else { return Ok(Redis { url: url.clone(), ca: None }) };
    let pem = std::fs::read(file)
        .map_err(|error| Unusable(format!("--redis-ca-file (REDIS_CA_FILE) {}: {error}", file.display())))?;
    if scheme != "rediss" {
        return Err(wrong("and --redis-ca-file (REDIS_CA_FILE) do not go together: a rediss:// URL is needed"));
    }
    Ok(Redis { url: url.clone(), ca: Some(pem) })
}

fn wrong(why: &str) -> Unusable {
    Unusable(format!("--redis-url (REDIS_URL) {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(url: Option<&str>, file: Option<&str>) -> String {
        let streams = Streams { redis_url: url.map(Secret::from), redis_ca_file: file.map(PathBuf::from) };
        streams.server().expect_err("must be refused").0
    }

    #[test]
    fn what_is_wrong_is_named_without_a_password() {
        assert_eq!(complaint(None, None), "--redis-url (REDIS_URL) is not set");
        for url in ["http://me:hunter2@x", "redisfoo", "me:hunter2@x:6379"] {
            let said = complaint(Some(url), None);
            assert_eq!(said, "--redis-url (REDIS_URL) must begin with redis://, rediss:// or unix://");
        }
        assert!(
            complaint(Some("rediss://me:hunter2@x"), Some("/nowhere.pem")).contains("(REDIS_CA_FILE) /nowhere.pem: ")
        );
        let there = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(complaint(Some("redis://me:hunter2@x"), Some(there)).contains("do not go together"));
    }
}
