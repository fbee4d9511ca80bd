//! An address to listen at.

use std::net::{SocketAddr, TcpListener};

/// Nobody can be heard there just now: somebody else has the address, or the machine does not have it yet. That is no wrong
/// setting, which would be wrong for ever: a program that fails with it exits with 1, and may be started again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotListen(String);

impl From<std::io::Error> for CannotListen {
    fn from(error: std::io::Error) -> Self {
        Self(format!("nobody can be heard: {error}"))
    }
}

/// Takes an address for a setting such as `--listen (RELAY_LISTEN)`. What takes connections from it may wait for none.
pub fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener, CannotListen> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|why| {
        CannotListen(format!("{setting} {address} cannot be had: {why}; end what has it, or name another address"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_taken_is_named_with_its_setting() {
        let first = listen("--listen (TOOL_LISTEN)", ([127, 0, 0, 1], 0).into()).expect("any port");
        let address = first.local_addr().expect("bound");
        let said = listen("--listen (TOOL_LISTEN)", address).expect_err("it is taken").to_string();
        assert!(said.starts_with(&format!("--listen (TOOL_LISTEN) {address} cannot be had: ")), "{said}");
    }
}
