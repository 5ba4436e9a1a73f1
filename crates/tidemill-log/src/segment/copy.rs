//! A sealed segment in another directory.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{DAMAGED, Found, INDEX, LOG, Segment, TIME_INDEX, TXN_INDEX, UNKNOWN, file_path, lock};
use crate::disk::{self, Disk, DiskError, DiskFile};
use crate::index::Index;
use crate::types::Timestamp;

/// How much is copied at once, and how often it is asked whether to go on.
const CHUNK_BYTES: usize = 256 * 1024;

impl Segment {
    /// Copies the files of a sealed segment to `dir` and syncs them. `go_on` is told of the data's bytes.
    pub(crate) fn copy_to<E: From<DiskError>>(
        &self,
        dir: &Path,
        go_on: &mut dyn FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let to = |suffix: &str| file_path(dir, self.base_offset, suffix);
        copy(&**self.data()?, &*self.disk, &to(LOG), self.size(), go_on)?;
        let indexes = [
            (INDEX, lock(&self.offsets).file_bytes()),
            (TIME_INDEX, lock(&self.times).file_bytes()),
        ];
        let quietly = &mut |_| Ok(());
        for (suffix, len) in indexes {
            let file = self.disk.open(&self.path(suffix))?;
            copy(&*file, &*self.disk, &to(suffix), len, quietly)?;
        }
        for suffix in [TXN_INDEX, DAMAGED] {
            match self.disk.open(&self.path(suffix)) {
                Ok(file) => copy(&*file, &*self.disk, &to(suffix), file.size()?, quietly)?,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// This sealed segment with its files in `dir`.
    pub(crate) fn in_dir(&self, dir: &Arc<Path>) -> Segment {
        let max_timestamp = self.max_timestamp.load(Ordering::Acquire);
        let path = |suffix: &str| file_path(dir, self.base_offset, suffix);
        let found = Found {
            base_offset: self.base_offset,
            size: self.size(),
            max_timestamp: (max_timestamp != UNKNOWN).then_some(Timestamp(max_timestamp)),
            offsets: lock(&self.offsets).copied_to(path(INDEX)),
            times: lock(&self.times).copied_to(path(TIME_INDEX)),
            damages: self.damages.clone(),
        };
        Segment::found(&self.disk, dir, found)
    }

    /// This segment, which has no batches yet, with its files in `dir`, to which they are about to be renamed.
    pub(crate) fn emptied_in_dir(&self, dir: &Arc<Path>) -> Result<Segment, DiskError> {
        let path = |suffix: &str| file_path(dir, self.base_offset, suffix);
        let found = Found {
            base_offset: self.base_offset,
            size: 0,
            max_timestamp: Some(Timestamp::NONE),
            offsets: Index::empty(path(INDEX)),
            times: Index::empty(path(TIME_INDEX)),
            damages: Vec::new(),
        };
        let data = Arc::clone(self.data()?);
        Ok(Segment::in_open_file(&self.disk, dir, data, found))
    }
}

/// Copies the first `len` bytes of `from` and syncs them.
fn copy<E: From<DiskError>>(
    from: &dyn DiskFile,
    disk: &dyn Disk,
    to: &Path,
    len: u64,
    go_on: &mut dyn FnMut(u64) -> Result<(), E>,
) -> Result<(), E> {
    let file = disk::create_empty(disk, to)?;
    let (mut position, mut chunk) = (0, Vec::new());
    while position < len {
        chunk.clear();
        let wanted = usize::try_from(len - position).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let read = from.read_at(position, wanted, &mut chunk)?;
        if read == 0 {
            return Err(DiskError::new("copy all of", to, ErrorKind::UnexpectedEof).into());
        }
        file.write_at(position, &mut [IoSlice::new(&chunk)])?;
        position += read as u64;
        go_on(read as u64)?;
    }
    Ok(file.sync()?)
}
