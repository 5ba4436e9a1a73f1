//! The sparse indexes beside a segment: offset to position, and time to offset.
//!
//! ```text
//! .index      8 bytes an entry: last offset of a batch minus the segment's base u32 | where that batch starts u32
//! .timeindex 12 bytes an entry: largest timestamp so far i64 | last offset of the batch that has it, minus base u32
//! ```
//! The active segment's entries are in memory and reach the file a page at a time; a crash loses at most what
//! recovery rebuilds from the segment. A sealed segment's are searched in the file.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::BatchHeader;
use crate::disk::{self, Disk, DiskError, DiskFile};
use crate::types::{Offset, Timestamp};

/// Entries that wait in memory before they are written: one page.
const UNWRITTEN_BYTES_MAX: usize = 4096;

/// One fixed-size entry.
pub(crate) trait Entry: Copy {
    const SIZE: usize;
    fn decode(bytes: &[u8]) -> Option<Self>;
    fn encode(&self, out: &mut Vec<u8>);
}

/// Where a batch starts, by its last offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative_offset: u32,
    pub(crate) position: u32,
}

/// The last offset of the batch that first had a timestamp this large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: Timestamp,
    pub(crate) relative_offset: u32,
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk()?;
        let position = rest.first_chunk()?;
        Some(Self {
            relative_offset: u32::from_be_bytes(*offset),
            position: u32::from_be_bytes(*position),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (timestamp, rest) = bytes.split_first_chunk()?;
        let offset = rest.first_chunk()?;
        let timestamp = Timestamp(i64::from_be_bytes(*timestamp));
        Some(Self {
            timestamp,
            relative_offset: u32::from_be_bytes(*offset),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.0.to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }
}

/// One index file.
#[derive(Debug)]
pub(crate) struct Index<E> {
    path: PathBuf,
    entries: Entries<E>,
}

#[derive(Debug)]
enum Entries<E> {
    // Invariant: the first `written` entries are in the file, and nothing else is.
    InMemory {
        entries: Vec<E>,
        written: usize,
    },
    InFile {
        count: usize,
        file: Option<Arc<dyn DiskFile>>,
    },
}

impl<E: Entry> Index<E> {
    /// The index of a new, active segment; makes its file.
    pub(crate) fn create(disk: &dyn Disk, path: PathBuf) -> Result<Self, DiskError> {
        disk::create_empty(disk, &path)?;
        Ok(Self::empty(path))
    }

    /// The index in a file of `len` bytes, not looked at yet; `None` when that length cannot be right.
    pub(crate) fn in_file(path: PathBuf, len: u64) -> Option<Self> {
        let len = usize::try_from(len).ok()?;
        let whole = len.is_multiple_of(E::SIZE);
        whole.then_some(Self {
            path,
            entries: Entries::InFile {
                count: len / E::SIZE,
                file: None,
            },
        })
    }

    /// The index of a sealed segment whose files were copied, this one to `path`.
    pub(crate) fn copied_to(&self, path: PathBuf) -> Self {
        let count = self.len();
        Self {
            path,
            entries: Entries::InFile { count, file: None },
        }
    }

    /// The index of a segment without batches, whose file is at `path` or will be.
    pub(crate) fn empty(path: PathBuf) -> Self {
        Self {
            path,
            entries: Entries::InMemory {
                entries: Vec::new(),
                written: 0,
            },
        }
    }

    /// The index whose file is `file` and will be at `path`.
    pub(crate) fn in_open_file(path: PathBuf, file: Arc<dyn DiskFile>, count: usize) -> Self {
        let file = Some(file);
        Self {
            path,
            entries: Entries::InFile { count, file },
        }
    }

    /// Opens the file of a sealed segment's index, so that it is readable whatever becomes of its name.
    pub(crate) fn hold_open(&mut self, disk: &dyn Disk) -> Result<(), DiskError> {
        if let Entries::InFile { file, .. } = &mut self.entries
            && file.is_none()
        {
            *file = Some(disk.open(&self.path)?);
        }
        Ok(())
    }

    /// The index with these entries, whatever was in its file.
    pub(crate) fn rebuilt(disk: &dyn Disk, path: PathBuf, entries: Vec<E>) -> Result<Self, DiskError> {
        let mut index = Self::create(disk, path)?;
        index.entries = Entries::InMemory { entries, written: 0 };
        index.write_out(disk)?;
        Ok(index)
    }

    /// Reads the entries into memory, where an active segment's belong.
    pub(crate) fn load(&mut self, disk: &dyn Disk) -> Result<(), DiskError> {
        let Entries::InFile { count, .. } = self.entries else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        // At start this is asked of every partition, and most have none.
        if count > 0 {
            disk.open(&self.path)?.read_at(0, count * E::SIZE, &mut bytes)?;
        }
        let entries: Vec<E> = bytes.chunks_exact(E::SIZE).filter_map(E::decode).collect();
        let written = entries.len();
        self.entries = Entries::InMemory { entries, written };
        Ok(())
    }

    /// Adds an entry to an active segment's index.
    pub(crate) fn push(&mut self, disk: &dyn Disk, entry: E) -> Result<(), DiskError> {
        let Entries::InMemory { entries, written } = &mut self.entries else {
            unreachable!("only an active segment's index is pushed to, and that is in memory")
        };
        entries.push(entry);
        if (entries.len() - *written) * E::SIZE >= UNWRITTEN_BYTES_MAX {
            self.write_out(disk)
        } else {
            Ok(())
        }
    }

    /// The bytes of the file of a sealed segment's index.
    pub(crate) fn file_bytes(&self) -> u64 {
        (self.len() * E::SIZE) as u64
    }

    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::InMemory { entries, .. } => entries.len(),
            Entries::InFile { count, .. } => *count,
        }
    }

    /// Writes what waits in memory.
    pub(crate) fn write_out(&mut self, disk: &dyn Disk) -> Result<(), DiskError> {
        let Entries::InMemory { entries, written } = &mut self.entries else {
            return Ok(());
        };
        let unwritten = entries.get(*written..).unwrap_or_default();
        if unwritten.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(unwritten.len() * E::SIZE);
        unwritten.iter().for_each(|entry| entry.encode(&mut bytes));
        disk.create(&self.path)?
            .write_at((*written * E::SIZE) as u64, &mut [IoSlice::new(&bytes)])?;
        *written = entries.len();
        Ok(())
    }

    /// Writes what waits and lets go of the memory: the segment is sealed.
    pub(crate) fn seal(&mut self, disk: &dyn Disk) -> Result<(), DiskError> {
        self.write_out(disk)?;
        let count = self.len();
        self.entries = Entries::InFile { count, file: None };
        Ok(())
    }

    /// The last entry for which `holds`, given that it holds for a prefix of them.
    pub(crate) fn last_where(
        &mut self,
        disk: &dyn Disk,
        holds: impl Fn(&E) -> bool,
    ) -> Result<Option<E>, DiskError> {
        match &mut self.entries {
            Entries::InMemory { entries, .. } => {
                let after = entries.partition_point(holds);
                Ok(after.checked_sub(1).and_then(|at| entries.get(at)).copied())
            }
            Entries::InFile { count, file } => {
                let opened = match file {
                    Some(opened) => opened,
                    None => file.insert(disk.open(&self.path)?),
                };
                search_file(&**opened, *count, holds)
            }
        }
    }

    /// The last entry.
    pub(crate) fn last(&mut self, disk: &dyn Disk) -> Result<Option<E>, DiskError> {
        if self.len() == 0 {
            return Ok(None);
        }
        if let Entries::InFile { count, .. } = &self.entries {
            // One look, and no file kept open: at start this is asked of every partition.
            return entry_at(&*disk.open(&self.path)?, count - 1);
        }
        self.last_where(disk, |_| true)
    }
}

/// The entries of both indexes of one segment, made batch by batch as appending would have made them.
#[derive(Debug)]
pub(crate) struct IndexBuilder {
    base: Offset,
    interval_bytes: u32,
    pub(crate) offsets: Vec<OffsetEntry>,
    pub(crate) times: Vec<TimeEntry>,
    pub(crate) max_timestamp: Timestamp,
    /// The last offset of the batch that made the largest timestamp.
    pub(crate) max_timestamp_offset: Offset,
    pub(crate) bytes_since_entry: u64,
}

impl IndexBuilder {
    /// No entries yet, for the segment that starts at `base`.
    pub(crate) fn new(base: Offset, interval_bytes: u32) -> Self {
        Self {
            base,
            interval_bytes,
            offsets: Vec::new(),
            times: Vec::new(),
            max_timestamp: Timestamp::NONE,
            max_timestamp_offset: base,
            bytes_since_entry: 0,
        }
    }

    /// Takes in the batch at `position`.
    pub(crate) fn note(&mut self, header: &BatchHeader, position: u64) {
        if header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_offset = header.last_offset();
        }
        let due = self.bytes_since_entry > u64::from(self.interval_bytes);
        if let Some(position) = u32::try_from(position).ok().filter(|_| due) {
            let relative_offset = relative(self.base, header.last_offset());
            self.offsets.push(OffsetEntry {
                relative_offset,
                position,
            });
            self.bytes_since_entry = 0;
            self.note_max_timestamp();
        }
        self.bytes_since_entry += header.size as u64;
    }

    /// Adds the largest timestamp so far, unless it is there: also the last thing before the segment is sealed.
    pub(crate) fn note_max_timestamp(&mut self) {
        if self.times.last().map_or(Timestamp::NONE, |last| last.timestamp) < self.max_timestamp {
            let relative_offset = relative(self.base, self.max_timestamp_offset);
            self.times.push(TimeEntry {
                timestamp: self.max_timestamp,
                relative_offset,
            });
        }
    }
}

/// `offset` as indexes keep it.
pub(crate) fn relative(base: Offset, offset: Offset) -> u32 {
    u32::try_from(offset.since(base)).expect("a segment is sealed before its offsets pass 31 bits")
}

fn search_file<E: Entry>(
    file: &dyn DiskFile,
    count: usize,
    holds: impl Fn(&E) -> bool,
) -> Result<Option<E>, DiskError> {
    let (mut low, mut high) = (0, count);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match entry_at(file, middle)? {
            Some(entry) if holds(&entry) => {
                found = Some(entry);
                low = middle + 1;
            }
            _ => high = middle,
        }
    }
    Ok(found)
}

fn entry_at<E: Entry>(file: &dyn DiskFile, at: usize) -> Result<Option<E>, DiskError> {
    let mut bytes = Vec::with_capacity(E::SIZE);
    file.read_at((at * E::SIZE) as u64, E::SIZE, &mut bytes)?;
    Ok(E::decode(&bytes))
}
