//! Whose folder it is: a lock that lasts as long as anybody lives who was started in it.
//!
//! The keeper and its server inherit the open file, so the lock outlives a program that is killed, and not its last server.
//! Whoever finds it taken need not guess from a number in a file whether a server is still there.

use std::fs::{File, Permissions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How often one looks whether the lock is free.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A keeper without its program has so long to end its server by itself.
const PATIENCE: Duration = Duration::from_secs(2);
/// A server that nobody keeps any more has so long to end when it is asked.
const END_MAX: Duration = Duration::from_secs(60);

/// A lock on a folder.
#[derive(Debug)]
pub struct Claim(File);

impl Claim {
    /// Takes the lock, if nobody has it.
    pub fn attempt(file: &Path) -> Result<Option<Self>> {
        // Whoever may open it may lock it, and so keep us out, or make a stranger's number pass for our server's.
        let opened = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(file);
        let opened = opened.with_context(|| format!("cannot open {}", file.display()))?;
        let ours = opened.set_permissions(Permissions::from_mode(0o600));
        ours.with_context(|| format!("cannot keep {} to ourselves", file.display()))?;
        match opened.try_lock() {
            Ok(()) => Ok(Some(Self(opened))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", file.display())),
        }
    }

    /// Takes the lock. Who has it is a keeper that is about to end its server; or, if that was killed too, a server that nobody
    /// keeps: then the one whose number stands in `pid_file` is asked to end by `signal`.
    pub fn take_over(file: &Path, pid_file: &Path, signal: Signal) -> Result<Self> {
        let began = Instant::now();
        let mut asked = false;
        loop {
            if let Some(claim) = Self::attempt(file)? {
                return Ok(claim);
            }
            if began.elapsed() > PATIENCE
                && !asked
                && let Some(pid) = number_in(pid_file)
            {
                // The lock is taken, so the number is not a stranger's.
                asked = kill_process(pid, signal).is_ok();
            }
            if began.elapsed() > END_MAX {
                bail!("a server from before does not end; its number stands in {}", pid_file.display());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// The lock for somebody who is started: it ends when both have ended.
    pub fn share(&self) -> Result<File> {
        self.0.try_clone().context("cannot share a lock")
    }
}

/// The first line of what servers write down about themselves.
fn number_in(file: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(file).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn with(claim: &Claim, command: &mut Command) -> std::process::Child {
        let started = command.stderr(Stdio::from(claim.share().expect("shared"))).spawn();
        // What is to be given to a child is ours as well, as long as the command is there.
        command.stderr(Stdio::null());
        started.expect("sleep is everywhere")
    }

    #[test]
    fn who_was_started_with_a_lock_holds_it_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, pid_file) = (folder.path().join("lock"), folder.path().join("pid"));
        let claim = Claim::attempt(&file).expect("sound").expect("free");
        assert!(Claim::attempt(&file).expect("sound").is_none(), "one at a time");
        let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody else may lock it");
        let mut left = with(&claim, Command::new("sleep").arg("600"));
        drop(claim);
        assert!(Claim::attempt(&file).expect("sound").is_none(), "it lives");
        std::fs::write(&pid_file, format!("{}\nmore\n", left.id())).expect("written");
        let reaped = std::thread::spawn(move || left.wait());
        Claim::take_over(&file, &pid_file, Signal::TERM).expect("it ends when it is asked");
        reaped.join().expect("no panic").expect("it can be waited for");
    }
}
