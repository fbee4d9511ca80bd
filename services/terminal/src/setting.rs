//! Values of flags and their variables.

use std::fmt;
use std::time::Duration;

/// A value that must not be seen: a URL with credentials, a key.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one who connects with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// An address that may be shown: without the credentials that somebody has put into it, although none belong there.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// The address itself, for the one who connects with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there may be credentials in it. A password may hold any letter, so whatever stands before an `@` counts.
    pub fn has_credentials(&self) -> bool {
        credentials(&self.0).is_some()
    }
}

/// Where a text may have credentials, if it is an address.
pub(crate) fn credentials(text: &str) -> Option<std::ops::Range<usize>> {
    let from = text.find("://")? + "://".len();
    Some(from..from + text[from..].rfind('@')?)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match credentials(&self.0) {
            Some(place) => write!(f, "{}...{}", &self.0[..place.start], &self.0[place.end..]),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Whether the password of a URL ends it too early: what is left of it stands in the path.
pub(crate) fn is_torn(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    !authority.contains('@')
        && path.starts_with(['/', '#'])
        && path.split('?').next().unwrap_or_default().contains('@')
}

/// What is wrong with a URL that cannot be read; never the URL itself. A password is the usual reason.
pub fn unreadable(url: &str) -> &'static str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let password = rest.rsplit_once('@').and_then(|(credentials, _)| credentials.split_once(':')).map(|(_, it)| it);
    let sound = password.is_none_or(|password| {
        let hex = |text: &str| text.len() >= 2 && text.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
        !password.contains(['/', '?', '#', '[', ']', '@', ' ']) && password.split('%').skip(1).all(hex)
    });
    match sound {
        true => "cannot be read",
        false => "cannot be read: in a password write % as %25, / as %2F, ? as %3F, # as %23 and @ as %40",
    }
}

/// `300ms`, `2s`, `24h`, `7d`, or `0`.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    let span: jiff::Span = text.parse().map_err(|_| "a duration is a number and a unit, such as 300ms, 2s or 24h")?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|_| "a duration cannot be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("5").is_err() && duration("-2s").is_err() && duration("soon").is_err());
    }

    #[test]
    fn an_address_is_shown_without_its_credentials() {
        for (address, shown) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://me:hunter2@host:9000/x", "http://...@host:9000/x"),
            ("s3://me:hun/te@r2@bucket", "s3://...@bucket"),
            ("file:./a@b", "file:./a@b"),
        ] {
            let address = Address::from(address);
            assert_eq!((address.to_string(), format!("{address:?}")), (shown.to_owned(), format!("\"{shown}\"")));
            assert_eq!(address.has_credentials(), shown.contains("..."));
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "...");
    }
}
