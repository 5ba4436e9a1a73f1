//! The file system with faults: what is written to or synced below a folder fails when the test says so.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tidemill_log::{DirEntry, Disk, DiskError, DiskFile, FileDisk, FileLock};
use tokio::sync::watch;

/// What fails, for paths that contain the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    Write(&'static str),
    Sync(&'static str),
}

#[derive(Debug)]
struct State {
    fault: Mutex<Option<Fault>>,
    syncs: watch::Sender<Vec<PathBuf>>,
}

impl State {
    fn check(&self, operation: &'static str, path: &Path) -> Result<(), DiskError> {
        let (tried, text) = match &*self.fault.lock().unwrap() {
            Some(Fault::Write(text)) => ("write", *text),
            Some(Fault::Sync(text)) => ("sync", *text),
            None => return Ok(()),
        };
        if tried == operation && path.to_string_lossy().contains(text) {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(DiskError::new(operation, path, full));
        }
        Ok(())
    }
}

/// The file system with faults.
#[derive(Debug, Clone)]
pub(crate) struct FaultyDisk(Arc<State>);

impl FaultyDisk {
    pub(crate) fn new() -> FaultyDisk {
        FaultyDisk(Arc::new(State {
            fault: Mutex::default(),
            syncs: watch::Sender::default(),
        }))
    }

    /// From here on, this fails.
    pub(crate) fn fail(&self, fault: Fault) {
        *self.0.fault.lock().unwrap() = Some(fault);
    }

    /// From here on, nothing fails.
    pub(crate) fn heal(&self) {
        *self.0.fault.lock().unwrap() = None;
    }

    /// How many files below a path that contains `text` were synced.
    pub(crate) fn syncs_of(&self, text: &str) -> usize {
        let syncs = self.0.syncs.borrow();
        syncs
            .iter()
            .filter(|path| path.to_string_lossy().contains(text))
            .count()
    }

    /// Returns once a file below a path that contains `text` has been synced.
    pub(crate) async fn synced(&self, text: &str) {
        let is_there = |paths: &Vec<PathBuf>| paths.iter().any(|path| path.to_string_lossy().contains(text));
        self.0.syncs.subscribe().wait_for(is_there).await.unwrap();
    }

    fn wrap(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile {
            state: Arc::clone(&self.0),
            path: path.to_owned(),
            file,
        })
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        FileDisk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        FileDisk.list(dir)
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        Ok(self.wrap(path, FileDisk.open(path)?))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.0.check("write", path)?;
        Ok(self.wrap(path, FileDisk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        FileDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        FileDisk.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> Result<(), DiskError> {
        FileDisk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        FileDisk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>, DiskError> {
        FileDisk.lock(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    state: Arc<State>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for FaultyFile {
    fn write_at(&self, position: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DiskError> {
        self.state.check("write", &self.path)?;
        self.file.write_at(position, parts)
    }

    fn read_at(&self, position: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError> {
        self.file.read_at(position, len, out)
    }

    fn size(&self) -> Result<u64, DiskError> {
        self.file.size()
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.file.truncate(len)
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.state.check("sync", &self.path)?;
        self.file.sync()?;
        self.state
            .syncs
            .send_modify(|syncs| syncs.push(self.path.clone()));
        Ok(())
    }

    fn as_file(&self) -> Option<&std::fs::File> {
        self.file.as_file()
    }
}
