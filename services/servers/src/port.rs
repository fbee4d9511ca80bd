//! A port that a server can come back to.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// Below the ephemeral range of Linux and macOS: there, an outgoing connection of anybody could take the port
/// while its server is down for a restart.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
const TRIES_MAX: usize = 100;

/// A port on which nobody listens at this moment; whoever needs to be sure has to bind it.
pub fn free() -> Result<u16> {
    Ok(listener()?.local_addr()?.port())
}

/// The same, bound.
pub fn listener() -> Result<TcpListener> {
    (0..TRIES_MAX)
        .find_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, random_port())).ok())
        .context("no free port on 127.0.0.1")
}

fn random_port() -> u16 {
    // RandomState is keyed by the system's randomness, so parallel test processes do not pick the same ports.
    let random = RandomState::new().build_hasher().finish();
    PORTS.start + (random % PORTS.len() as u64) as u16
}
