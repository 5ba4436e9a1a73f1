//! Looking at a segment's batches: all of them after a crash, the last few after a clean stop.

use std::path::Path;

use crate::batch::{BatchHeader, HEADER_LEN};
use crate::damage::Damage;
use crate::disk::{Disk, DiskError, DiskFile};
use crate::index::{OffsetEntry, TimeEntry};
use crate::recovery::Fault;
use crate::segment::{self, Found, Tail, relative};
use crate::types::{Offset, Timestamp};
use tidemill_protocol::batch::{Batch, BatchError};

/// How much of a segment is read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// What is known of a segment before it is checked.
pub(super) struct Checking {
    pub(super) base: Offset,
    pub(super) len: u64,
    /// Where the next segment starts; `None` for the last one.
    pub(super) next_base: Option<Offset>,
    /// Everything below has been synced: what is bad there was not torn but damaged.
    pub(super) durable: Offset,
    pub(super) index_interval_bytes: u32,
    /// Whether compaction may have taken offsets away.
    pub(super) may_have_gaps: bool,
}

/// What a check found.
pub(super) struct Verified {
    /// The bytes that stay.
    pub(super) size: u64,
    pub(super) next_offset: Offset,
    pub(super) max_timestamp: Timestamp,
    pub(super) offsets: Vec<OffsetEntry>,
    pub(super) times: Vec<TimeEntry>,
    pub(super) tail: Tail,
    pub(super) damages: Vec<Damage>,
    /// What is wrong where the segment is to be cut.
    pub(super) torn: Option<Fault>,
}

/// A piece of a file that moves along with the look at it.
struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// Up to `len` bytes from `position`, fewer only at the end of the file.
    fn at(&mut self, position: u64, len: usize) -> Result<&[u8], DiskError> {
        let inside = position
            .checked_sub(self.start)
            .and_then(|at| usize::try_from(at).ok());
        let inside = inside.filter(|at| at.saturating_add(len) <= self.bytes.len());
        let at = match inside {
            Some(at) => at,
            None => {
                self.bytes.clear();
                self.start = position;
                self.file
                    .read_at(position, len.max(WINDOW_BYTES), &mut self.bytes)?;
                0
            }
        };
        let end = at.saturating_add(len).min(self.bytes.len());
        Ok(self
            .bytes
            .get(at..end)
            .expect("both ends lie inside what was read"))
    }
}

/// Builds the indexes as appending would have.
struct Indexer<'a> {
    checking: &'a Checking,
    verified: Verified,
}

impl Indexer<'_> {
    fn note(&mut self, header: &BatchHeader, position: u64) {
        let Checking {
            base,
            index_interval_bytes,
            ..
        } = *self.checking;
        let verified = &mut self.verified;
        let tail = &mut verified.tail;
        if tail.first_timestamp.is_none() && header.max_timestamp > Timestamp::NONE {
            tail.first_timestamp = Some(header.max_timestamp);
        }
        if header.max_timestamp > verified.max_timestamp {
            verified.max_timestamp = header.max_timestamp;
            tail.max_timestamp_offset = header.last_offset();
        }
        let position32 = u32::try_from(position).ok();
        if let Some(position) =
            position32.filter(|_| tail.bytes_since_entry > u64::from(index_interval_bytes))
        {
            let relative_offset = relative(base, header.last_offset());
            verified.offsets.push(OffsetEntry {
                relative_offset,
                position,
            });
            tail.bytes_since_entry = 0;
            self.note_max_timestamp();
        }
        self.verified.tail.bytes_since_entry += header.size as u64;
        self.verified.next_offset = header.next_offset();
    }

    fn note_max_timestamp(&mut self) {
        let Verified {
            times,
            max_timestamp,
            tail,
            ..
        } = &mut self.verified;
        if times.last().map_or(Timestamp::NONE, |last| last.timestamp) < *max_timestamp {
            let relative_offset = relative(self.checking.base, tail.max_timestamp_offset);
            times.push(TimeEntry {
                timestamp: *max_timestamp,
                relative_offset,
            });
        }
    }
}

/// Checks every batch of a segment.
pub(super) fn verify(file: &dyn DiskFile, checking: &Checking) -> Result<Verified, DiskError> {
    let verified = Verified {
        size: checking.len,
        next_offset: checking.base,
        max_timestamp: Timestamp::NONE,
        offsets: Vec::new(),
        times: Vec::new(),
        tail: Tail {
            max_timestamp_offset: checking.base,
            ..Tail::default()
        },
        damages: Vec::new(),
        torn: None,
    };
    let mut window = Window {
        file,
        start: 0,
        bytes: Vec::new(),
    };
    let mut indexer = Indexer { checking, verified };
    let mut position = 0;
    while position < checking.len {
        let expected = indexer.verified.next_offset;
        let fault = match batch_at(&mut window, checking, position, expected)? {
            Ok(header) if is_displaced(&mut window, checking, &header, position, expected)? => {
                let got = header.base_offset;
                Fault::Order { expected, got }
            }
            Ok(header) => {
                indexer.note(&header, position);
                position += header.size as u64;
                continue;
            }
            Err(fault) => fault,
        };
        match resume(&mut window, checking, position, expected)? {
            Some((end, next_offset)) => {
                let damage = Damage {
                    position,
                    end,
                    first_offset: expected,
                    next_offset,
                };
                indexer.verified.damages.push(damage);
                indexer.verified.next_offset = next_offset;
                position = end;
            }
            None => {
                indexer.verified.size = position;
                indexer.verified.torn = Some(fault);
                break;
            }
        }
    }
    if let Some(next_base) = checking.next_base {
        indexer.note_max_timestamp();
        note_missing(&mut indexer.verified, checking, next_base);
    }
    Ok(indexer.verified)
}

/// Notes offsets between the end of a sealed segment and the next one: they were there, unless compaction took them.
fn note_missing(verified: &mut Verified, checking: &Checking, next_base: Offset) {
    let first_offset = verified.next_offset;
    if first_offset < next_base && !checking.may_have_gaps {
        let end = checking.len;
        verified.damages.push(Damage {
            position: end,
            end,
            first_offset,
            next_offset: next_base,
        });
    }
    verified.next_offset = next_base;
}

/// The batch at `position`, checked whole, or what is wrong with it.
fn batch_at(
    window: &mut Window<'_>,
    checking: &Checking,
    position: u64,
    expected: Offset,
) -> Result<Result<BatchHeader, Fault>, DiskError> {
    let header = match BatchHeader::parse(window.at(position, HEADER_LEN)?) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error.into())),
    };
    let left = checking.len - position;
    if header.size as u64 > left {
        // Checked before the batch is read: a length that lies must not cost memory.
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        return Ok(Err(BatchError::Truncated {
            needed: header.size,
            left,
        }
        .into()));
    }
    let in_range = header.base_offset >= expected
        && header.last_offset().since(checking.base) <= i64::from(i32::MAX)
        && checking.next_base.is_none_or(|next| header.next_offset() <= next);
    if !in_range {
        return Ok(Err(Fault::Order {
            expected,
            got: header.base_offset,
        }));
    }
    let batch = Batch::parse(window.at(position, header.size)?);
    Ok(batch
        .and_then(|batch| batch.check_crc())
        .map(|()| header)
        .map_err(Fault::from))
}

/// Whether a batch that leaves offsets out does so because its base offset went bad, which no checksum covers: the
/// batch after it then begins before it ends. Where compaction made the gap, it does not.
fn is_displaced(
    window: &mut Window<'_>,
    checking: &Checking,
    header: &BatchHeader,
    position: u64,
    expected: Offset,
) -> Result<bool, DiskError> {
    let after = position + header.size as u64;
    if header.base_offset == expected || after >= checking.len {
        return Ok(false);
    }
    let next = batch_at(window, checking, after, expected)?;
    Ok(next.is_ok_and(|next| next.base_offset < header.next_offset()))
}

/// Where valid batches go on after a fault at `position`, and from which offset; `None` when the segment is to be cut.
fn resume(
    window: &mut Window<'_>,
    checking: &Checking,
    position: u64,
    expected: Offset,
) -> Result<Option<(u64, Offset)>, DiskError> {
    if checking.next_base.is_none() && expected >= checking.durable {
        return Ok(None);
    }
    for at in position + 1..checking.len.saturating_sub(HEADER_LEN as u64) {
        if let Ok(header) = batch_at(window, checking, at, expected.plus(1))? {
            return Ok(Some((at, header.base_offset)));
        }
    }
    Ok(checking.next_base.map(|next| (checking.len, next)))
}

/// The end of the last segment after a clean stop: the batches behind the last index entry. `None` when they do not
/// look as a clean stop leaves them.
pub(super) fn trusted_tail(
    disk: &dyn Disk,
    dir: &Path,
    found: &mut Found,
) -> Result<Option<(Tail, Offset)>, DiskError> {
    let base = found.base_offset;
    let mut tail = Tail {
        max_timestamp_offset: base,
        ..Tail::default()
    };
    let mut max_timestamp = Timestamp::NONE;
    if let Some(last) = found.times.last(disk)? {
        max_timestamp = last.timestamp;
        tail.max_timestamp_offset = base.plus(i64::from(last.relative_offset));
    }
    let entry = found.offsets.last(disk)?;
    if found.size == 0 {
        found.max_timestamp = Some(Timestamp::NONE);
        return Ok(entry.is_none().then_some((tail, base)));
    }
    let file = disk.open(&segment::file_path(dir, base, segment::LOG))?;
    let mut first = Vec::new();
    file.read_at(0, HEADER_LEN, &mut first)?;
    let Ok(first) = BatchHeader::parse(&first) else {
        return Ok(None);
    };
    tail.first_timestamp = (first.max_timestamp > Timestamp::NONE).then_some(first.max_timestamp);

    let mut position = entry.map_or(0, |entry| u64::from(entry.position));
    tail.bytes_since_entry = found.size.saturating_sub(position);
    let mut next_offset = None;
    let mut window = Window {
        file: &*file,
        start: 0,
        bytes: Vec::new(),
    };
    while position < found.size {
        let Ok(header) = BatchHeader::parse(window.at(position, HEADER_LEN)?) else {
            return Ok(None);
        };
        let follows = match (next_offset, entry) {
            (Some(next), _) => header.base_offset >= next,
            (None, Some(entry)) => header.last_offset().since(base) == i64::from(entry.relative_offset),
            (None, None) => header.base_offset >= base,
        };
        position += header.size as u64;
        if !follows || position > found.size {
            return Ok(None);
        }
        if header.max_timestamp > max_timestamp {
            max_timestamp = header.max_timestamp;
            tail.max_timestamp_offset = header.last_offset();
        }
        next_offset = Some(header.next_offset());
    }
    found.max_timestamp = Some(max_timestamp);
    Ok(next_offset.map(|next| (tail, next)))
}
