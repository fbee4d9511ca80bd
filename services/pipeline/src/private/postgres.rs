//! A Postgres of our own.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use servers::{Keeper, programs};
use tokio::task::spawn_blocking;

use super::{Kept, Kind, password, take};
use crate::part::Part;
use crate::store;

const NAME: &str = "postgres";
/// Ends open sessions, writes everything down, and ends.
pub(super) const LAST_SIGNAL: &str = "INT";

/// What is not as it comes: nothing listens but loopback, and it is small. What it answered is on the disk.
const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=80",
    "shared_buffers=64MB",
    "max_wal_size=256MB",
    "log_min_messages=warning",
    "log_checkpoints=off",
];

/// Begins it on the data of the last time; the first time they are made.
pub(crate) async fn postgres(data: &Path) -> Result<Arc<Kept>> {
    let programs = programs::postgres().map_err(|error| terminal::unusable(error.to_string()))?;
    let keeper = take(NAME, LAST_SIGNAL, data, &pid_file(data)).await?;
    let initdb = programs.join("initdb");
    let (keeper, password) = spawn_blocking(move || -> Result<_> {
        let password = make(&keeper, &initdb)?;
        Ok((keeper, password))
    })
    .await??;
    let program = programs.join("postgres");
    same_version(keeper.folder(), &program)?;
    Kept::begin(Kind::Postgres { program, password }, Part::new(NAME), data, keeper).await
}

pub(super) fn pid_file(data: &Path) -> std::path::PathBuf {
    data.join(NAME).join("data/postmaster.pid")
}

/// Makes the cluster, if it is not there; half of one is not there.
fn make(keeper: &Keeper, initdb: &Path) -> Result<String> {
    let file = keeper.folder().join("password");
    if keeper.folder().join("data").exists() && !file.exists() {
        return Err(terminal::unusable(format!(
            "{} is lost, and without it nobody comes in: the password stands also in the file env of the data folder, in DATABASE_URL",
            file.display()
        )));
    }
    let password = password(keeper.folder())?;
    let (data, half) = (keeper.folder().join("data"), keeper.folder().join("data.half"));
    if data.exists() {
        return Ok(password);
    }
    keeper.run(&["rm".as_ref(), "-rf".as_ref(), half.as_os_str()])?;
    let mut command: Vec<&OsStr> =
        vec![initdb.as_ref(), "-D".as_ref(), half.as_ref(), "--pwfile".as_ref(), file.as_ref()];
    command.extend(["-A", "scram-sha-256", "-U", "postgres", "-E", "UTF8", "--no-locale"].map(OsStr::new));
    keeper.run(&command).context("cannot create a Postgres cluster")?;
    keeper.run(&["mv".as_ref(), half.as_os_str(), data.as_os_str()])?;
    Ok(password)
}

/// A newer Postgres does not read what an older one wrote.
fn same_version(folder: &Path, program: &Path) -> Result<()> {
    let wrote = std::fs::read_to_string(folder.join("data/PG_VERSION")).unwrap_or_default();
    let said = std::process::Command::new(program).arg("--version").output()?.stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let number = said.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap_or_default();
    let major: String = number.chars().take_while(char::is_ascii_digit).collect();
    if !wrote.trim().is_empty() && wrote.trim() != major {
        bail!(terminal::Unusable(format!(
            "{} was made by Postgres {}, and {} is {major}: set PG_BIN to the folder of the programs that made it, or name another folder by --data",
            folder.display(),
            wrote.trim(),
            program.display()
        )));
    }
    Ok(())
}

pub(super) fn command(program: &Path, folder: &Path, port: u16) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![program.into(), "-D".into(), folder.join("data").into()];
    words.extend(["-p".into(), port.to_string().into()]);
    words.extend(SETTINGS.iter().flat_map(|setting| ["-c".into(), (*setting).into()]));
    words
}

/// Whether it is this server that answers, and not another one on the same port.
pub(super) async fn answers(folder: &Path, url: &str) -> bool {
    store::data_folder(url).await.is_ok_and(|serving| Path::new(&serving) == folder.join("data"))
}
