//! A small disk that can be filled: memory, mounted over a folder. It takes root, and Linux.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::skipped;

/// Ends the mount with the test, also with one that is killed: then its pipe closes.
const SCRIPT: &str = r#"
trap '' PIPE
mount -t tmpfs -o "size=$2m,mode=0700" outbox-test "$1" || exit 1
echo mounted
read -r _
umount -l "$1"
"#;

/// As long as this value lives a folder is a small disk. What lay in the folder lies on the disk.
pub struct Disk {
    folder: PathBuf,
    keeper: Child,
}

impl Disk {
    /// Mounts one of so many megabytes over a folder, which is made if need be and in which nobody may be at work. None: it cannot be mounted here, which is said.
    pub fn over(folder: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir_all(folder).expect("a folder can be made");
        let aside = tempfile::tempdir().expect("a folder");
        let copy = |from: &Path, to: &Path| {
            let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
            assert!(copied.expect("there is a cp").success(), "{} can be copied", from.display());
        };
        let (about, size) = (fs::metadata(folder).expect("it is there"), megabytes.to_string());
        copy(folder, aside.path());
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "disk"]).arg(folder).arg(size).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = shell.spawn().expect("there is a shell");
        let mut said = String::new();
        let stdout = keeper.stdout.take().expect("it was piped");
        if BufReader::new(stdout).read_line(&mut said).is_err() || said != "mounted\n" {
            let _ = keeper.wait();
            skipped("full disks: a small one cannot be mounted here; that takes root on Linux");
            return None;
        }
        let disk = Self { folder: folder.to_owned(), keeper };
        chown(folder, Some(about.uid()), Some(about.gid())).expect("root may");
        fs::set_permissions(folder, about.permissions()).expect("root may");
        copy(aside.path(), folder);
        Some(disk)
    }

    /// Fills it to the last page.
    pub fn fill(&self) {
        let mut ballast = File::options().append(true).create(true).open(self.ballast()).expect("ours");
        let mut chunk = 1 << 20;
        while chunk >= 1 << 10 {
            match ballast.write(&vec![0; chunk]) {
                Ok(written) if written > 0 => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) => chunk /= 2,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                    chunk /= 2;
                }
            }
        }
        ballast.set_permissions(fs::Permissions::from_mode(0o600)).expect("ours");
    }

    /// There is room again.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
