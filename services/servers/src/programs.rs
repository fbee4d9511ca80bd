//! Where the servers' programs are, and whether they are new enough.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

const POSTGRES_MIN: u32 = 15;
const REDIS_MIN: u32 = 7;

/// Debian and Ubuntu, then Homebrew on Apple silicon and on Intel: a folder per version, programs in `bin`.
const POSTGRES_HOMES: [(&str, &str); 3] =
    [("/usr/lib/postgresql", ""), ("/opt/homebrew/opt", "postgresql@"), ("/usr/local/opt", "postgresql@")];

/// The folder of `initdb` and `postgres`: `$PG_BIN`, else the newest installed, else the one in `PATH`.
pub fn postgres() -> Result<PathBuf> {
    let folder = match std::env::var_os("PG_BIN") {
        Some(folder) => PathBuf::from(folder),
        None => newest_postgres().or_else(|| folder_in_path("initdb")).with_context(|| {
            format!("Postgres {POSTGRES_MIN} or newer is needed: install it (apt-get install postgresql, dnf install postgresql-server, brew install postgresql@17) or set PG_BIN to the folder of its programs")
        })?,
    };
    let program = folder.join("postgres");
    let said = version(program.as_os_str())?;
    ensure!(
        major(&said, " ").is_some_and(|major| major >= POSTGRES_MIN),
        "Postgres {POSTGRES_MIN} or newer is needed, and {} is: {said}",
        program.display()
    );
    Ok(folder)
}

/// `redis-server`: `$REDIS_SERVER`, else the one in `PATH`.
pub fn redis() -> Result<PathBuf> {
    let program = match std::env::var_os("REDIS_SERVER") {
        Some(program) => PathBuf::from(program),
        None => folder_in_path("redis-server").map(|folder| folder.join("redis-server")).with_context(|| {
            format!("Redis {REDIS_MIN}.0 or newer is needed: install it (apt-get install redis-server, dnf install redis, brew install redis) or set REDIS_SERVER to its program")
        })?,
    };
    let said = version(program.as_os_str())?;
    ensure!(
        major(&said, "v=").is_some_and(|major| major >= REDIS_MIN),
        "Redis {REDIS_MIN}.0 or newer is needed, and {} is: {said}",
        program.display()
    );
    Ok(program)
}

/// `pgbouncer`: `$PGBOUNCER`, else the one in `PATH`, else where Debian puts it, which not everybody's `PATH` names.
pub fn pgbouncer() -> Result<PathBuf> {
    let program = match std::env::var_os("PGBOUNCER") {
        Some(program) => PathBuf::from(program),
        None => folder_in_path("pgbouncer").unwrap_or_else(|| PathBuf::from("/usr/sbin")).join("pgbouncer"),
    };
    ensure!(
        program.is_file(),
        "PgBouncer is needed: install it (apt-get install pgbouncer, dnf install pgbouncer, brew install pgbouncer) or set PGBOUNCER to its program"
    );
    Ok(program)
}

fn newest_postgres() -> Option<PathBuf> {
    POSTGRES_HOMES
        .iter()
        .flat_map(|(home, prefix)| {
            let versions = std::fs::read_dir(home).into_iter().flatten().flatten();
            versions.filter_map(move |entry| {
                let number: u32 = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
                Some((number, entry.path().join("bin")))
            })
        })
        // A package of clients only makes the folder, too.
        .filter(|(_, bin)| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        // One that is too old must not hide a newer one in PATH.
        .filter(|(number, _)| *number >= POSTGRES_MIN)
        .max_by_key(|(number, _)| *number)
        .map(|(_, bin)| bin)
}

/// The folder of a program in `PATH`, behind all links.
pub fn folder_in_path(program: &str) -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())?;
    // A distribution may link one program into /usr/bin and keep its siblings elsewhere.
    found.canonicalize().ok()?.parent().map(Path::to_path_buf)
}

fn version(program: &OsStr) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

/// The first number that stands right behind a mark: `postgres (PostgreSQL) 15.18`, `Redis server v=7.0.15 sha=...`.
fn major(said: &str, mark: &str) -> Option<u32> {
    said.match_indices(mark).find_map(|(at, _)| {
        let number = &said[at + mark.len()..];
        let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        number[..end].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn a_major_version_is_read_from_what_a_program_says() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", " "), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1", " "), Some(18));
        assert_eq!(major("Redis server v=7.0.15 sha=00000000:0 bits=64", "v="), Some(7));
        assert_eq!(major("Valkey server v=8.1.0 sha=0", "v="), Some(8));
        assert_eq!(major("something else", "v="), None);
    }
}
