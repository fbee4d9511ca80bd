//! What a folder needs beside what object_store does: to be made safely, synced once more, and tidied.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use object_store::Error;

/// Makes the folder and those above it, so that they survive a crash of the machine.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(above)?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(above)?.sync_all(),
    }
}

/// Makes a file and the folders down to it safe, whoever wrote them.
pub(super) async fn sync(root: &Path, name: &object_store::path::Path) -> Result<(), Error> {
    let file = root.join(name.to_string());
    let root = root.to_owned();
    let all = move || {
        File::open(&file)?.sync_all()?;
        for folder in file.ancestors().skip(1) {
            File::open(folder)?.sync_all()?;
            if folder == root {
                break;
            }
        }
        Ok(())
    };
    blocking(all).await
}

/// Removes files that were being written before that time: object_store names them after the object, `#` and a number.
pub(super) async fn tidy(below: PathBuf, before: SystemTime) -> Result<u64, Error> {
    let all = move || {
        let mut removed = 0;
        let mut open = vec![below];
        while let Some(folder) = open.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    open.push(entry.path());
                } else if is_left_over(&entry.file_name().to_string_lossy()) {
                    // Its writer may be alive after all, and have finished meanwhile.
                    match remove_if_older(&entry, before) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        gone => removed += u64::from(gone?),
                    }
                }
            }
        }
        Ok(removed)
    };
    blocking(all).await
}

fn remove_if_older(entry: &std::fs::DirEntry, before: SystemTime) -> io::Result<bool> {
    let is_old = entry.metadata()?.modified()? <= before;
    if is_old {
        std::fs::remove_file(entry.path())?;
    }
    Ok(is_old)
}

fn is_left_over(name: &str) -> bool {
    name.split_once('#').is_some_and(|(name, number)| {
        super::is_hash(name) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

async fn blocking<T: Send + 'static>(all: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Error> {
    let failed = |source: io::Error| Error::Generic { store: "folder", source: Box::new(source) };
    tokio::task::spawn_blocking(all).await?.map_err(failed)
}
