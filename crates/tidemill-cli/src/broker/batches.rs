//! The batches of a segment file, one at a time: a segment may be larger than memory.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::Context;
use tidemill_protocol::batch::{Batch, BatchError, BatchHeader, HEADER_LEN};

/// The most a batch may be; larger lengths are damage, not reason to take memory.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// A batch and where it lies.
pub(super) struct Found {
    pub(super) position: u64,
    pub(super) bytes: Vec<u8>,
}

impl Found {
    pub(super) fn batch(&self) -> Result<Batch<'_>, BatchError> {
        let batch = Batch::parse(&self.bytes)?;
        batch.check_crc()?;
        Ok(batch)
    }
}

/// Reads a segment file from its start.
pub(super) struct Segment {
    file: BufReader<File>,
    position: u64,
    len: u64,
}

impl Segment {
    pub(super) fn open(path: &Path) -> anyhow::Result<Segment> {
        let opened = || -> std::io::Result<Segment> {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            Ok(Segment {
                file: BufReader::new(file),
                position: 0,
                len,
            })
        };
        opened().with_context(|| format!("cannot read {}", path.display()))
    }

    /// Where the next batch begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch; an error says what is there instead, and nothing behind it can be read.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Found>> {
        let left = usize::try_from(self.len - self.position).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(None);
        }
        let position = self.position;
        let mut bytes = vec![0; HEADER_LEN.min(left)];
        self.file.read_exact(&mut bytes)?;
        let header = BatchHeader::parse(&bytes)?;
        if header.len > left || header.len > BATCH_BYTES_MAX {
            return Err(BatchError::Truncated {
                needed: header.len,
                left,
            }
            .into());
        }
        bytes.resize(header.len, 0);
        let rest = bytes.get_mut(HEADER_LEN..).expect("a batch is at least a header");
        self.file.read_exact(rest)?;
        self.position += header.len as u64;
        Ok(Some(Found { position, bytes }))
    }
}
