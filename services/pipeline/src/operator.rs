//! Where the relay's surface listens: as its setting says; else at its usual place, or wherever there is room.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Where operators look for it.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7654);

/// The place, which may change while the relay rests.
#[derive(Debug)]
pub(crate) enum Operator {
    /// As the relay's own setting says, which may be `off`.
    Named(String),
    Chosen(Mutex<SocketAddr>),
}

impl Operator {
    pub(crate) fn new() -> Self {
        match std::env::var("RELAY_LISTEN") {
            Ok(named) if !named.is_empty() => Self::Named(named),
            _ => Self::near(USUAL),
        }
    }

    fn near(address: SocketAddr) -> Self {
        let chosen = Self::Chosen(Mutex::new(address));
        chosen.choose();
        chosen
    }

    /// Where it is to listen now; none: its own setting says so. The last place stays, unless somebody has taken it: two
    /// programs that begin at once may both have found it free.
    pub(crate) fn choose(&self) -> Option<SocketAddr> {
        let Self::Chosen(chosen) = self else { return None };
        let mut chosen = chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if TcpListener::bind(*chosen).is_err()
            && let Ok(port) = servers::port::free()
        {
            chosen.set_port(port);
        }
        Some(*chosen)
    }

    /// The operator's page, if there is one.
    pub(crate) fn url(&self) -> Option<String> {
        let address = match self {
            Self::Named(named) => named.parse().ok()?,
            Self::Chosen(chosen) => *chosen.lock().unwrap_or_else(PoisonError::into_inner),
        };
        Some(format!("http://{address}/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_taken_is_left_to_others() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("bound");
        let operator = Operator::near(address);
        let chosen = operator.choose().expect("a place");
        assert_ne!(chosen, address);
        assert_eq!(operator.choose(), Some(chosen), "it stays while there is room");
        assert_eq!(operator.url(), Some(format!("http://{chosen}/")));
        assert_eq!(Operator::Named("off".to_owned()).url(), None);
    }
}
