//! Reading: from the tail as bytes that arrived, from segments as ranges of their files.

use std::sync::Arc;

use bytes::Bytes;

use super::{CLOSED, Log, guard};
use crate::disk::{DiskError, DiskFile};
use crate::segment::{Located, Segment};
use crate::transactions::AbortedTransaction;
use crate::types::Offset;

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadUpTo {
    /// All there is: for replicas and for those who own the log.
    LogEnd,
    /// What is committed to the replicas: for consumers.
    HighWatermark,
    /// What no open transaction can undo: for consumers of committed records.
    LastStable,
}

/// Whether the first batch is returned even if it is larger than asked for, so that readers always get on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstBatch {
    /// Always.
    Always,
    /// Only if it fits.
    OnlyIfItFits,
}

/// Why a read cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {from} is outside {start}..={end}")]
    OutOfRange {
        /// What was asked for.
        from: Offset,
        /// The first offset there is.
        start: Offset,
        /// The offset the next record gets.
        end: Offset,
    },
    /// The records at this offset are lost to a damage that recovery, or this read, has found.
    #[error("offsets {first_offset}..{next_offset} are damaged")]
    Damaged {
        /// The first offset that is lost.
        first_offset: Offset,
        /// Where reading can go on.
        next_offset: Offset,
    },
    /// The log was closed or deleted.
    #[error("the log is closed")]
    Closed,
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Whole batches, the first of which contains the offset asked for.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The bytes, in order. A batch may be spread over several parts, never cut off.
    pub parts: Vec<FetchPart>,
    /// The offset after the last batch; the offset asked for when there is none.
    pub next_offset: Offset,
    /// The high watermark when the read began.
    pub high_watermark: Offset,
    /// The last stable offset when the read began.
    pub last_stable_offset: Offset,
    /// The first offset of the log when the read began.
    pub log_start_offset: Offset,
    /// For `LastStable`: the aborted transactions among the batches.
    pub aborted: Vec<AbortedTransaction>,
    /// Whether other segments follow the one that was read: however long one waits, this read gives no more.
    pub goes_on: bool,
}

impl Fetched {
    /// The bytes of all parts.
    pub fn len(&self) -> usize {
        self.parts.iter().map(FetchPart::len).sum()
    }

    /// Whether there are no batches.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The parts as bytes; what lies in files is read.
    pub fn into_bytes(self) -> Result<Vec<Bytes>, DiskError> {
        self.parts.into_iter().map(FetchPart::into_bytes).collect()
    }
}

/// A part of what was fetched.
#[derive(Debug, Clone)]
pub enum FetchPart {
    /// Bytes in memory, shared with the log.
    Memory(Bytes),
    /// A range of a segment's file.
    File(FileRange),
}

impl FetchPart {
    /// The bytes of the part.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(range) => range.len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part as bytes; what lies in a file is read.
    pub fn into_bytes(self) -> Result<Bytes, DiskError> {
        match self {
            Self::Memory(bytes) => Ok(bytes),
            Self::File(range) => range.read(),
        }
    }
}

/// A range of an open file. It stays readable when the segment is deleted meanwhile.
#[derive(Debug, Clone)]
pub struct FileRange {
    file: Arc<dyn DiskFile>,
    position: u64,
    len: usize,
}

impl FileRange {
    /// The operating system's file, for `sendfile`, when there is one.
    pub fn file(&self) -> Option<&std::fs::File> {
        self.file.as_file()
    }

    /// Where the range begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The bytes of the range.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads the range.
    pub fn read(&self) -> Result<Bytes, DiskError> {
        let mut bytes = Vec::with_capacity(self.len);
        self.file.read_at(self.position, self.len, &mut bytes)?;
        Ok(Bytes::from(bytes))
    }
}

/// What one read asks for, and where it must stop.
struct Wanted {
    from: Offset,
    limit: Offset,
    bytes_max: usize,
    first: FirstBatch,
}

/// What lies in the segment that holds the offset.
struct Found {
    range: FileRange,
    next_offset: Offset,
    goes_on: bool,
}

impl Log {
    /// The batches from the one that contains `from`, up to about `bytes_max` bytes of one segment.
    pub fn read(
        &self,
        from: Offset,
        up_to: ReadUpTo,
        bytes_max: usize,
        first: FirstBatch,
    ) -> Result<Fetched, ReadError> {
        let mut fetched = self.empty_fetch(from)?;
        let limit = match up_to {
            ReadUpTo::LogEnd => self.log_end_offset(),
            ReadUpTo::HighWatermark => fetched.high_watermark,
            ReadUpTo::LastStable => fetched.last_stable_offset,
        };
        if from >= limit {
            return Ok(fetched);
        }
        if let Some(found) = self
            .tail
            .read(from, limit, bytes_max, first == FirstBatch::Always)
        {
            fetched.parts = found.parts.into_iter().map(FetchPart::Memory).collect();
            fetched.next_offset = found.next_offset;
        } else {
            let wanted = Wanted {
                from,
                limit,
                bytes_max,
                first,
            };
            match self.with_segments(|segments| self.read_files(segments, &wanted)) {
                Ok(Some(found)) => {
                    fetched.parts.push(FetchPart::File(found.range));
                    fetched.next_offset = found.next_offset;
                    fetched.goes_on = found.goes_on;
                }
                Ok(None) => {}
                Err(error) => {
                    // Deleted under our eyes: the offset is gone, not the disk.
                    self.empty_fetch(from)?;
                    return Err(error);
                }
            }
            if from < self.log_start_offset() {
                return self.empty_fetch(from);
            }
        }
        if up_to == ReadUpTo::LastStable {
            fetched.aborted = guard(&self.transactions).aborted_in(from, fetched.next_offset);
        }
        Ok(fetched)
    }

    /// An answer without batches, if `from` is in the log.
    fn empty_fetch(&self, from: Offset) -> Result<Fetched, ReadError> {
        if self.condition.load(std::sync::atomic::Ordering::Acquire) == CLOSED {
            return Err(ReadError::Closed);
        }
        let high_watermark = self.high_watermark();
        let last_stable_offset = self.last_stable_offset().min(high_watermark);
        let (start, end) = (self.log_start_offset(), self.log_end_offset());
        if from < start || from > end {
            return Err(ReadError::OutOfRange { from, start, end });
        }
        Ok(Fetched {
            parts: Vec::new(),
            next_offset: from,
            high_watermark,
            last_stable_offset,
            log_start_offset: start,
            aborted: Vec::new(),
            goes_on: false,
        })
    }

    /// Reads from the segments that there are, and from those in their place when files went meanwhile: the log may
    /// have moved to another directory.
    pub(super) fn with_segments<T>(
        &self,
        read: impl Fn(&[Arc<Segment>]) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        loop {
            let segments = self.segments();
            match read(&segments) {
                Err(ReadError::Disk(error))
                    if error.is_not_found() && !Arc::ptr_eq(&segments, &self.segments()) => {}
                other => return other,
            }
        }
    }

    fn read_files(&self, segments: &[Arc<Segment>], wanted: &Wanted) -> Result<Option<Found>, ReadError> {
        let at = segments
            .partition_point(|s| s.base_offset() <= wanted.from)
            .saturating_sub(1);
        let mut rest = segments.get(at..).unwrap_or_default().iter().peekable();
        while let Some(segment) = rest.next() {
            let next_base = rest.peek().map(|next| next.base_offset());
            if let Some(damage) = lost(segment, wanted.from) {
                return Err(damage);
            }
            // Loaded before the search: what is published later may lie beyond the limit.
            let size = segment.size();
            let Some(first) = segment.find(wanted.from)? else {
                match next_base {
                    // Compaction took the end of this segment away, or it holds nothing from here on.
                    Some(_) => continue,
                    None => break,
                }
            };
            if let Some(damage) = lost_between(segment, wanted.from, first.header.base_offset) {
                return Err(damage);
            }
            let found = range(segment, size, next_base, &first, wanted)?;
            let Some((range, next_offset)) = found else {
                return Ok(None);
            };
            // A header that went bad since it was checked says so.
            if next_offset <= wanted.from {
                break;
            }
            return Ok(Some(Found {
                range,
                next_offset,
                goes_on: next_base.is_some_and(|base| base < wanted.limit),
            }));
        }
        if self.config().cleanup_policy.compacts() || wanted.limit <= self.compacted_to() {
            // Nothing of what was here is left; the reader waits for what comes after it.
            return Ok(None);
        }
        // The log says that there are records here, and no segment has them: the batch is damaged.
        Err(ReadError::Damaged {
            first_offset: wanted.from,
            next_offset: wanted.limit,
        })
    }
}

/// The range of `segment` from the batch `first` on that `wanted` may have, and the offset after it.
fn range(
    segment: &Segment,
    size: u64,
    next_base: Option<Offset>,
    first: &Located,
    wanted: &Wanted,
) -> Result<Option<(FileRange, Offset)>, DiskError> {
    if first.header.last_offset() >= wanted.limit {
        return Ok(None);
    }
    let bytes_max = wanted.bytes_max as u64;
    let (end, next_offset) = match cut_by_size(segment, size, first, wanted)? {
        Some(found) => found,
        None => match visible(segment, size, next_base, first, wanted.limit)? {
            // An index that lies about the limit must not keep a reader from getting on.
            (end, _) if end < first.end() => (first.end(), first.header.next_offset()),
            (end, next_offset) if end - first.position <= bytes_max => (end, next_offset),
            _ => cut(segment, first, bytes_max)?,
        },
    };
    if end - first.position > bytes_max && wanted.first == FirstBatch::OnlyIfItFits {
        return Ok(None);
    }
    let len = usize::try_from(end - first.position).expect("bounded by bytes_max or by one batch");
    let file = Arc::clone(segment.data()?);
    Ok(Some((
        FileRange {
            file,
            position: first.position,
            len,
        },
        next_offset,
    )))
}

/// As [`cut`], for a reader to whom the size sets the bound and not the limit, so that where the limit lies need not be
/// looked up: most reads of those who are behind.
fn cut_by_size(
    segment: &Segment,
    size: u64,
    first: &Located,
    wanted: &Wanted,
) -> Result<Option<(u64, Offset)>, DiskError> {
    let bytes_max = wanted.bytes_max as u64;
    if size.saturating_sub(first.position) <= bytes_max || !segment.damages().is_empty() {
        return Ok(None);
    }
    let found = cut(segment, first, bytes_max)?;
    Ok(Some(found).filter(|(_, next_offset)| *next_offset <= wanted.limit))
}

/// Where the batches from `first` on end that lie below `limit`, and the offset there.
fn visible(
    segment: &Segment,
    size: u64,
    next_base: Option<Offset>,
    first: &Located,
    limit: Offset,
) -> Result<(u64, Offset), DiskError> {
    let undamaged = match next_base {
        Some(base) if limit >= base => (size, base),
        _ => match segment.find(limit)? {
            Some(beyond) => (beyond.position, beyond.header.base_offset),
            None => (size, limit),
        },
    };
    Ok(match segment.damage_from(first.position) {
        Some(damage) if damage.position < undamaged.0 => (damage.position, damage.first_offset),
        _ => undamaged,
    })
}

/// The end of the last batch that fits `bytes_max` from `first` on, or of `first` itself, and the offset there.
fn cut(segment: &Segment, first: &Located, bytes_max: u64) -> Result<(u64, Offset), DiskError> {
    let indexed = segment.boundary(first.position, first.position.saturating_add(bytes_max))?;
    if let Some(batch) = indexed.and_then(|boundary| segment.scan(boundary).next()) {
        let next = batch?;
        segment.stopped_before(next);
        return Ok((next.position, next.header.base_offset));
    }
    let mut end = (first.end(), first.header.next_offset());
    for batch in segment.scan(first.end()) {
        let batch = batch?;
        if batch.end() - first.position > bytes_max {
            segment.stopped_before(batch);
            break;
        }
        end = (batch.end(), batch.header.next_offset());
    }
    Ok(end)
}

fn lost(segment: &Segment, from: Offset) -> Option<ReadError> {
    lost_between(segment, from, from.plus(1))
}

/// The damage that took offsets of `from..to`.
fn lost_between(segment: &Segment, from: Offset, to: Offset) -> Option<ReadError> {
    let hit = segment
        .damages()
        .iter()
        .find(|d| d.first_offset < to && d.next_offset > from)?;
    Some(ReadError::Damaged {
        first_offset: hit.first_offset,
        next_offset: hit.next_offset,
    })
}
