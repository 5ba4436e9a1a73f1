//! The seam to storage: everything a log does to files goes through [`Disk`], so that tests can tear, lose and fail it.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod file;
mod memory;

#[cfg(test)]
mod tests;

pub use file::FileDisk;
pub use memory::MemoryDisk;

/// A failed operation on storage: what was tried, on which path, and what the system said.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct DiskError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

impl DiskError {
    /// An error of `operation` on `path`.
    pub fn new(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self {
            operation,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// Whether the path did not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirEntry {
    /// A file and its length in bytes.
    File {
        /// The name without its directory.
        name: String,
        /// The length in bytes.
        len: u64,
    },
    /// A directory.
    Dir {
        /// The name without its parent.
        name: String,
    },
}

/// Storage: directories and files by path. Blocking; callers on an async runtime keep calls short or move them aside.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates `dir` and its parents; an existing directory is fine.
    fn create_dir(&self, dir: &Path) -> Result<(), DiskError>;

    /// The entries of `dir`, in no order; names that are not UTF-8 are left out.
    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// Opens a file for reading and writing, creating it empty when it does not exist.
    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// Renames a file or directory, replacing a file at `to`.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<(), DiskError>;

    /// Removes a directory and everything in it.
    fn remove_dir(&self, dir: &Path) -> Result<(), DiskError>;

    /// Makes the names in `dir` durable: without it a crash can keep a file's bytes and lose its name.
    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError>;

    /// Takes an exclusive lock on `path` (created when missing), held until the returned value is dropped; an error
    /// of kind `WouldBlock` when another holder has it.
    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>, DiskError>;
}

/// A held lock; dropping it releases the lock.
pub trait FileLock: Send + Sync + fmt::Debug {}

/// An open file. Positions are explicit: there is no cursor to share.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Writes `parts` one after the other from `position`. An error may leave any prefix written.
    fn write_at(&self, position: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DiskError>;

    /// Appends to `out` up to `len` bytes from `position`, fewer only at the end of the file; returns how many.
    fn read_at(&self, position: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError>;

    /// The length in bytes.
    fn size(&self) -> Result<u64, DiskError>;

    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> Result<(), DiskError>;

    /// Makes the content durable.
    fn sync(&self) -> Result<(), DiskError>;

    /// The operating system's file, when there is one: what `sendfile` needs.
    fn as_file(&self) -> Option<&std::fs::File>;
}

/// Opens a file for reading and writing, empty whatever it held.
///
/// One that is empty is not cut once more: ext4 takes a cut to nothing for the first half of a replacement, and starts to
/// write out the file's content whenever it is closed, even one that was deleted meanwhile.
pub(crate) fn create_empty(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
    let file = disk.create(path)?;
    if file.size()? > 0 {
        file.truncate(0)?;
    }
    Ok(file)
}

/// Reads a whole file.
pub(crate) fn read_all(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, DiskError> {
    let file = disk.open(path)?;
    let len = usize::try_from(file.size()?).map_err(|_| too_large(path))?;
    let mut bytes = Vec::with_capacity(len);
    file.read_at(0, len, &mut bytes)?;
    Ok(bytes)
}

/// Reads a whole file, `None` when it does not exist.
pub(crate) fn read_if_exists(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match read_all(disk, path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces `path` by `bytes` so that a crash leaves either the old content or the new: written beside it, synced,
/// renamed over it, directory synced.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let beside = write_beside(disk, path, bytes)?;
    disk.open(&beside)?.sync()?;
    disk.rename(&beside, path)?;
    match path.parent() {
        Some(dir) => disk.sync_dir(dir),
        None => Ok(()),
    }
}

/// Replaces `path` by `bytes`; whole after the end of the process, perhaps torn after a power cut. For what can be
/// told to be torn and made again.
pub(crate) fn replace_unsynced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let beside = write_beside(disk, path, bytes)?;
    disk.rename(&beside, path)
}

/// The suffix of a file that is about to replace another.
pub(crate) const BESIDE: &str = ".tmp";

fn write_beside(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<PathBuf, DiskError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(BESIDE);
    let beside = PathBuf::from(beside);
    let file = create_empty(disk, &beside)?;
    file.write_at(0, &mut [IoSlice::new(bytes)])?;
    Ok(beside)
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove_if_exists(disk: &dyn Disk, path: &Path) -> Result<(), DiskError> {
    match disk.remove(path) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn too_large(path: &Path) -> DiskError {
    DiskError::new(
        "read",
        path,
        io::Error::new(io::ErrorKind::FileTooLarge, "larger than memory"),
    )
}
