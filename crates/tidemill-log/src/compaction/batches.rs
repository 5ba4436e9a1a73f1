//! Whole batches of a segment, one after the other, through one buffer.

use std::sync::Arc;

use tidemill_protocol::batch::{Batch, BatchError, HEADER_LEN};

use super::CompactError;
use crate::batch::BatchHeader;
use crate::disk::DiskFile;
use crate::segment::Segment;
use crate::types::Offset;

/// What is read at once; a larger batch is read whole.
const READ_BYTES: usize = 512 << 10;

/// Reads a sealed segment's batches, each checked by its CRC.
pub(crate) struct BatchReader {
    file: Arc<dyn DiskFile>,
    position: u64,
    end: u64,
    // The least offset that may come next, and where the next segment begins.
    next_offset: Offset,
    next_base: Offset,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl BatchReader {
    /// The batches of `segment` from `position` on, where one must begin; the next segment begins at `next_base`.
    pub(crate) fn new(segment: &Segment, position: u64, next_base: Offset) -> Result<Self, CompactError> {
        Ok(Self {
            file: Arc::clone(segment.data()?),
            position,
            end: segment.size(),
            next_offset: segment.base_offset(),
            next_base,
            buffer: Vec::new(),
            buffer_at: 0,
        })
    }

    /// The next batch.
    pub(crate) fn next(&mut self) -> Result<Option<(BatchHeader, Batch<'_>)>, CompactError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let offset = self.next_offset;
        let failed = |fault| CompactError::Batch { offset, fault };
        let (position, end) = (self.position, self.end);
        let header = BatchHeader::parse(self.at(position, HEADER_LEN)?).map_err(failed)?;
        let left = end - position;
        if header.size as u64 > left {
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let needed = header.size;
            return Err(failed(BatchError::Truncated { needed, left }));
        }
        if header.base_offset < offset || header.next_offset() > self.next_base {
            let got = header.base_offset;
            return Err(CompactError::Order {
                expected: offset,
                got,
            });
        }
        self.position += header.size as u64;
        self.next_offset = header.next_offset();
        let batch = Batch::parse(self.at(position, header.size)?).map_err(failed)?;
        batch.check_crc().map_err(failed)?;
        Ok(Some((header, batch)))
    }

    /// Up to `len` bytes from `position`, fewer only at the end of the file.
    fn at(&mut self, position: u64, len: usize) -> Result<&[u8], CompactError> {
        let inside = position
            .checked_sub(self.buffer_at)
            .and_then(|at| usize::try_from(at).ok())
            .filter(|at| at.saturating_add(len) <= self.buffer.len());
        let at = match inside {
            Some(at) => at,
            None => {
                self.buffer.clear();
                self.buffer_at = position;
                let wanted = usize::try_from(self.end - position).unwrap_or(usize::MAX);
                let wanted = wanted.min(len.max(READ_BYTES));
                self.file.read_at(position, wanted, &mut self.buffer)?;
                0
            }
        };
        let end = at.saturating_add(len).min(self.buffer.len());
        Ok(self
            .buffer
            .get(at..end)
            .expect("both ends lie inside what was read"))
    }
}
