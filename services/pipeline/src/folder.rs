//! The data folder: made if need be, and one pipeline's at a time.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use servers::Claim;
use terminal::unusable;

/// Where data go whose folder the servers' user may not enter: that happens to root alone.
const ELSEWHERE: &str = "/var/tmp";

/// A folder that is ours for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _claim: Claim,
}

impl Folder {
    /// Opens it. Where private servers are needed they must be able to come in; if they cannot, and nobody has named the folder,
    /// it lies elsewhere.
    pub(crate) fn open(named: &Path, by_default: bool, for_servers: bool) -> Result<Self> {
        let mut path = made(named)?;
        if for_servers && !servers::can_enter(&path)? {
            if !by_default {
                return Err(unusable(format!(
                    "--data (PIPELINE_DATA) {}: as root the servers run as another user, who may not come in there; name another folder",
                    path.display()
                )));
            }
            let name = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
            path = made(&Path::new(ELSEWHERE).join(format!("pipeline-{}", &name[..12])))?;
        }
        let claim = Claim::attempt(&path.join("lock"))?;
        let claim = claim.ok_or_else(|| {
            unusable(format!(
                "another pipeline works with {}: end it, or name another folder by --data",
                path.display()
            ))
        })?;
        Ok(Self { path, _claim: claim })
    }

    /// Where it is, by its real name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// As it may be said to people: relative to where they are, if it is below.
    pub(crate) fn in_words(&self) -> String {
        let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
        let below = here.as_deref().and_then(|here| self.path.strip_prefix(here).ok());
        below.unwrap_or(&self.path).display().to_string()
    }

    /// Writes down for a shell what the other programs need to look into this.
    pub(crate) fn write_env(&self, variables: &[(&str, &str)]) -> Result<()> {
        let lines: String = variables
            .iter()
            .map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', "'\\''")))
            .collect();
        write_secret(&self.path.join("env"), lines.as_bytes())
    }
}

fn made(path: &Path) -> Result<PathBuf> {
    let cannot = || format!("cannot make the data folder {}", path.display());
    if !path.exists() {
        std::fs::create_dir_all(path).with_context(cannot)?;
        // The servers' user must come through; everything inside has rights of its own.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o711)).with_context(cannot)?;
    }
    path.canonicalize().with_context(cannot)
}

/// A file that nobody else may read, replaced as a whole.
pub(crate) fn write_secret(file: &Path, content: &[u8]) -> Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    let half = file.with_extension("half");
    let mut open = std::fs::OpenOptions::new();
    let mut half_written =
        open.create(true).truncate(true).write(true).mode(0o600).open(&half).with_context(cannot)?;
    half_written.write_all(content).with_context(cannot)?;
    drop(half_written);
    std::fs::rename(&half, file).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pipelines_never_share_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let first = Folder::open(&data, false, false).expect("free");
        let refused = Folder::open(&data, false, false).expect_err("taken").to_string();
        assert!(refused.starts_with("another pipeline works with ") && !refused.contains('\n'), "{refused}");
        drop(first);
        Folder::open(&data, false, false).expect("free again");
    }
}
