//! [`Disk`] on the file system.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::FlockOperation;

use super::{DirEntry, Disk, DiskError, DiskFile, FileLock};

// Linux refuses more slices than this in one call (IOV_MAX).
const WRITE_SLICES_MAX: usize = 1024;

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileDisk;

#[derive(Debug)]
struct SystemFile {
    path: PathBuf,
    file: File,
}

#[derive(Debug)]
struct Flock {
    file: File,
}

// Closing the file is not enough: a process that this one is about to start holds a copy of it until its program begins,
// and the lock with it.
impl Drop for Flock {
    fn drop(&mut self) {
        // There is nobody to tell; the close that follows releases the lock all the same, if later.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl FileLock for Flock {}

impl FileDisk {
    fn open_with(path: &Path, options: &OpenOptions) -> Result<Arc<dyn DiskFile>, DiskError> {
        let file = options.open(path).map_err(|e| DiskError::new("open", path, e))?;
        Ok(Arc::new(SystemFile {
            path: path.to_owned(),
            file,
        }))
    }
}

impl Disk for FileDisk {
    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        std::fs::create_dir_all(dir).map_err(|e| DiskError::new("create", dir, e))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        let failed = |e: io::Error| DiskError::new("list", dir, e);
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed between the listing and the look: it is not there.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            if metadata.is_dir() {
                entries.push(DirEntry::Dir { name });
            } else {
                entries.push(DirEntry::File {
                    name,
                    len: metadata.len(),
                });
            }
        }
        Ok(entries)
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        Self::open_with(path, OpenOptions::new().read(true).write(true))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        Self::open_with(
            path,
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false),
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        std::fs::rename(from, to).map_err(|e| DiskError::new("rename", from, e))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        std::fs::remove_file(path).map_err(|e| DiskError::new("remove", path, e))
    }

    fn remove_dir(&self, dir: &Path) -> Result<(), DiskError> {
        std::fs::remove_dir_all(dir).map_err(|e| DiskError::new("remove", dir, e))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        File::open(dir)
            .and_then(|d| d.sync_all())
            .map_err(|e| DiskError::new("sync", dir, e))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(|e| DiskError::new("open", path, e))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| DiskError::new("lock", path, e))?;
        Ok(Box::new(Flock { file }))
    }
}

impl DiskFile for SystemFile {
    fn write_at(&self, position: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DiskError> {
        let mut at = position;
        let mut rest = parts;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let now = rest
                .get(..WRITE_SLICES_MAX.min(rest.len()))
                .expect("the length is the smaller one");
            match rustix::io::pwritev(&self.file, now, at) {
                Ok(0) => return Err(DiskError::new("write", &self.path, io::ErrorKind::WriteZero)),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(DiskError::new("write", &self.path, e)),
            }
        }
        Ok(())
    }

    fn read_at(&self, position: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError> {
        let start = out.len();
        out.reserve_exact(len);
        while out.len() - start < len {
            let done = out.len() - start;
            let mut limited = Limited {
                vec: out,
                len: len - done,
            };
            match limited.pread(&self.file, position + done as u64) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(DiskError::new("read", &self.path, e)),
            }
        }
        Ok(out.len() - start)
    }

    fn size(&self) -> Result<u64, DiskError> {
        Ok(self
            .file
            .metadata()
            .map_err(|e| DiskError::new("stat", &self.path, e))?
            .len())
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.file
            .set_len(len)
            .map_err(|e| DiskError::new("truncate", &self.path, e))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file
            .sync_data()
            .map_err(|e| DiskError::new("sync", &self.path, e))
    }

    fn as_file(&self) -> Option<&File> {
        Some(&self.file)
    }
}

/// The spare room of a vector, no more than `len` bytes of it: a vector may have more capacity than was asked for.
struct Limited<'a> {
    vec: &'a mut Vec<u8>,
    len: usize,
}

impl Limited<'_> {
    fn pread(&mut self, file: &File, position: u64) -> Result<usize, rustix::io::Errno> {
        let before = self.vec.len();
        let read = rustix::io::pread(file, spare_capacity(self.vec), position)?;
        self.vec.truncate(before + read.min(self.len));
        Ok(read)
    }
}
