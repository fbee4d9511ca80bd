//! A Postgres to connect to.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::setting::{is_torn, unreadable};
use crate::{Secret, Unusable};

/// How to connect to DATABASE_URL under a name that `pg_stat_activity` shows; checked, not connected.
pub fn postgres(url: Option<&Secret>, application: &str) -> Result<PgConnectOptions, Unusable> {
    let bad = |why: &str| Unusable(format!("--database-url (DATABASE_URL) {why}"));
    let url = url.ok_or_else(|| bad("is not set"))?.reveal();
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(bad("must begin with postgres://"));
    }
    // The library's own message may quote the URL, and with it the password. One that can be read may still not be what was meant.
    let read = PgConnectOptions::from_str(url).ok().filter(|_| !is_torn(url));
    let options = read.ok_or_else(|| bad(unreadable(url)))?;
    Ok(options.application_name(application).disable_statement_logging())
}

/// A connection. What stands in the way is told with the address, and without credentials.
pub async fn open(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect_with(options).await.map_err(|error| match error {
        sqlx::Error::Io(why) => {
            let at = match options.get_socket() {
                Some(socket) => socket.display().to_string(),
                None => format!("{}:{}", options.get_host(), options.get_port()),
            };
            sqlx::Error::Io(std::io::Error::new(why.kind(), format!("{at}: {why}")))
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_of_a_postgres_is_named_without_its_password() {
        assert_eq!(postgres(None, "x").expect_err("none").0, "--database-url (DATABASE_URL) is not set");
        let wrong = postgres(Some(&"mysql://me:hunter2@x".into()), "x").expect_err("wrong");
        assert_eq!(wrong.0, "--database-url (DATABASE_URL) must begin with postgres://");
        let wrong = postgres(Some(&"postgres://me:hunter2@x:port/".into()), "x").expect_err("wrong");
        assert_eq!(wrong.0, "--database-url (DATABASE_URL) cannot be read");
    }

    #[test]
    fn a_sign_that_a_url_needs_for_itself_is_hinted_at_and_the_password_is_not_shown() {
        for password in ["hunter/2", "hunter?2", "hunter#2", "12/hunter", "12#hunter"] {
            let wrong = postgres(Some(&format!("postgres://me:{password}@x/db").as_str().into()), "x");
            let why = wrong.map(|_| ()).expect_err(password).0;
            assert!(why.contains("write % as %25") && !why.contains("hunter"), "{why}");
        }
        for sound in ["me:hunter%2F2@x/db", "x/db?application_name=a@b", "me:hunter2@x/a@b"] {
            assert!(postgres(Some(&format!("postgres://{sound}").as_str().into()), "x").is_ok(), "{sound}");
        }
    }
}
