//! A disk whose fsync takes about a millisecond, as many in production do, on machines whose disk is quicker.
//!
//! Postgres's `commit_delay` is no stand-in: whoever commits while the leader sleeps is still taken along, so 16
//! producers share one flush where a slow disk makes them wait for the next one. So `fdatasync` itself is made slow, by a
//! library of a few lines that is loaded before the C library. For this the program starts itself again once.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::machine;

const FSYNC_WANTED: Duration = Duration::from_millis(1);
const FSYNC_GOOD_ENOUGH: Duration = Duration::from_micros(800);
const EXTRA: &str = "OUTBOX_BENCH_FSYNC_EXTRA_US";
const PRELOAD: &str = "LD_PRELOAD";

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int fdatasync(int file) {
    static int (*real)(int);
    static struct timespec extra;
    if (!real) {
        const char *us = getenv("OUTBOX_BENCH_FSYNC_EXTRA_US");
        extra.tv_nsec = us ? atol(us) * 1000 : 0;
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    }
    nanosleep(&extra, 0);
    return real(file);
}
"#;

/// The library's file, which goes when the program ends.
pub struct SlowDisk(Option<PathBuf>);

/// Starts this program again with a slow `fdatasync`, unless it is slow by now. Where that cannot be done, it says so
/// and the disk stays as it is: the table tells how long a commit took.
pub fn enter() -> SlowDisk {
    if env::var_os(EXTRA).is_some() {
        return SlowDisk(env::var_os(PRELOAD).map(PathBuf::from));
    }
    if let Err(error) = start_again() {
        eprintln!("bench: the disk stays as quick as it is: {error:#}");
    }
    SlowDisk(None)
}

/// Returns only if there is nothing to do, or if it fails.
fn start_again() -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "fdatasync can be made slow on Linux only");
    let extra = FSYNC_WANTED.saturating_sub(machine::fdatasync_time()?);
    if extra < FSYNC_WANTED - FSYNC_GOOD_ENOUGH {
        return Ok(());
    }
    let library = build()?;
    let error = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(EXTRA, extra.as_micros().to_string())
        .env(PRELOAD, &library)
        .exec();
    fs::remove_file(library)?;
    Err(error).context("cannot start again")
}

fn build() -> Result<PathBuf> {
    ensure!(env::var_os(PRELOAD).is_none(), "{PRELOAD} is in use");
    let library = env::temp_dir().join(format!("outbox-slow-disk-{}.so", std::process::id()));
    let source = library.with_extension("c");
    fs::write(&source, LIBRARY)?;
    let compiler = env::var_os("CC").unwrap_or_else(|| OsString::from("cc"));
    let output = Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).output();
    fs::remove_file(&source)?;
    let output = output.context("there is no C compiler")?;
    ensure!(output.status.success(), "the C compiler says: {}", String::from_utf8_lossy(&output.stderr));
    Ok(library)
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        if let Some(library) = &self.0 {
            let _ = fs::remove_file(library);
        }
    }
}
