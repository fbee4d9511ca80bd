//! Where the fetcher may connect to: the public internet, and no port that belongs to another protocol.
//!
//! A page, a redirect or a sitemap can name any host, and a name can resolve to any address, to another one each time. So
//! the address that is checked is the one that is connected to: the check sits in the resolver that the client uses, and
//! hosts that are written as addresses are checked before each request.

mod nets;

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

use crate::address::Address;
pub use nets::{Net, NotANet};

/// Decides which addresses may be connected to.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Arc<[Net]>,
    /// What names are, in tests that need a name which changes its mind.
    #[cfg(test)]
    names: Option<Arc<tests::Names>>,
}

/// Why a URL is not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forbidden {
    /// The host is, or resolves only to, addresses that are not public.
    #[error("{host} is at {ip}, which is {why}")]
    Ip {
        /// The host as the URL names it.
        host: String,
        /// The address.
        ip: IpAddr,
        /// What the address is: `loopback`, `private`, `link-local` and so on.
        why: &'static str,
    },
    /// A port below 1024 that is neither 80 nor 443: it belongs to another protocol.
    #[error("port {0} belongs to another protocol than the web's")]
    Port(u16),
}

impl Guard {
    /// A guard that lets through these nets besides the public internet: for tests, and for sites in one's own network.
    pub fn new(allowed: impl Into<Arc<[Net]>>) -> Self {
        Self { allowed: allowed.into(), ..Self::default() }
    }

    /// Checks what can be checked before a name is resolved: the port, and a host that is written as an address.
    ///
    /// Ports below 1024 other than 80 and 443 belong to mail, shells and files, whose servers a request could confuse. Above
    /// that the web is anywhere, so there it is the address alone that decides.
    pub fn check(&self, address: &Address) -> Result<(), Forbidden> {
        let url = address.as_url();
        let port = url.port_or_known_default().unwrap_or_default();
        if !matches!(port, 80 | 443 | 1024..) {
            return Err(Forbidden::Port(port));
        }
        match url.host() {
            Some(Host::Ipv4(ip)) => self.check_ip(address.host(), ip.into()),
            Some(Host::Ipv6(ip)) => self.check_ip(address.host(), ip.into()),
            _ => Ok(()),
        }
    }

    fn check_ip(&self, host: &str, ip: IpAddr) -> Result<(), Forbidden> {
        if self.allowed.iter().any(|net| net.contains(ip)) {
            return Ok(());
        }
        match nets::why_not_public(ip) {
            Some(why) => Err(Forbidden::Ip { host: host.to_owned(), ip, why }),
            None => Ok(()),
        }
    }

    /// The addresses among these that may be connected to; the reason where there are none.
    fn admit(&self, host: &str, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Forbidden> {
        let mut admitted = Vec::new();
        let mut refused = None;
        for address in found {
            match self.check_ip(host, address.ip()) {
                Ok(()) => admitted.push(address),
                Err(forbidden) => refused = Some(forbidden),
            }
        }
        match refused {
            Some(forbidden) if admitted.is_empty() => Err(forbidden),
            _ => Ok(admitted),
        }
    }
}

/// The system's resolver, with forbidden addresses taken out of its answers.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = guard.look_up(host).await?;
            let admitted = guard.admit(host, found.into_iter())?;
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

impl Guard {
    async fn look_up(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        #[cfg(test)]
        if let Some(names) = &self.names {
            return Ok(names.next());
        }
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

/// The guard's word within a client's error.
pub(crate) fn forbidden_in(error: &(dyn StdError + 'static)) -> Option<Forbidden> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(forbidden) = this.downcast_ref::<Forbidden>() {
            return Some(forbidden.clone());
        }
        error = this.source();
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// A name that is something else each time that it is asked for.
    #[derive(Debug)]
    pub(crate) struct Names(Mutex<VecDeque<Vec<IpAddr>>>);

    impl Names {
        pub(super) fn next(&self) -> Vec<SocketAddr> {
            let next = self.0.lock().expect("nobody panics here").pop_front().expect("it is asked once a connection");
            next.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect()
        }

        pub(crate) fn left(&self) -> usize {
            self.0.lock().expect("nobody panics here").len()
        }
    }

    impl Guard {
        /// Every name is what stands here, one answer after the other.
        pub(crate) fn with_names(self, answers: impl IntoIterator<Item = Vec<IpAddr>>) -> (Self, Arc<Names>) {
            let names = Arc::new(Names(Mutex::new(answers.into_iter().collect())));
            (Self { names: Some(Arc::clone(&names)), ..self }, names)
        }
    }

    fn check(guard: &Guard, url: &str) -> Result<(), Forbidden> {
        guard.check(&Address::parse(url).expect(url))
    }

    #[test]
    fn a_host_written_as_an_address_is_checked_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fd00:ec2::254]/",
            "http://10.0.0.1:8080/",
            "http://0/",
        ] {
            assert!(matches!(check(&Guard::default(), url), Err(Forbidden::Ip { .. })), "{url}");
        }
        assert_eq!(check(&Guard::default(), "https://93.184.216.34/"), Ok(()));
        assert_eq!(check(&Guard::default(), "https://[2606:2800:220:1::1]/"), Ok(()));
        assert_eq!(check(&Guard::default(), "https://example.org/"), Ok(()));
    }

    #[test]
    fn ports_of_other_protocols_are_refused() {
        for (port, fine) in
            [(80, true), (443, true), (8080, true), (1024, true), (22, false), (25, false), (1, false)]
        {
            assert_eq!(check(&Guard::default(), &format!("http://example.org:{port}/")).is_ok(), fine, "{port}");
        }
    }

    #[test]
    fn a_net_can_be_allowed() {
        let guard = Guard::new(["127.0.0.0/8".parse().expect("a net")]);
        assert_eq!(check(&guard, "http://127.0.0.1:8080/"), Ok(()));
        assert_eq!(check(&guard, "http://[::ffff:127.0.0.1]:8080/"), Ok(()));
        assert!(check(&guard, "http://10.0.0.1/").is_err());
    }

    #[test]
    fn of_several_addresses_the_public_ones_are_left() {
        let found = |ips: &[&str]| {
            let ips: Vec<SocketAddr> =
                ips.iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), 0)).collect();
            Guard::default().admit("example.org", ips.into_iter())
        };
        assert_eq!(found(&["10.0.0.1", "93.184.216.34"]).expect("one is public").len(), 1);
        let forbidden = found(&["10.0.0.1", "fe80::1"]).expect_err("none is public");
        assert_eq!(forbidden.to_string(), "example.org is at fe80::1, which is link-local");
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_refused() {
        let Err(error) = Guard::default().resolve("localhost".parse().expect("a name")).await else {
            panic!("localhost was admitted");
        };
        assert!(matches!(forbidden_in(error.as_ref()), Some(Forbidden::Ip { .. })), "{error}");
    }
}
