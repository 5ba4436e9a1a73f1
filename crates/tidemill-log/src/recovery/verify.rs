//! Looking at a segment's batches: all of them after a crash, the last few after a clean stop.

use std::path::Path;

use crate::batch::{BatchHeader, HEADER_LEN};
use crate::damage::Damage;
use crate::disk::{Disk, DiskError, DiskFile};
use crate::index::{IndexBuilder, OffsetEntry, TimeEntry};
use crate::recovery::Fault;
use crate::segment::{self, Found, Tail};
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

/// What has been verified so far.
struct Verifying {
    indexes: IndexBuilder,
    first_timestamp: Option<Timestamp>,
    next_offset: Offset,
    damages: Vec<Damage>,
    size: u64,
    torn: Option<Fault>,
}

impl Verifying {
    fn note(&mut self, header: &BatchHeader, position: u64) {
        if self.first_timestamp.is_none() && header.max_timestamp > Timestamp::NONE {
            self.first_timestamp = Some(header.max_timestamp);
        }
        self.indexes.note(header, position);
        self.next_offset = header.next_offset();
    }

    fn finish(self) -> Verified {
        let indexes = self.indexes;
        Verified {
            size: self.size,
            next_offset: self.next_offset,
            max_timestamp: indexes.max_timestamp,
            offsets: indexes.offsets,
            times: indexes.times,
            tail: Tail {
                first_timestamp: self.first_timestamp,
                bytes_since_entry: indexes.bytes_since_entry,
                max_timestamp_offset: indexes.max_timestamp_offset,
            },
            damages: self.damages,
            torn: self.torn,
        }
    }
}

/// Checks every batch of a segment.
pub(super) fn verify(file: &dyn DiskFile, checking: &Checking) -> Result<Verified, DiskError> {
    let mut verifying = Verifying {
        indexes: IndexBuilder::new(checking.base, checking.index_interval_bytes),
        first_timestamp: None,
        next_offset: checking.base,
        damages: Vec::new(),
        size: checking.len,
        torn: None,
    };
    let mut window = Window {
        file,
        start: 0,
        bytes: Vec::new(),
    };
    let mut position = 0;
    while position < checking.len {
        let expected = verifying.next_offset;
        let fault = match batch_at(&mut window, checking, position, expected)? {
            Ok(header) if is_displaced(&mut window, checking, &header, position, expected)? => {
                let got = header.base_offset;
                Fault::Order { expected, got }
            }
            Ok(header) => {
                verifying.note(&header, position);
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
                verifying.damages.push(damage);
                verifying.next_offset = next_offset;
                position = end;
            }
            None => {
                verifying.size = position;
                verifying.torn = Some(fault);
                break;
            }
        }
    }
    if let Some(next_base) = checking.next_base {
        verifying.indexes.note_max_timestamp();
        note_missing(&mut verifying, checking, next_base);
    }
    Ok(verifying.finish())
}

/// Notes offsets between the end of a sealed segment and the next one: they were there, unless compaction took them.
fn note_missing(verified: &mut Verifying, checking: &Checking, next_base: Offset) {
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
