//! One partition on disk: segments, indexes, recovery, retention; and the directories that hold many partitions.
//!
//! ```text
//!  append ──► validate ──► [writer lock] producer state ─► roll? ─► patch header ─► write ─► index ─► publish end
//!                                                                                                  │
//!  read  ◄── tail cache (bytes that arrived)  ◄────────── segments list + atomics, no writer lock ◄─┘
//!        ◄── segment file range (pread or sendfile), found by the sparse index
//! ```
//! Files, names and formats are Kafka's: `.log`, `.index`, `.timeindex`, `.txnindex`, `.snapshot`,
//! `leader-epoch-checkpoint`, `partition.metadata`, and the checkpoints of a log directory.
//!
//! ```
//! use std::sync::Arc;
//! use tidemill_log::{Disk, Log, LogConfig, MemoryDisk, OpenOptions, Timestamp, TopicPartition};
//!
//! let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
//! let options = OpenOptions::new("/data/clicks-0", TopicPartition::new("clicks", 0));
//! let (log, report) = Log::open(disk, options, LogConfig::default(), Timestamp(0))?;
//! assert!(report.is_clean());
//! assert_eq!(log.log_end_offset(), log.log_start_offset());
//! # Ok::<(), tidemill_log::OpenError>(())
//! ```
//!
//! The crate knows nothing of sockets, requests, replication or threads: the caller decides when to flush, when to
//! enforce retention, and how far the high watermark has come. Time is an argument.

mod batch;
mod checkpoint;
mod compaction;
mod config;
mod damage;
mod disk;
mod index;
mod leader_epochs;
mod log;
mod log_dirs;
mod partition_metadata;
mod producer_state;
mod records;
mod recovery;
mod segment;
mod tail_cache;
mod transactions;
mod types;
mod validation;

pub use compaction::{CompactError, Compacted, CompactionLimits};
pub use config::{CleanupPolicy, LogConfig, TimestampType};
pub use damage::Damage;
pub use disk::{DirEntry, Disk, DiskError, DiskFile, FileDisk, FileLock, MemoryDisk};
pub use leader_epochs::EpochEnd;
pub use log::{
    Appended, DeleteError, FetchPart, Fetched, FileRange, FirstBatch, FlushError, Log, OpenError,
    OpenOptions, ReadError, ReadUpTo, RelocateError, Shutdown, TimestampedOffset,
};
pub use log_dirs::{
    LogDirs, LogDirsOptions, Recovered, Relocated, RelocationPace, RelocationRefused, RelocationUnderWay,
};
pub use producer_state::{ProducerDescription, ProducerError, TransactionGuard};
pub use recovery::{DamagedSegment, Fault, RecoveryReport, Truncated};
pub use tail_cache::TailBudget;
pub use transactions::AbortedTransaction;
pub use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicPartition};
pub use validation::{Append, AppendError, InvalidBatch, Origin};
