//! The data folder: made if need be, one pipeline's at a time, and nobody else's to read.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use servers::Claim;
use terminal::unusable;

/// Where data lie whose folder the servers' user may not enter: that happens to root alone, who may write here, as nobody else may.
const ELSEWHERE: &str = "/var/lib";
/// What lies in it beside the servers' own folders.
const OBJECTS: &str = "objects";
const ARTICLES: [&str; 3] = ["bisan.db", "bisan.db-wal", "bisan.db-shm"];

/// A folder that is ours for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Folder {
    /// As it was named.
    named: PathBuf,
    path: PathBuf,
    _claim: Claim,
}

impl Folder {
    /// Opens it. Where private servers are needed they must be able to come in; if they cannot, and nobody has named the folder,
    /// its name becomes a link to a place where they can.
    pub(crate) fn open(named: &Path, by_default: bool, for_servers: bool) -> Result<Self> {
        let mut path = made(named, by_default)?;
        if for_servers && !servers::can_enter(&path)? {
            if !by_default {
                return Err(unusable(format!(
                    "--data (PIPELINE_DATA) {}: as root the servers run as another user, who may not come in there; name another folder",
                    path.display()
                )));
            }
            path = elsewhere(&path)?;
        }
        let claim = Claim::attempt(&path.join("lock"))?;
        let claim = claim.ok_or_else(|| {
            unusable(format!(
                "another pipeline works with {}: end it, or name another folder by --data",
                path.display()
            ))
        })?;
        Ok(Self { named: named.to_owned(), path, _claim: claim })
    }

    /// Where it is, by its real name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// As it may be said to people: as they have named it.
    pub(crate) fn in_words(&self) -> String {
        self.named.display().to_string()
    }

    /// The same, and where it is if its name does not say that.
    pub(crate) fn with_its_place(&self) -> String {
        let (named, path) = (self.named.display(), self.path.display());
        let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
        if here.join(&self.named) == self.path { format!("{named}") } else { format!("{named}, which is {path}") }
    }

    /// Makes what holds objects and articles, if they lie here, for nobody else to read: who has Postgres run as another user lets
    /// others into the folder, and no further.
    pub(crate) fn close(&self, objects: bool, articles: bool) -> Result<()> {
        let cannot = || format!("cannot keep {} to ourselves", self.path.display());
        if objects {
            let objects = self.path.join(OBJECTS);
            std::fs::create_dir_all(&objects).with_context(cannot)?;
            std::fs::set_permissions(&objects, PermissionsExt::from_mode(0o700)).with_context(cannot)?;
        }
        if articles {
            // SQLite gives its logs the rights of the file.
            let mut open = std::fs::OpenOptions::new();
            open.create(true).append(true).mode(0o600).open(self.path.join(ARTICLES[0])).with_context(cannot)?;
            for file in ARTICLES.map(|name| self.path.join(name)).iter().filter(|file| file.exists()) {
                std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).with_context(cannot)?;
            }
        }
        Ok(())
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

/// Makes it. As root the servers' user must come through; everything inside has rights of its own. One that somebody has made is
/// as they made it.
fn made(path: &Path, by_default: bool) -> Result<PathBuf> {
    let cannot = || format!("cannot make the data folder {}", path.display());
    // A link of ours may lead to what somebody has removed, so that all of it begins anew.
    let target = std::fs::read_link(path).ok().filter(|target| target.starts_with(ELSEWHERE));
    let place = target.as_deref().unwrap_or(path);
    let is_new = !place.exists();
    if is_new {
        std::fs::create_dir_all(place).with_context(cannot)?;
    }
    if is_new || by_default {
        let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
        std::fs::set_permissions(place, PermissionsExt::from_mode(mode)).with_context(cannot)?;
    }
    path.canonicalize().with_context(cannot)
}

/// A folder where the servers' user may come in, and a link to it where the empty one was: so there is one name for all of it.
fn elsewhere(path: &Path) -> Result<PathBuf> {
    let name = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
    let place = made(&Path::new(ELSEWHERE).join(format!("pipeline-{}", &name[..12])), true)?;
    std::fs::remove_dir(path).map_err(|error| {
        unusable(format!(
            "the data folder {} is not empty ({error}), and as root the servers run as another user, who may not come in there: move it \
             away, or name another folder by --data",
            path.display()
        ))
    })?;
    std::os::unix::fs::symlink(&place, path).with_context(|| format!("cannot make the link {}", path.display()))?;
    Ok(place)
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

    #[test]
    fn nobody_else_reads_objects_and_articles_also_those_of_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let open = Folder::open(&data, false, false).expect("free");
        open.close(true, true).expect("ours");
        for file in ["bisan.db", "bisan.db-wal"].map(|name| data.join(name)) {
            std::fs::write(&file, "").expect("written");
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("ours");
        }
        std::fs::set_permissions(data.join("objects"), PermissionsExt::from_mode(0o755)).expect("ours");
        open.close(true, true).expect("ours");
        assert_eq!([mode(&data.join("bisan.db")), mode(&data.join("bisan.db-wal"))], [0o600; 2]);
        assert_eq!(mode(&data.join("objects")), 0o700);
    }
}
