//! The segment that compaction writes: its files have the suffix `.cleaned` until they take their place.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CompactError;
use super::swap::{self, CLEANED};
use crate::batch::BatchHeader;
use crate::disk::{self, Disk, DiskError, DiskFile};
use crate::index::{Entry, Index, IndexBuilder};
use crate::segment::{self, Found, Segment};
use crate::transactions::AbortedTransaction;
use crate::types::Offset;

/// How much is written at once.
const WRITE_BYTES: usize = 512 << 10;

/// A segment while it is written.
pub(crate) struct CleanedSegment<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Arc<Path>,
    base: Offset,
    file: Arc<dyn DiskFile>,
    // Waits to be written at `written`.
    buffer: Vec<u8>,
    written: u64,
    indexes: IndexBuilder,
}

/// A segment that is written and synced.
pub(crate) struct Cleaned {
    pub(crate) segment: Arc<Segment>,
    pub(crate) size: u64,
}

impl<'a> CleanedSegment<'a> {
    /// An empty segment that will start at `base`.
    pub(crate) fn create(
        disk: &'a Arc<dyn Disk>,
        dir: &'a Arc<Path>,
        base: Offset,
        index_interval_bytes: u32,
    ) -> Result<Self, DiskError> {
        let file = disk::create_empty(&**disk, &cleaned_path(dir, base, segment::LOG))?;
        Ok(Self {
            disk,
            dir,
            base,
            file,
            buffer: Vec::new(),
            written: 0,
            indexes: IndexBuilder::new(base, index_interval_bytes),
        })
    }

    /// Adds a batch.
    pub(crate) fn push(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<(), DiskError> {
        let position = self.written + self.buffer.len() as u64;
        self.indexes.note(header, position);
        self.buffer.extend_from_slice(bytes);
        match self.buffer.len() >= WRITE_BYTES {
            true => self.write_out(),
            false => Ok(()),
        }
    }

    fn write_out(&mut self) -> Result<(), DiskError> {
        if !self.buffer.is_empty() {
            self.file
                .write_at(self.written, &mut [IoSlice::new(&self.buffer)])?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes what is left and makes all of it durable. `aborted` are the transactions whose markers are in here.
    pub(crate) fn finish(mut self, aborted: &[AbortedTransaction]) -> Result<Cleaned, CompactError> {
        self.write_out()?;
        self.file.sync()?;
        self.indexes.note_max_timestamp();
        let offsets = self.index(segment::INDEX, &self.indexes.offsets)?;
        let times = self.index(segment::TIME_INDEX, &self.indexes.times)?;
        // An old one is replaced, if only by an empty one: a missing file could not be told from one that is in place.
        let old = segment::file_path(self.dir, self.base, segment::TXN_INDEX);
        if !aborted.is_empty() || self.disk.open(&old).is_ok() {
            let bytes: Vec<u8> = aborted.iter().flat_map(AbortedTransaction::encode).collect();
            self.write_file(segment::TXN_INDEX, &bytes)?;
        }
        let found = Found {
            base_offset: self.base,
            size: self.written,
            max_timestamp: Some(self.indexes.max_timestamp),
            offsets,
            times,
            damages: Vec::new(),
        };
        let segment = Segment::in_open_file(self.disk, self.dir, self.file, found);
        Ok(Cleaned {
            segment: Arc::new(segment),
            size: self.written,
        })
    }

    fn index<E: Entry>(&self, suffix: &str, entries: &[E]) -> Result<Index<E>, DiskError> {
        let mut bytes = Vec::with_capacity(entries.len() * E::SIZE);
        entries.iter().for_each(|entry| entry.encode(&mut bytes));
        let file = self.write_file(suffix, &bytes)?;
        let path = segment::file_path(self.dir, self.base, suffix);
        Ok(Index::in_open_file(path, file, entries.len()))
    }

    fn write_file(&self, suffix: &str, bytes: &[u8]) -> Result<Arc<dyn DiskFile>, DiskError> {
        let file = disk::create_empty(&**self.disk, &cleaned_path(self.dir, self.base, suffix))?;
        file.write_at(0, &mut [IoSlice::new(bytes)])?;
        file.sync()?;
        Ok(file)
    }
}

/// Removes what was written of a segment that is not wanted any more.
pub(crate) fn discard(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<(), DiskError> {
    swap::FILES
        .iter()
        .try_for_each(|suffix| disk::remove_if_exists(disk, &cleaned_path(dir, base, suffix)))
}

fn cleaned_path(dir: &Path, base: Offset, suffix: &str) -> PathBuf {
    segment::file_path(dir, base, &format!("{suffix}{CLEANED}"))
}
