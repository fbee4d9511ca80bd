//! A body within its bound: in memory, or behind a certain size in a temporary file without a name.

use std::fmt;
use std::io::{self, Cursor, Read, Seek, Write};

use tempfile::SpooledTempFile;

/// What a list keeps in memory: most sitemaps fit, and those that do not are read from a file as a stream.
const MEMORY_BYTES_MAX: usize = 1024 * 1024;

/// The body of an answer.
pub struct Body {
    kept: Kept,
    bytes: u64,
}

enum Kept {
    Memory(Vec<u8>),
    Spooled(SpooledTempFile),
}

impl Body {
    pub(super) fn in_memory() -> Self {
        Self { kept: Kept::Memory(Vec::new()), bytes: 0 }
    }

    pub(super) fn spooled() -> Self {
        Self { kept: Kept::Spooled(SpooledTempFile::new(MEMORY_BYTES_MAX)), bytes: 0 }
    }

    /// A piece goes to memory, or to the system's cache of a file: neither makes the runtime wait for a disk.
    pub(super) fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        self.bytes += piece.len() as u64;
        match &mut self.kept {
            Kept::Memory(bytes) => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
            Kept::Spooled(file) => file.write_all(piece),
        }
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of its bytes. Reading may wait for a disk.
    pub fn hash(&mut self) -> io::Result<blake3::Hash> {
        match &mut self.kept {
            Kept::Memory(bytes) => Ok(blake3::hash(bytes)),
            Kept::Spooled(file) => {
                file.rewind()?;
                let mut hasher = blake3::Hasher::new();
                hasher.update_reader(file)?;
                Ok(hasher.finalize())
            }
        }
    }

    /// The whole body in memory.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        match self.kept {
            Kept::Memory(bytes) => Ok(bytes),
            Kept::Spooled(mut file) => {
                let mut bytes = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or_default());
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }

    /// The body as a stream, for [`sitemap::read`](crate::sitemap::read). Reading may wait for a disk: do it on a thread
    /// that may block.
    pub fn into_reader(self) -> io::Result<Box<dyn Read + Send>> {
        match self.kept {
            Kept::Memory(bytes) => Ok(Box::new(Cursor::new(bytes))),
            Kept::Spooled(mut file) => {
                file.rewind()?;
                Ok(Box::new(file))
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.bytes)
    }
}
