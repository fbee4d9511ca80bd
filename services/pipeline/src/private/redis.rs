//! A Redis of our own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use redis::AsyncConnectionConfig;
use servers::programs;

use super::{Kept, Kind, password, take, write_given};
use crate::part::Part;

const NAME: &str = "redis";
pub(super) const LAST_SIGNAL: &str = "TERM";

/// Begins it on the data of the last time.
pub(crate) async fn redis(data: &Path) -> Result<Arc<Kept>> {
    let program = programs::redis().map_err(|error| terminal::unusable(error.to_string()))?;
    let keeper = take(NAME, LAST_SIGNAL, data, &pid_file(data)).await?;
    let password = password(keeper.folder())?;
    Kept::begin(Kind::Redis { program, password }, Part::new(NAME), data, keeper).await
}

pub(super) fn pid_file(data: &Path) -> PathBuf {
    data.join(NAME).join("redis.pid")
}

/// Its settings stand in a file, where the password is not seen. What it answered is in the append-only file, and on the disk
/// within a second; what it lost, the relay sends again. It refuses what it has no room for, and forgets nothing.
pub(super) fn command(program: &Path, folder: &Path, port: u16, password: &str) -> Result<Vec<OsString>> {
    let file = folder.join("redis.conf");
    let at = folder.display();
    let settings = format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndaemonize no\ndir \"{at}\"\npidfile \"{at}/redis.pid\"\n\
         appendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\nloglevel warning\n"
    );
    write_given(&file, settings.as_bytes())?;
    Ok(vec![program.into(), file.into()])
}

/// Whether it is this server that answers, and not another one on the same port.
pub(super) async fn answers(folder: &Path, url: &str) -> bool {
    let asked = async {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(super::ANSWER_MAX));
        let mut db = redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?;
        // PING is refused while the data are still being loaded; CONFIG is not.
        redis::cmd("PING").exec_async(&mut db).await?;
        let (_, serving): (String, String) = redis::cmd("CONFIG").arg(&["GET", "dir"]).query_async(&mut db).await?;
        redis::RedisResult::Ok(Path::new(&serving) == folder)
    };
    asked.await.unwrap_or(false)
}
