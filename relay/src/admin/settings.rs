//! Where the surface listens, and what callers must show.

use std::path::{Path, PathBuf};

use clap::Args;
use terminal::{Secret, Unusable};
use vitals::Listen;

use super::tokens::{Scope, Tokens};
use crate::mask::{Mask, SECRETS};

/// A shorter token can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// Where the operator's surface listens, and who may use it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Operator's surface (HTTP)")]
pub struct Surface {
    /// Where it listens, or off. Any address but a loopback one needs both tokens
    #[arg(long, env = "RELAY_LISTEN", default_value = "127.0.0.1:7654", value_name = "ADDRESS")]
    pub listen: Listen,

    /// Who shows this token may look
    #[arg(long, env = "RELAY_READ_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub read_token: Option<Secret>,

    /// A file that holds it
    #[arg(long, env = "RELAY_READ_TOKEN_FILE", value_name = "FILE", conflicts_with = "read_token")]
    pub read_token_file: Option<PathBuf>,

    /// Who shows this token may replay, drop, pause and publish, too
    #[arg(long, env = "RELAY_WRITE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub write_token: Option<Secret>,

    /// A file that holds it
    #[arg(long, env = "RELAY_WRITE_TOKEN_FILE", value_name = "FILE", conflicts_with = "write_token")]
    pub write_token_file: Option<PathBuf>,

    /// Who shows this token may publish events, and nothing else
    #[arg(long, env = "RELAY_PUBLISH_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub publish_token: Option<Secret>,

    /// A file that holds it
    #[arg(long, env = "RELAY_PUBLISH_TOKEN_FILE", value_name = "FILE", conflicts_with = "publish_token")]
    pub publish_token_file: Option<PathBuf>,

    /// Values that are not shown in payloads and headers, by key or by type and path: email,*token*,order.*:customer.address; or off
    #[arg(long, env = "RELAY_MASK", default_value = SECRETS, value_name = "RULES")]
    pub mask: Mask,

    /// What this place is called on the page, such as production
    #[arg(long, env = "RELAY_ENVIRONMENT", value_name = "NAME")]
    pub environment: Option<String>,
}

impl Surface {
    /// What is wrong with these settings taken together, or the tokens.
    pub(crate) fn check(&self) -> Result<Tokens, Unusable> {
        let tokens = Tokens::new([
            (Scope::Read, token("--read-token", self.read_token.as_ref(), self.read_token_file.as_deref())?),
            (Scope::Write, token("--write-token", self.write_token.as_ref(), self.write_token_file.as_deref())?),
            (
                Scope::Publish,
                token("--publish-token", self.publish_token.as_ref(), self.publish_token_file.as_deref())?,
            ),
        ]);
        if tokens.repeat() {
            return Err(Unusable(
                "two of RELAY_READ_TOKEN, RELAY_WRITE_TOKEN and RELAY_PUBLISH_TOKEN are the same: who may look could do all the rest"
                    .to_owned(),
            ));
        }
        match self.listen {
            Listen::At(address) if !address.ip().is_loopback() => {
                let missing = [(Scope::Read, "RELAY_READ_TOKEN"), (Scope::Write, "RELAY_WRITE_TOKEN")];
                match missing.into_iter().find(|(scope, _)| !tokens.has(*scope)) {
                    None => Ok(tokens),
                    Some((_, variable)) => Err(Unusable(format!(
                        "--listen (RELAY_LISTEN) is {address}, which others can reach: set {variable}, or listen on 127.0.0.1"
                    ))),
                }
            }
            _ => Ok(tokens),
        }
    }
}

fn token(flag: &str, token: Option<&Secret>, file: Option<&Path>) -> Result<Option<Vec<u8>>, Unusable> {
    let variable = format!("RELAY_{}", flag[2..].replace('-', "_").to_uppercase());
    let (text, named) = match (token, file) {
        (Some(token), _) => (token.reveal().to_owned(), format!("{flag} ({variable})")),
        (None, Some(file)) => {
            let named = format!("{flag}-file ({variable}_FILE) {}", file.display());
            (terminal::read_secret(file).map_err(|why| Unusable(format!("{named}: {why}")))?, named)
        }
        (None, None) => return Ok(None),
    };
    // Only such can be sent in a header as they are.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Unusable(format!("{named} holds something else than letters, digits and signs")));
    }
    if text.len() < TOKEN_BYTES_MIN {
        return Err(Unusable(format!("{named} has fewer than {TOKEN_BYTES_MIN} characters, and could be guessed")));
    }
    Ok(Some(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        surface: Surface,
    }

    const READ: [&str; 2] = ["--read-token", "read-read-read-read"];
    const WRITE: [&str; 2] = ["--write-token", "write-write-write-w"];

    fn surface(flags: &[&str]) -> Surface {
        Line::try_parse_from([&["relay"], flags].concat()).expect("flags").surface
    }

    fn complaint(flags: &[&str]) -> String {
        surface(flags).check().expect_err("must be refused").to_string()
    }

    #[test]
    fn only_loopback_needs_no_token() {
        for address in ["127.0.0.1:7654", "127.9.9.9:0", "[::1]:7654", "off"] {
            surface(&["--listen", address]).check().expect("sound");
        }
        for address in ["0.0.0.0:7654", "[::]:7654", "10.0.0.1:7654"] {
            let at = ["--listen", address];
            assert!(complaint(&at).contains("set RELAY_READ_TOKEN"), "{address}");
            assert!(complaint(&[at, READ].concat()).contains("set RELAY_WRITE_TOKEN"), "{address}");
            surface(&[at, READ, WRITE].concat()).check().expect("sound");
        }
        assert!(Line::try_parse_from(["relay", "--listen", "localhost"]).is_err());
    }

    #[test]
    fn a_weak_token_is_refused() {
        assert!(complaint(&["--read-token", "short"]).contains("RELAY_READ_TOKEN"));
        assert!(complaint(&["--write-token", "with blanks in the middle"]).contains("RELAY_WRITE_TOKEN"));
        assert!(complaint(&[READ, ["--write-token", READ[1]]].concat()).contains("the same"));
        assert!(complaint(&["--publish-token-file", "/nowhere"]).contains("RELAY_PUBLISH_TOKEN_FILE"));
    }

    #[test]
    fn no_token_is_ever_shown() {
        assert!(!format!("{:?}", surface(&READ)).contains("read-read"));
        let tokens = surface(&READ).check().expect("sound");
        assert!(!format!("{tokens:?}").contains("read-read"));
    }
}
