//! What callers show, compared in a time that tells nothing, and a limit for those who guess.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

/// So many wrong tokens may come from one address within `GUESSES_WITHIN`; then it has to wait until that is over.
const GUESSES_MAX: u32 = 10;
const GUESSES_WITHIN: Duration = Duration::from_secs(60);
/// So many addresses are remembered.
const GUESSERS_MAX: usize = 1_024;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Look.
    Read,
    /// Publish events.
    Publish,
    /// Everything.
    Write,
}

impl Scope {
    /// How the audit names who has shown this token.
    pub(crate) fn holder(self) -> &'static str {
        match self {
            Self::Read => "read token",
            Self::Publish => "publish token",
            Self::Write => "write token",
        }
    }

    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Read => "RELAY_READ_TOKEN",
            Self::Publish => "RELAY_PUBLISH_TOKEN",
            Self::Write => "RELAY_WRITE_TOKEN",
        }
    }

    fn allows(self, wanted: Self) -> bool {
        self == Self::Write || self == wanted
    }
}

/// The tokens that there are.
#[derive(Clone)]
pub(crate) struct Tokens(Vec<(Scope, Vec<u8>)>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(scope, _)| scope)).finish()
    }
}

impl Tokens {
    pub(crate) fn new(tokens: impl IntoIterator<Item = (Scope, Option<Vec<u8>>)>) -> Self {
        Self(tokens.into_iter().filter_map(|(scope, token)| Some((scope, token?))).collect())
    }

    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.0.iter().any(|(has, _)| *has == scope)
    }

    /// Whether one must be shown for this. Who guards writing guards publishing.
    pub(crate) fn guards(&self, wanted: Scope) -> bool {
        self.has(wanted) || (wanted == Scope::Publish && self.has(Scope::Write))
    }

    /// Whether two are the same.
    pub(crate) fn repeat(&self) -> bool {
        self.0.iter().enumerate().any(|(at, (_, token))| self.0[..at].iter().any(|(_, other)| other == token))
    }

    /// Whose token this is. Every token is compared, whichever fits.
    pub(crate) fn whose(&self, shown: &[u8]) -> Option<Scope> {
        let mut whose = None;
        for (scope, token) in &self.0 {
            if bool::from(token.as_slice().ct_eq(shown)) {
                whose = Some(*scope);
            }
        }
        whose
    }

    pub(crate) fn allows(&self, whose: Scope, wanted: Scope) -> bool {
        whose.allows(wanted)
    }
}

/// Who an address stands for: of IPv6 its network, since everybody there has as many addresses as they like.
pub(crate) fn whom(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::from((address.to_bits() >> 64 << 64).to_be_bytes()),
        address => address,
    }
}

/// Addresses from which wrong tokens came.
#[derive(Debug, Default)]
pub(crate) struct Guessers(HashMap<IpAddr, (u32, Instant)>);

impl Guessers {
    /// For how long an address has still to wait, if it has.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let (guesses, since) = self.0.get(&whom(address))?;
        let over = *since + GUESSES_WITHIN;
        (*guesses >= GUESSES_MAX && now < over).then(|| over - now)
    }

    /// A wrong token came from there.
    pub(crate) fn guessed(&mut self, address: IpAddr, now: Instant) {
        let address = whom(address);
        if self.0.len() >= GUESSERS_MAX {
            self.0.retain(|_, (_, since)| now < *since + GUESSES_WITHIN);
        }
        if self.0.len() >= GUESSERS_MAX && !self.0.contains_key(&address) {
            // Somebody guesses from everywhere. The one who began first makes room.
            let oldest = self.0.iter().min_by_key(|(_, (_, since))| *since).map(|(address, _)| *address);
            oldest.map(|address| self.0.remove(&address));
        }
        let (guesses, since) = self.0.entry(address).or_insert((0, now));
        if now >= *since + GUESSES_WITHIN {
            (*guesses, *since) = (0, now);
        }
        *guesses += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_what_it_is_for() {
        let tokens = Tokens::new([
            (Scope::Read, Some(b"r".to_vec())),
            (Scope::Publish, None),
            (Scope::Write, Some(b"w".to_vec())),
        ]);
        assert_eq!(
            [b"r", b"w", b"x"].map(|shown| tokens.whose(shown)),
            [Some(Scope::Read), Some(Scope::Write), None]
        );
        assert!(tokens.guards(Scope::Publish) && tokens.allows(Scope::Write, Scope::Publish));
        assert!(tokens.allows(Scope::Write, Scope::Read) && !tokens.allows(Scope::Read, Scope::Write));
        assert!(!tokens.allows(Scope::Publish, Scope::Read) && !tokens.allows(Scope::Publish, Scope::Write));
    }

    #[test]
    fn who_guesses_too_often_has_to_wait_and_others_do_not() {
        let (mut guessers, now) = (Guessers::default(), Instant::now());
        let [one, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        for _ in 0..GUESSES_MAX {
            assert_eq!(guessers.wait(one, now), None);
            guessers.guessed(one, now);
        }
        assert_eq!(guessers.wait(one, now), Some(GUESSES_WITHIN));
        assert_eq!(guessers.wait(other, now), None);
        assert_eq!(guessers.wait(one, now + GUESSES_WITHIN), None);
        guessers.guessed(one, now + GUESSES_WITHIN);
        assert_eq!(guessers.wait(one, now + GUESSES_WITHIN), None);
    }

    #[test]
    fn another_address_of_the_same_network_is_the_same_guesser() {
        let (mut guessers, now) = (Guessers::default(), Instant::now());
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for n in 0..GUESSES_MAX {
            guessers.guessed(address(&format!("2001:db8:1:2::{n:x}")), now);
        }
        assert!(guessers.wait(address("2001:db8:1:2:ffff::1"), now).is_some());
        assert_eq!(guessers.wait(address("2001:db8:1:3::1"), now), None);
        assert_eq!(whom(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }

    #[test]
    fn guessers_are_remembered_in_bounded_memory() {
        let (mut guessers, now) = (Guessers::default(), Instant::now());
        for n in 0..2 * GUESSERS_MAX as u32 {
            guessers.guessed(IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(guessers.0.len() <= GUESSERS_MAX);
    }
}
