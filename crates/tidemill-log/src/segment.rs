//! A segment: one data file of batches and its indexes. Readers share [`Segment`]; only [`Active`] appends, and
//! sealing takes it away.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::batch::{BatchHeader, HEADER_LEN};
use crate::damage::Damage;
use crate::disk::{self, Disk, DiskError, DiskFile};
use crate::index::{Index, OffsetEntry, TimeEntry};
use crate::types::{Offset, Timestamp};

mod active;
mod bookmarks;
mod copy;

use bookmarks::Bookmarks;

pub(crate) use active::{Active, AppendFailure, Placed, Tail};

/// How much a look for a header reads: enough for many small batches, little beside one large one.
const SCAN_BYTES: usize = 4096;

/// The suffixes of the files of a segment, data first.
pub(crate) const LOG: &str = "log";
pub(crate) const INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const TXN_INDEX: &str = "txnindex";
pub(crate) const SNAPSHOT: &str = "snapshot";
pub(crate) const DAMAGED: &str = "damaged";

/// The file of the segment that starts at `base`: twenty digits and a suffix.
pub(crate) fn file_path(dir: &Path, base: Offset, suffix: &str) -> PathBuf {
    dir.join(format!("{:020}.{suffix}", base.0))
}

/// What readers see of a segment, active or sealed.
#[derive(Debug)]
pub(crate) struct Segment {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    base_offset: Offset,
    // Opened by the first that needs it: a start with thousands of partitions opens none.
    data: OnceLock<Arc<dyn DiskFile>>,
    // The bytes that hold whole, published batches.
    size: AtomicU64,
    // The largest timestamp of the published batches, `UNKNOWN` until asked for.
    max_timestamp: AtomicI64,
    offsets: Mutex<Index<OffsetEntry>>,
    times: Mutex<Index<TimeEntry>>,
    damages: Vec<Damage>,
    bookmarks: Bookmarks,
}

const UNKNOWN: i64 = i64::MIN;

/// The parts of a segment that was found on disk.
pub(crate) struct Found {
    pub(crate) base_offset: Offset,
    pub(crate) size: u64,
    pub(crate) max_timestamp: Option<Timestamp>,
    pub(crate) offsets: Index<OffsetEntry>,
    pub(crate) times: Index<TimeEntry>,
    pub(crate) damages: Vec<Damage>,
}

/// A batch in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Located {
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.size as u64
    }
}

impl Segment {
    /// Makes the files of a new segment.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Arc<Path>,
        base_offset: Offset,
    ) -> Result<Self, DiskError> {
        let data = disk::create_empty(&**disk, &file_path(dir, base_offset, LOG))?;
        let offsets = Index::create(&**disk, file_path(dir, base_offset, INDEX))?;
        let times = Index::create(&**disk, file_path(dir, base_offset, TIME_INDEX))?;
        let found = Found {
            base_offset,
            size: 0,
            max_timestamp: Some(Timestamp::NONE),
            offsets,
            times,
            damages: Vec::new(),
        };
        Ok(Self::in_open_file(disk, dir, data, found))
    }

    /// A segment found on disk.
    pub(crate) fn found(disk: &Arc<dyn Disk>, dir: &Arc<Path>, found: Found) -> Self {
        Self {
            disk: Arc::clone(disk),
            dir: Arc::clone(dir),
            base_offset: found.base_offset,
            data: OnceLock::new(),
            size: AtomicU64::new(found.size),
            max_timestamp: AtomicI64::new(found.max_timestamp.map_or(UNKNOWN, |t| t.0)),
            offsets: Mutex::new(found.offsets),
            times: Mutex::new(found.times),
            damages: found.damages,
            bookmarks: Bookmarks::default(),
        }
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// The bytes readers may see.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        file_path(&self.dir, self.base_offset, suffix)
    }

    pub(crate) fn data(&self) -> Result<&Arc<dyn DiskFile>, DiskError> {
        if let Some(data) = self.data.get() {
            return Ok(data);
        }
        let opened = self.disk.open(&self.path(LOG))?;
        Ok(self.data.get_or_init(|| opened))
    }

    /// The first damaged range that ends after `position`.
    pub(crate) fn damage_from(&self, position: u64) -> Option<&Damage> {
        self.damages.iter().find(|damage| damage.end > position)
    }

    pub(crate) fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// The largest timestamp in the segment.
    pub(crate) fn max_timestamp(&self) -> Result<Timestamp, DiskError> {
        let known = self.max_timestamp.load(Ordering::Acquire);
        if known != UNKNOWN {
            return Ok(Timestamp(known));
        }
        // Sealing wrote the largest one as the last entry. An empty index of a segment with data is one that a
        // foreign tool made, or a segment without timestamps: look at the batches.
        let last = lock(&self.times).last(&*self.disk)?;
        let max = match last {
            Some(entry) => entry.timestamp,
            None => self.scan(0).try_fold(Timestamp::NONE, |max, batch| {
                batch.map(|batch| max.max(batch.header.max_timestamp))
            })?,
        };
        self.max_timestamp.store(max.0, Ordering::Release);
        Ok(max)
    }

    /// The batches from `position`, which must be where one starts, to the end of what is published or damaged.
    pub(crate) fn scan(&self, position: u64) -> Scan<'_> {
        let end = self
            .damage_from(position)
            .map_or(u64::MAX, |damage| damage.position);
        Scan {
            segment: self,
            position,
            end: end.min(self.size()),
            buffer: Vec::new(),
            buffer_at: 0,
        }
    }

    /// Where to start to look for `offset`: at or before the batch that contains it, never behind a damage that
    /// lies between.
    pub(crate) fn position_before(&self, offset: Offset) -> Result<u64, DiskError> {
        // Where compaction left nothing before, a reader comes with an offset of an earlier segment.
        if offset <= self.base_offset {
            return Ok(0);
        }
        let relative = u32::try_from(offset.since(self.base_offset)).unwrap_or(u32::MAX);
        let entry = lock(&self.offsets).last_where(&*self.disk, |e| e.relative_offset <= relative)?;
        let indexed = entry.map_or(0, |e| u64::from(e.position));
        // Behind a damage the scan can start at its end: offsets of later batches are all larger.
        let behind = self
            .damages
            .iter()
            .filter(|d| d.next_offset <= offset)
            .map(|d| d.end)
            .max();
        Ok(indexed.max(behind.unwrap_or(0)))
    }

    /// The first batch that ends at `offset` or later.
    pub(crate) fn find(&self, offset: Offset) -> Result<Option<Located>, DiskError> {
        if let Some(batch) = self.bookmarks.take(offset) {
            return Ok(Some(batch));
        }
        for batch in self.scan(self.position_before(offset)?) {
            let batch = batch?;
            if batch.header.last_offset() >= offset {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Remembers that a reader stopped before `next`, and will most likely ask for it.
    pub(crate) fn stopped_before(&self, next: Located) {
        self.bookmarks.put(next);
    }

    /// The largest indexed start of a batch in `after..=at_most`.
    pub(crate) fn boundary(&self, after: u64, at_most: u64) -> Result<Option<u64>, DiskError> {
        let entry = lock(&self.offsets).last_where(&*self.disk, |e| u64::from(e.position) <= at_most)?;
        Ok(entry
            .map(|e| u64::from(e.position))
            .filter(|position| *position > after))
    }

    /// The first batch from `from` on with a record at `timestamp` or later.
    pub(crate) fn find_time(&self, timestamp: Timestamp, from: Offset) -> Result<Option<Located>, DiskError> {
        let entry = lock(&self.times).last_where(&*self.disk, |e| e.timestamp < timestamp)?;
        let indexed = entry.map_or(self.base_offset, |e| {
            self.base_offset.plus(i64::from(e.relative_offset))
        });
        for batch in self.scan(self.position_before(indexed.max(from))?) {
            let batch = batch?;
            if batch.header.max_timestamp >= timestamp && batch.header.last_offset() >= from {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Reads one whole batch.
    pub(crate) fn read_batch(&self, batch: &Located) -> Result<Vec<u8>, DiskError> {
        let mut bytes = Vec::new();
        self.data()?
            .read_at(batch.position, batch.header.size, &mut bytes)?;
        Ok(bytes)
    }

    /// Makes the data durable.
    pub(crate) fn sync_data(&self) -> Result<(), DiskError> {
        self.data()?.sync()
    }

    /// Makes the indexes of a sealed segment durable. Their locks are not held meanwhile: readers need them.
    pub(crate) fn sync_indexes(&self) -> Result<(), DiskError> {
        for suffix in [INDEX, TIME_INDEX] {
            self.disk.open(&self.path(suffix))?.sync()?;
        }
        Ok(())
    }

    /// How many entries the offset index has.
    pub(crate) fn index_entries(&self) -> usize {
        lock(&self.offsets).len()
    }

    /// Opens everything that is otherwise opened by name when it is needed: the names are about to belong to another
    /// segment, and readers may have this one.
    pub(crate) fn hold_open(&self) -> Result<(), DiskError> {
        self.data()?;
        self.max_timestamp()?;
        lock(&self.offsets).hold_open(&*self.disk)?;
        lock(&self.times).hold_open(&*self.disk)
    }

    /// A segment whose data file is open, and not under its own name yet.
    pub(crate) fn in_open_file(
        disk: &Arc<dyn Disk>,
        dir: &Arc<Path>,
        data: Arc<dyn DiskFile>,
        found: Found,
    ) -> Self {
        let segment = Self::found(disk, dir, found);
        segment
            .data
            .set(data)
            .expect("a segment just made has no file yet");
        segment
    }

    /// Removes the files, data first: what a crash leaves is then indexes without a segment, which opening removes.
    pub(crate) fn remove_files(&self) -> Result<(), DiskError> {
        for suffix in [LOG, INDEX, TIME_INDEX, TXN_INDEX, SNAPSHOT, DAMAGED] {
            crate::disk::remove_if_exists(&*self.disk, &self.path(suffix))?;
        }
        Ok(())
    }
}

/// Iterates over the headers of a segment's batches.
pub(crate) struct Scan<'a> {
    segment: &'a Segment,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl Scan<'_> {
    fn header(&mut self) -> Result<Option<BatchHeader>, DiskError> {
        let inside = self
            .position
            .checked_sub(self.buffer_at)
            .and_then(|at| usize::try_from(at).ok());
        let buffered = inside.and_then(|at| self.buffer.get(at..)).unwrap_or_default();
        if buffered.len() < HEADER_LEN {
            self.buffer.clear();
            self.segment
                .data()?
                .read_at(self.position, SCAN_BYTES, &mut self.buffer)?;
            self.buffer_at = self.position;
            return Ok(BatchHeader::parse(&self.buffer).ok());
        }
        Ok(BatchHeader::parse(buffered).ok())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Located, DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.end {
            return None;
        }
        let header = match self.header() {
            Ok(header) => header?,
            Err(error) => {
                self.end = self.position;
                return Some(Err(error));
            }
        };
        let batch = Located {
            position: self.position,
            header,
        };
        if batch.end() > self.end {
            return None;
        }
        self.position = batch.end();
        Some(Ok(batch))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic between two pushes leaves an index that is short, not wrong.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
