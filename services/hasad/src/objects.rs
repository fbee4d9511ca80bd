//! Objects: bytes under the BLAKE3 of exactly these bytes, in a folder or in any S3-compatible store.
//!
//! Nothing here knows who names an object; that is in Postgres. Whoever writes or deletes holds the lock on the object's row.

mod folder;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

/// Names of this version of the layout begin so.
const PREFIX: &str = "v2";

/// Says which archive the store belongs to.
const OWNER: &str = "owner";
/// What a check sets aside lies here.
const ASIDE: &str = "aside";

/// Where objects lie.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// What stands before our names.
    root: Path,
    /// The folder, if it is one of this machine.
    folder: Option<PathBuf>,
    /// Whether the store can be asked to refuse what is there already.
    conditional: bool,
    /// Requests at once.
    pub(crate) at_once: usize,
}

/// What came of putting an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was not there.
    New,
    /// It was there.
    Present,
    /// It was there with another size, as half a write leaves it, and was written anew.
    Rewritten,
}

/// An object as the store lists it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// Its hash; none: no object of ours bears such a name.
    pub(crate) hash: Option<String>,
    /// The name in the store.
    pub(crate) name: String,
    /// Its size.
    pub(crate) bytes: u64,
}

impl Objects {
    /// Objects in a store, below a prefix.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, conditional: bool, at_once: usize) -> Self {
        Self { store, root, folder: None, conditional, at_once: at_once.max(1) }
    }

    /// Objects in a folder, which is made if need be. What is put there survives a crash of the machine.
    pub fn in_folder(folder: &std::path::Path, at_once: usize) -> Result<Self, Error> {
        let unusable = |source: std::io::Error| Error::Generic { store: "folder", source: Box::new(source) };
        folder::make(folder).map_err(unusable)?;
        let folder = folder.canonicalize().map_err(unusable)?;
        let store = object_store::local::LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
        Ok(Self { folder: Some(folder), ..Self::new(Arc::new(store), Path::default(), true, at_once) })
    }

    /// Objects in memory, which are gone with the process.
    pub fn in_memory() -> Self {
        Self::new(Arc::new(object_store::memory::InMemory::new()), Path::default(), true, 8)
    }

    /// The name of an object: its hash, below the first two digits of it.
    pub fn name(&self, hash: &str) -> Path {
        let shard = hash.get(..2).unwrap_or(hash);
        self.root.parts().chain([PREFIX, shard, hash].map(Into::into)).collect()
    }

    /// Makes sure that the store has these bytes under their name. The caller has computed the hash.
    pub async fn put(&self, hash: &str, bytes: &[u8]) -> Result<Put, Error> {
        let name = self.name(hash);
        let payload = PutPayload::from(bytes.to_vec());
        if self.conditional {
            let create = PutOptions::from(PutMode::Create);
            match self.store.put_opts(&name, payload.clone(), create).await {
                Ok(_) => return Ok(Put::New),
                // Stores that do not know the condition; and those that answer so while another one writes the same.
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotImplemented { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match self.bytes(hash).await? {
            Some(size) if size == bytes.len() as u64 => {
                // Who put it may have died before it was safe.
                if let Some(folder) = &self.folder {
                    folder::sync(folder, &name).await?;
                }
                Ok(Put::Present)
            }
            there => {
                self.store.put_opts(&name, payload, PutOptions::default()).await?;
                Ok(if there.is_some() { Put::Rewritten } else { Put::New })
            }
        }
    }

    /// How large an object is; none: it is not there.
    pub async fn bytes(&self, hash: &str) -> Result<Option<u64>, Error> {
        match self.store.head(&self.name(hash)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bytes of an object; none: it is not there. They are as they lie there: check them.
    pub async fn get(&self, hash: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.store.get(&self.name(hash)).await {
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object. One that is not there is no failure.
    pub async fn delete(&self, hash: &str) -> Result<(), Error> {
        match self.store.delete(&self.name(hash)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object, and what was set aside of it: a copy with one wrong byte says as much as the article.
    pub(crate) async fn erase(&self, hash: &str) -> Result<(), Error> {
        self.delete(hash).await?;
        match self.store.delete(&self.aside(hash)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets an object aside, so that it can be written anew and a person can still look at it: in a folder beside the others.
    /// `false`: it is not there.
    pub(crate) async fn set_aside(&self, hash: &str) -> Result<bool, Error> {
        match self.store.copy(&self.name(hash), &self.aside(hash)).await {
            Ok(()) => self.delete(hash).await.map(|()| true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn aside(&self, hash: &str) -> Path {
        self.root.parts().chain([ASIDE, hash].map(Into::into)).collect()
    }

    /// The objects of one shard: those whose hash begins with these two digits, by their hash.
    pub(crate) async fn list_shard(&self, shard: &str) -> Result<Vec<Listed>, Error> {
        let below = self.root.parts().chain([PREFIX, shard].map(Into::into)).collect();
        self.list_below(&below).try_collect().await
    }

    /// Everything below our prefix that is in no shard.
    pub(crate) async fn strangers(&self) -> Result<Vec<String>, Error> {
        let below: Path = self.root.parts().chain([PREFIX.into()]).collect();
        let found = self.store.list_with_delimiter(Some(&below)).await?;
        let is_shard = |path: &Path| path.filename().is_some_and(|name| shards().any(|shard| shard == name));
        let folders = found.common_prefixes.into_iter().filter(|path| !is_shard(path));
        let files = found.objects.into_iter().map(|meta| meta.location);
        Ok(folders.chain(files).map(|path| path.to_string()).collect())
    }

    /// Everything that lies below our prefix.
    pub(crate) fn list(&self) -> BoxStream<'static, Result<Listed, Error>> {
        self.list_below(&self.root.parts().chain([PREFIX.into()]).collect())
    }

    fn list_below(&self, below: &Path) -> BoxStream<'static, Result<Listed, Error>> {
        let this = self.clone();
        let listed = self.store.list(Some(below)).map(move |found| {
            let meta = found?;
            let hash = meta.location.filename().filter(|name| is_hash(name)).map(str::to_owned);
            let hash = hash.filter(|hash| this.name(hash) == meta.location);
            Ok(Listed { hash, name: meta.location.to_string(), bytes: meta.size })
        });
        listed.boxed()
    }

    /// Removes what writes that died have left beside the objects of a folder. Returns how many files that were.
    pub async fn tidy(&self, older_than: Duration) -> Result<u64, Error> {
        let Some(folder) = &self.folder else { return Ok(0) };
        folder::tidy(folder.join(PREFIX), SystemTime::now() - older_than).await
    }

    /// Whose the store is; none: nobody's yet.
    pub(crate) async fn owner(&self) -> Result<Option<String>, Error> {
        match self.store.get(&self.owner_name()).await {
            Ok(there) => Ok(Some(String::from_utf8_lossy(&there.bytes().await?).trim().to_owned())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes into a store of nobody's whose it is. Somebody else may be quicker: read it back.
    pub(crate) async fn claim(&self, owner: &str) -> Result<(), Error> {
        let mode = if self.conditional { PutMode::Create } else { PutMode::Overwrite };
        match self.store.put_opts(&self.owner_name(), owner.to_owned().into(), mode.into()).await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn owner_name(&self) -> Path {
        self.root.parts().chain([OWNER.into()]).collect()
    }
}

/// The first two digits of hashes, in their order.
pub(crate) fn shards() -> impl Iterator<Item = String> {
    (0..=255).map(|first: u8| format!("{first:02x}"))
}

/// Whether a word looks like a hash of ours.
pub(crate) fn is_hash(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The name that bytes have.
pub(crate) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn puts_as_promised(objects: &Objects) {
        let (bytes, name) = (b"what it says".as_slice(), hash(b"what it says"));
        assert_eq!(objects.bytes(&name).await.expect("it answers"), None);
        assert_eq!(objects.put(&name, bytes).await.expect("it takes it"), Put::New);
        assert_eq!(objects.put(&name, bytes).await.expect("it takes it"), Put::Present);
        // Half a write.
        objects.store.put(&objects.name(&name), "what".into()).await.expect("it takes it");
        assert_eq!(objects.put(&name, bytes).await.expect("it takes it"), Put::Rewritten);
        assert_eq!(objects.get(&name).await.expect("it answers").as_deref(), Some(bytes));
        let listed: Vec<_> = objects.list().collect().await;
        assert!(matches!(&listed[..], [Ok(one)] if one.hash.as_ref() == Some(&name) && one.bytes == 12));
        for _ in 0..2 {
            objects.delete(&name).await.expect("also what is not there");
        }
        assert_eq!(objects.get(&name).await.expect("it answers"), None);
    }

    #[tokio::test]
    async fn an_object_is_put_once_and_one_of_another_size_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("made/when/needed");
        let in_folder = Objects::in_folder(&below, 4).expect("a folder can be made");
        let without_condition = Objects { conditional: false, ..Objects::in_memory() };
        for objects in [in_folder, Objects::in_memory(), without_condition] {
            puts_as_promised(&objects).await;
        }
    }

    #[tokio::test]
    async fn what_a_dead_write_left_is_tidied_away_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = Objects::in_folder(folder.path(), 4).expect("a folder");
        let name = hash(b"x");
        objects.put(&name, b"x").await.expect("it takes it");
        let beside = folder.path().join(objects.name(&name).to_string());
        let left = beside.with_file_name(format!("{name}#1"));
        std::fs::write(&left, "half").expect("written");
        assert_eq!(objects.tidy(Duration::from_secs(60)).await.expect("readable"), 0, "it may still be written");
        assert_eq!(objects.tidy(Duration::ZERO).await.expect("readable"), 1);
        assert!(!left.exists() && beside.exists());
    }

    #[test]
    fn names_are_sharded_by_their_first_digits() {
        let (memory, name) = (Objects::in_memory(), "ab".repeat(32));
        assert_eq!(memory.name(&name).to_string(), format!("v2/ab/{name}"));
        assert!(is_hash(&name) && !is_hash(&name.to_uppercase()) && !is_hash("ab"));
    }
}
