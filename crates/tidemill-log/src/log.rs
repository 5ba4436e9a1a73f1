//! One partition: opening, its offsets, and what its parts share. Appending, reading, syncing and deleting have their
//! own files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use uuid::Uuid;

use crate::config::LogConfig;
use crate::disk::{Disk, DiskError};
use crate::leader_epochs::{EpochEnd, LeaderEpochs};
use crate::partition_metadata;
use crate::producer_state::{ProducerDescription, ProducerState, TransactionGuard};
use crate::recovery::{self, RecoveryReport};
use crate::segment::{Active, Segment};
use crate::tail_cache::{TailBudget, TailCache};
use crate::transactions::Transactions;
use crate::types::{LeaderEpoch, Offset, ProducerId, Timestamp, TopicPartition};

mod append;
mod compact;
mod read;
mod relocate;
mod retention;
mod sync;
mod timestamps;

#[cfg(test)]
mod tests;

pub use append::Appended;
pub use read::{FetchPart, Fetched, FileRange, FirstBatch, ReadError, ReadUpTo};
pub use relocate::RelocateError;
pub(crate) use relocate::{MOVED, Relocation};
pub use retention::DeleteError;
pub use sync::FlushError;
pub use timestamps::TimestampedOffset;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process uses the directory.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory belongs to another broker or cluster.
    #[error("{} has {key} {found}, expected {expected}", dir.display())]
    ForeignDirectory {
        /// The log directory.
        dir: PathBuf,
        /// Which property differs.
        key: &'static str,
        /// What the directory says.
        found: String,
        /// What this broker is.
        expected: String,
    },
    /// The same partition lies in two log directories.
    #[error("{partition} is in {} and in {}", first.display(), second.display())]
    Twice {
        /// Which partition.
        partition: TopicPartition,
        /// Where it was found first.
        first: PathBuf,
        /// Where it was found again.
        second: PathBuf,
    },
    /// No log directory was given.
    #[error("no log directory")]
    NoDirectory,
    /// The partition exists already.
    #[error("{0} exists already")]
    Exists(TopicPartition),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// How the log was left, so how much of it to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It was closed: its files are as they should be.
    Clean,
    /// Unknown: what lies behind the recovery point is checked batch by batch.
    Unclean,
}

/// Where a log lies and what is known of it.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The partition's directory; made when missing.
    pub dir: PathBuf,
    /// Its name.
    pub topic_partition: TopicPartition,
    /// How it was left.
    pub shutdown: Shutdown,
    /// Everything below is known to be durable.
    pub recovery_point: Offset,
    /// The first offset readers may see, if records were deleted up to it.
    pub log_start: Offset,
    /// Up to where the log is known to be compacted.
    pub compacted_to: Offset,
    /// What tails of all logs may hold.
    pub tail_budget: Arc<TailBudget>,
}

impl OpenOptions {
    /// The log in `dir` when nothing else is known; its tail may hold one MiB.
    pub fn new(dir: impl Into<PathBuf>, topic_partition: TopicPartition) -> Self {
        Self {
            dir: dir.into(),
            topic_partition,
            shutdown: Shutdown::Unclean,
            recovery_point: Offset(0),
            log_start: Offset(0),
            compacted_to: Offset(0),
            tail_budget: Arc::new(TailBudget::new(1 << 20)),
        }
    }
}

/// One partition on disk. All methods take `&self`; one writer at a time, readers never wait for it.
#[derive(Debug)]
pub struct Log {
    topic_partition: TopicPartition,
    topic_id: Option<Uuid>,
    disk: Arc<dyn Disk>,
    // Changes when the log moves to another log directory. Held for a copy of the handle, as is the next.
    dir: RwLock<Arc<Path>>,
    config: RwLock<Arc<LogConfig>>,
    // Guards appending, rolling and deleting segments: whoever changes the list of segments holds it.
    writer: Mutex<Writer>,
    // The segments readers see, oldest first, never empty; the last one is the writer's. Held for a copy of the handle.
    segments: RwLock<Arc<[Arc<Segment>]>>,
    // Invariant: log_start <= last stable <= high_watermark <= log_end.
    log_start: AtomicI64,
    log_end: AtomicI64,
    high_watermark: AtomicI64,
    // The first offset of an undecided transaction; i64::MAX when there is none.
    first_unstable: AtomicI64,
    // Everything below has been synced.
    recovery_point: AtomicI64,
    // Guards the list only; short.
    transactions: Mutex<Transactions>,
    // Guards the list and its file, which is written once an epoch.
    epochs: Mutex<LeaderEpochs>,
    tail: TailCache,
    // Taken for a whole sync, so that those who wait find their work done by it.
    syncing: Mutex<()>,
    // Held by whoever replaces or deletes segments' files, before `writer` where both are.
    replacing: Mutex<()>,
    // Held for a whole compaction: there is one at a time.
    compacting: Mutex<()>,
    // Set when the log ends, or a batch was found that cannot be compacted: no compaction begins or goes on.
    compaction_ended: AtomicBool,
    // Set while the log moves to another log directory, from when compactions must not change it any more.
    relocating: AtomicBool,
    // Everything below has been compacted, unless it lies below the log's start.
    compacted_to: AtomicI64,
    // Whether names in the directory have changed since it was synced.
    dir_changed: AtomicBool,
    condition: AtomicU8,
}

#[derive(Debug)]
struct Writer {
    active: Active,
    producers: ProducerState,
    unsynced_records: u64,
    unsynced_since: Option<Timestamp>,
}

const OPEN: u8 = 0;
const READ_ONLY: u8 = 1;
const CLOSED: u8 = 2;

/// `first_unstable` when no transaction is undecided.
const ALL_STABLE: i64 = i64::MAX;

impl Log {
    /// Opens the log in `options.dir`, making it when there is none, and repairing what a crash left. The report says
    /// what was repaired and what cannot be.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: OpenOptions,
        config: LogConfig,
        now: Timestamp,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let dir: Arc<Path> = Arc::from(options.dir.as_path());
        let loaded = recovery::load(&disk, &dir, &options, &config, now)?;
        let topic_id = partition_metadata::read(&*disk, &dir)?;
        let recovery_point = options.recovery_point.min(loaded.log_end);
        let first_unstable = loaded
            .transactions
            .first_unstable()
            .map_or(ALL_STABLE, |offset| offset.0);
        let log = Self {
            topic_partition: options.topic_partition,
            topic_id,
            disk,
            dir: RwLock::new(dir),
            config: RwLock::new(Arc::new(config)),
            writer: Mutex::new(Writer {
                active: loaded.active,
                producers: loaded.producers,
                unsynced_records: 0,
                unsynced_since: None,
            }),
            segments: RwLock::new(loaded.segments.into()),
            log_start: AtomicI64::new(loaded.log_start.0),
            log_end: AtomicI64::new(loaded.log_end.0),
            high_watermark: AtomicI64::new(loaded.log_end.0),
            first_unstable: AtomicI64::new(first_unstable),
            recovery_point: AtomicI64::new(recovery_point.0),
            transactions: Mutex::new(loaded.transactions),
            epochs: Mutex::new(loaded.epochs),
            tail: TailCache::new(options.tail_budget),
            syncing: Mutex::new(()),
            replacing: Mutex::new(()),
            compacting: Mutex::new(()),
            compaction_ended: AtomicBool::new(false),
            relocating: AtomicBool::new(false),
            compacted_to: AtomicI64::new(options.compacted_to.min(loaded.log_end).0),
            dir_changed: AtomicBool::new(loaded.changed_names),
            condition: AtomicU8::new(OPEN),
        };
        Ok((log, loaded.report))
    }

    /// The partition's name.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The id of the topic, when `partition.metadata` has one.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// The partition's directory.
    pub fn dir(&self) -> Arc<Path> {
        Arc::clone(&self.dir.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first offset there is.
    pub fn log_start_offset(&self) -> Offset {
        Offset(self.log_start.load(Ordering::Acquire))
    }

    /// The offset the next record gets.
    pub fn log_end_offset(&self) -> Offset {
        Offset(self.log_end.load(Ordering::Acquire))
    }

    /// The offset up to which records are committed to the replicas there are.
    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// The offset up to which readers of committed records may read.
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark()
            .min(Offset(self.first_unstable.load(Ordering::Acquire)))
    }

    /// The offset up to which records are known to be durable.
    pub fn recovery_point(&self) -> Offset {
        Offset(self.recovery_point.load(Ordering::Acquire))
    }

    /// The offset up to which the log has been compacted.
    pub fn compacted_to(&self) -> Offset {
        Offset(self.compacted_to.load(Ordering::Acquire))
    }

    /// Moves the high watermark to `to`, or to the log's end if that comes first; never back. Says whether it moved.
    pub fn advance_high_watermark(&self, to: Offset) -> bool {
        let to = to.min(self.log_end_offset());
        let before = self.high_watermark.fetch_max(to.0, Ordering::AcqRel);
        if before >= to.0 {
            return false;
        }
        if self.first_unstable.load(Ordering::Acquire) != ALL_STABLE {
            let mut transactions = guard(&self.transactions);
            transactions.advance(to);
            self.publish_first_unstable(&transactions);
        }
        true
    }

    /// The bytes in the segments' data files.
    pub fn size_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.size()).sum()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments().len()
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in force, for what happens from now on.
    pub fn reconfigure(&self, config: LogConfig) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Whether appends are refused since a write or sync failed.
    pub fn is_read_only(&self) -> bool {
        self.condition.load(Ordering::Acquire) == READ_ONLY
    }

    /// The newest leader epoch that wrote here.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        guard(&self.epochs).latest()
    }

    /// Where `epoch`, or the newest one before it, ended; `None` for one this log does not know of.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        guard(&self.epochs).end_of(epoch, self.log_end_offset())
    }

    /// Lets go of cached batches that are old, and of producers that have been idle too long.
    pub fn age(&self, now: Timestamp) {
        self.tail.age(now);
        let idle_ms_max = self.config().producer_id_expiration_ms;
        guard(&self.writer).producers.expire(now, idle_ms_max);
    }

    /// Where a producer's transaction stands here: to be had before its coordinator is asked, and given to the append.
    pub fn transaction_guard(&self, producer: ProducerId) -> TransactionGuard {
        guard(&self.writer).producers.guard(producer)
    }

    /// Whether no marker has come since the guard was taken.
    pub fn still_holds(&self, given: &TransactionGuard) -> bool {
        guard(&self.writer).producers.check_guard(given).is_ok()
    }

    /// What is known of each producer, by id.
    pub fn producers(&self) -> Vec<ProducerDescription> {
        guard(&self.writer).producers.described()
    }

    fn segments(&self) -> Arc<[Arc<Segment>]> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish_segments(&self, segments: Vec<Arc<Segment>>) {
        assert!(!segments.is_empty(), "a log has a segment to append to");
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = segments.into();
        self.dir_changed.store(true, Ordering::Release);
    }

    fn publish_first_unstable(&self, transactions: &Transactions) {
        let first = transactions
            .first_unstable()
            .map_or(ALL_STABLE, |offset| offset.0);
        self.first_unstable.store(first, Ordering::Release);
    }

    fn poison(&self, error: &dyn std::error::Error) {
        let _ = self
            .condition
            .compare_exchange(OPEN, READ_ONLY, Ordering::AcqRel, Ordering::Acquire);
        tracing::error!(partition = %self.topic_partition, %error, "the log is read-only from here on");
    }
}

/// Locks, also after a panic elsewhere: what each mutex guards is changed in one step, or the log is poisoned.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
