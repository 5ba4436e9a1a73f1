//! Compaction: the last record of each key stays, and what no reader needs any more goes.
//!
//! ```text
//!  sealed segments ──► offset map: the newest offset of each key of what was never compacted      offset_map
//!                 ──► filter: what stays of each batch                                            filter
//!                 ──► <base>.log.cleaned and its indexes, synced                                  cleaned
//!                 ──► in their place, by renames that a crash may interrupt anywhere              swap
//! ```
//! Offsets never change: a compacted segment has gaps. This module knows segments; `log/compact.rs` drives it.

use crate::disk::DiskError;
use crate::types::Offset;
use tidemill_protocol::batch::BatchError;

mod batches;
mod cleaned;
mod filter;
mod offset_map;
pub(crate) mod swap;

pub(crate) use batches::BatchReader;
pub(crate) use cleaned::{Cleaned, CleanedSegment, discard};
pub(crate) use filter::{AbortedData, Filter, Kept, LastWritten};
pub(crate) use offset_map::OffsetMap;

/// How much a compaction may use.
#[derive(Debug, Clone, Copy)]
pub struct CompactionLimits {
    /// What the map from keys to offsets may take; a log with more keys is compacted in several passes.
    pub offset_map_bytes: usize,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Where what was never compacted began.
    pub from: Offset,
    /// Up to where the log is compacted now.
    pub to: Offset,
    /// The bytes of the segments that were looked at.
    pub bytes_before: u64,
    /// The bytes that are left of them.
    pub bytes_after: u64,
}

/// Why a log was not compacted. It is as it was, and can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// Whoever asked told it to stop, or the log was closed.
    #[error("compaction was stopped")]
    Stopped,
    /// A batch cannot be read.
    #[error("the batch at offset {offset} cannot be compacted: {fault}")]
    Batch {
        /// Where it begins, or should.
        offset: Offset,
        /// What is wrong with it.
        fault: BatchError,
    },
    /// A batch does not lie between its neighbours: its offset went bad, which no checksum covers.
    #[error("a batch says it begins at offset {got}, where {expected} or later should be")]
    Order {
        /// The least that could be there.
        expected: Offset,
        /// What the batch says.
        got: Offset,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
