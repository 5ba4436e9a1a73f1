//! [`Disk`] in memory, with the faults a real one can have: failed and torn writes, failed syncs, and bytes and names
//! that were never synced and are gone after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DirEntry, Disk, DiskError, DiskFile, FileLock};

/// A disk in memory. Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<Names>,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Names {
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Arc<Content>>,
    // What a crash leaves: the files of a directory as they were when it was last synced. Directories themselves
    // are taken to be durable at once.
    durable: BTreeMap<PathBuf, Arc<Content>>,
    locked: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Mutex<Bytes>,
}

#[derive(Debug, Default, Clone)]
struct Bytes {
    now: Vec<u8>,
    // How to get back to what was last synced, newest last.
    unsynced: Vec<Undo>,
}

#[derive(Debug, Clone)]
struct Undo {
    position: usize,
    before: Vec<u8>,
    len_before: usize,
}

#[derive(Debug, Default)]
struct Faults {
    // Calls until the fault strikes: 0 is the next one.
    fail_write: Option<u64>,
    tear_write: Option<(u64, usize)>,
    fail_sync: Option<u64>,
    // Calls that change something until none does any more.
    halt: Option<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The disk keeps no invariant across a panic that a later reader could break.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the `nth` write from now fail (0 is the next one) and write nothing.
    pub fn fail_write(&self, nth: u64) {
        lock(&self.shared.faults).fail_write = Some(nth);
    }

    /// Makes the `nth` write from now fail after its first `kept` bytes.
    pub fn tear_write(&self, nth: u64, kept: usize) {
        lock(&self.shared.faults).tear_write = Some((nth, kept));
    }

    /// Makes the `nth` sync from now fail, of a file or of a directory.
    pub fn fail_sync(&self, nth: u64) {
        lock(&self.shared.faults).fail_sync = Some(nth);
    }

    /// Lets `changes` more calls change something and fails all that come after, as if the process ended there. A call
    /// changes something when it creates, writes, cuts, syncs, renames or removes.
    pub fn halt_after(&self, changes: u64) {
        lock(&self.shared.faults).halt = Some(changes);
    }

    /// Whether calls fail since [`MemoryDisk::halt_after`].
    pub fn is_halted(&self) -> bool {
        lock(&self.shared.faults).halt == Some(0)
    }

    /// The disk as a power cut leaves it: content and names that were not synced are gone. Handles to this disk stay
    /// on the old one.
    pub fn crash(&self) -> MemoryDisk {
        let names = lock(&self.shared.names);
        let files: BTreeMap<_, _> = names
            .durable
            .iter()
            .map(|(path, content)| (path.clone(), Arc::new(content.durable())))
            .collect();
        Self::from_files(names.dirs.clone(), files)
    }

    /// The disk as the end of the process leaves it (kill -9): everything written is there.
    pub fn kill(&self) -> MemoryDisk {
        let names = lock(&self.shared.names);
        let files: BTreeMap<_, _> = names
            .files
            .iter()
            .map(|(path, content)| (path.clone(), Arc::new(content.copy())))
            .collect();
        Self::from_files(names.dirs.clone(), files)
    }

    /// The content of a file, `None` when there is no such file.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        lock(&self.shared.names)
            .files
            .get(path)
            .map(|content| lock(&content.bytes).now.clone())
    }

    /// Overwrites the content of a file as a fault of the medium would, durable at once.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(content) = lock(&self.shared.names).files.get(path) {
            let mut bytes = lock(&content.bytes);
            change(&mut bytes.now);
            bytes.unsynced.clear();
        }
    }

    fn from_files(dirs: BTreeSet<PathBuf>, files: BTreeMap<PathBuf, Arc<Content>>) -> Self {
        let names = Names {
            dirs,
            durable: files.clone(),
            files,
            locked: BTreeSet::new(),
        };
        Self {
            shared: Arc::new(Shared {
                names: Mutex::new(names),
                faults: Mutex::default(),
            }),
        }
    }

    fn opened(&self, path: &Path, content: Arc<Content>) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile {
            path: path.to_owned(),
            content,
            shared: Arc::clone(&self.shared),
        })
    }

    fn not_found(operation: &'static str, path: &Path) -> DiskError {
        DiskError::new(operation, path, io::ErrorKind::NotFound)
    }
}

impl Content {
    fn durable(&self) -> Content {
        let mut bytes = lock(&self.bytes).clone();
        while let Some(undo) = bytes.unsynced.pop() {
            bytes.now.resize(undo.len_before, 0);
            let end = undo.position + undo.before.len();
            if let Some(place) = bytes.now.get_mut(undo.position..end) {
                place.copy_from_slice(&undo.before);
            }
        }
        Content {
            bytes: Mutex::new(bytes),
        }
    }

    fn copy(&self) -> Content {
        let now = lock(&self.bytes).now.clone();
        Content {
            bytes: Mutex::new(Bytes {
                now,
                unsynced: Vec::new(),
            }),
        }
    }
}

impl Bytes {
    /// Remembers what the bytes from `position` were before they change.
    fn note_change(&mut self, position: usize, len: usize) {
        let len_before = self.now.len();
        let start = position.min(len_before);
        let end = position.saturating_add(len).min(len_before);
        let before = self.now.get(start..end).unwrap_or_default().to_vec();
        self.unsynced.push(Undo {
            position: start,
            before,
            len_before,
        });
    }

    fn write(&mut self, position: usize, data: &[u8]) {
        self.note_change(position, data.len());
        let end = position + data.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now
            .get_mut(position..end)
            .expect("resized to at least end")
            .copy_from_slice(data);
    }
}

impl Faults {
    /// Counts a call that changes something, or fails it.
    fn change(&mut self, operation: &'static str, path: &Path) -> Result<(), DiskError> {
        match &mut self.halt {
            Some(0) => Err(DiskError::new(operation, path, io::ErrorKind::Interrupted)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Counts a write; the number of bytes it may still write when a fault strikes.
    fn next_write(&mut self) -> Option<usize> {
        if strikes(&mut self.fail_write) {
            return Some(0);
        }
        let (nth, kept) = self.tear_write?;
        if nth == 0 {
            self.tear_write = None;
            return Some(kept);
        }
        self.tear_write = Some((nth - 1, kept));
        None
    }
}

fn strikes(countdown: &mut Option<u64>) -> bool {
    match countdown {
        Some(0) => {
            *countdown = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

fn is_parent(dir: &Path, path: &Path) -> bool {
    path.parent() == Some(dir)
}

fn child_name(dir: &Path, path: &Path) -> Option<String> {
    if !is_parent(dir, path) {
        return None;
    }
    Some(path.file_name()?.to_str()?.to_owned())
}

impl Disk for MemoryDisk {
    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let mut names = lock(&self.shared.names);
        for ancestor in dir.ancestors() {
            names.dirs.insert(ancestor.to_owned());
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        let names = lock(&self.shared.names);
        if !names.dirs.contains(dir) {
            return Err(Self::not_found("list", dir));
        }
        let dirs = names
            .dirs
            .iter()
            .filter_map(|path| child_name(dir, path))
            .map(|name| DirEntry::Dir { name });
        let files = names.files.iter().filter_map(|(path, content)| {
            let len = lock(&content.bytes).now.len() as u64;
            Some(DirEntry::File {
                name: child_name(dir, path)?,
                len,
            })
        });
        Ok(dirs.chain(files).collect())
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        let content = lock(&self.shared.names).files.get(path).cloned();
        content
            .map(|content| self.opened(path, content))
            .ok_or_else(|| Self::not_found("open", path))
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        lock(&self.shared.faults).change("open", path)?;
        let mut names = lock(&self.shared.names);
        if !path.parent().is_some_and(|dir| names.dirs.contains(dir)) {
            return Err(Self::not_found("open", path));
        }
        let content = Arc::clone(names.files.entry(path.to_owned()).or_default());
        Ok(self.opened(path, content))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        lock(&self.shared.faults).change("rename", from)?;
        let mut names = lock(&self.shared.names);
        if let Some(content) = names.files.remove(from) {
            names.files.insert(to.to_owned(), content);
            return Ok(());
        }
        if !names.dirs.contains(from) {
            return Err(Self::not_found("rename", from));
        }
        let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| to.join(rest));
        names.dirs = names
            .dirs
            .iter()
            .map(|path| moved(path).unwrap_or_else(|| path.clone()))
            .collect();
        let files = std::mem::take(&mut names.files);
        names.files = files
            .into_iter()
            .map(|(path, c)| (moved(&path).unwrap_or(path), c))
            .collect();
        // A renamed directory is durable at once, as directories are here.
        let durable = std::mem::take(&mut names.durable);
        names.durable = durable
            .into_iter()
            .map(|(path, c)| (moved(&path).unwrap_or(path), c))
            .collect();
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        lock(&self.shared.faults).change("remove", path)?;
        match lock(&self.shared.names).files.remove(path) {
            Some(_) => Ok(()),
            None => Err(Self::not_found("remove", path)),
        }
    }

    fn remove_dir(&self, dir: &Path) -> Result<(), DiskError> {
        lock(&self.shared.faults).change("remove", dir)?;
        let mut names = lock(&self.shared.names);
        if !names.dirs.contains(dir) {
            return Err(Self::not_found("remove", dir));
        }
        names.dirs.retain(|path| !path.starts_with(dir));
        names.files.retain(|path, _| !path.starts_with(dir));
        names.durable.retain(|path, _| !path.starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        lock(&self.shared.faults).change("sync", dir)?;
        if strikes(&mut lock(&self.shared.faults).fail_sync) {
            return Err(DiskError::new("sync", dir, io::Error::other("injected fault")));
        }
        let mut names = lock(&self.shared.names);
        if !names.dirs.contains(dir) {
            return Err(Self::not_found("sync", dir));
        }
        names.durable.retain(|path, _| !is_parent(dir, path));
        let here: Vec<_> = names
            .files
            .iter()
            .filter(|(path, _)| is_parent(dir, path))
            .collect();
        let here: Vec<_> = here
            .into_iter()
            .map(|(path, c)| (path.clone(), Arc::clone(c)))
            .collect();
        names.durable.extend(here);
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>, DiskError> {
        self.create(path)?;
        if !lock(&self.shared.names).locked.insert(path.to_owned()) {
            return Err(DiskError::new("lock", path, io::ErrorKind::WouldBlock));
        }
        Ok(Box::new(HeldLock {
            path: path.to_owned(),
            shared: Arc::clone(&self.shared),
        }))
    }
}

#[derive(Debug)]
struct HeldLock {
    path: PathBuf,
    shared: Arc<Shared>,
}

impl FileLock for HeldLock {}

impl Drop for HeldLock {
    fn drop(&mut self) {
        lock(&self.shared.names).locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct MemoryFile {
    path: PathBuf,
    content: Arc<Content>,
    shared: Arc<Shared>,
}

impl DiskFile for MemoryFile {
    fn write_at(&self, position: u64, parts: &mut [IoSlice<'_>]) -> Result<(), DiskError> {
        lock(&self.shared.faults).change("write", &self.path)?;
        let failed = |source: io::Error| DiskError::new("write", &self.path, source);
        let position = usize::try_from(position).map_err(|_| failed(io::ErrorKind::FileTooLarge.into()))?;
        let mut data: Vec<u8> = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| data.extend_from_slice(part));
        let fault = lock(&self.shared.faults).next_write();
        let kept = fault.unwrap_or(data.len()).min(data.len());
        if kept > 0 {
            lock(&self.content.bytes).write(position, data.get(..kept).expect("kept is at most the length"));
        }
        match fault {
            Some(_) => Err(failed(io::Error::other("injected fault"))),
            None => Ok(()),
        }
    }

    fn read_at(&self, position: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError> {
        let bytes = lock(&self.content.bytes);
        let start = usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(bytes.now.len());
        let end = start.saturating_add(len).min(bytes.now.len());
        out.extend_from_slice(
            bytes
                .now
                .get(start..end)
                .expect("both were bounded by the length"),
        );
        Ok(end - start)
    }

    fn size(&self) -> Result<u64, DiskError> {
        Ok(lock(&self.content.bytes).now.len() as u64)
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        lock(&self.shared.faults).change("truncate", &self.path)?;
        let failed = |_| DiskError::new("truncate", &self.path, io::ErrorKind::FileTooLarge);
        let len = usize::try_from(len).map_err(failed)?;
        let mut bytes = lock(&self.content.bytes);
        bytes.note_change(len, usize::MAX);
        bytes.now.resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        lock(&self.shared.faults).change("sync", &self.path)?;
        if strikes(&mut lock(&self.shared.faults).fail_sync) {
            return Err(DiskError::new(
                "sync",
                &self.path,
                io::Error::other("injected fault"),
            ));
        }
        lock(&self.content.bytes).unsynced.clear();
        Ok(())
    }

    fn as_file(&self) -> Option<&std::fs::File> {
        None
    }
}
