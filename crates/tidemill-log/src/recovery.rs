//! Opening what is on disk: which segments there are, which of them to look at, what to cut, and what to rebuild.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tidemill_protocol::batch::BatchError;

use crate::compaction::swap;
use crate::config::LogConfig;
use crate::damage::{self, Damage};
use crate::disk::{self, DirEntry, Disk, DiskError};
use crate::index::Index;
use crate::leader_epochs::LeaderEpochs;
use crate::log::{OpenOptions, Shutdown};
use crate::producer_state::ProducerState;
use crate::segment::{self, Active, Found, Segment, Tail};
use crate::transactions::Transactions;
use crate::types::{Offset, Timestamp};

mod replay;
mod verify;

use verify::{Checking, Verified};

/// What opening a log found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// The torn tail that was cut off the last segment.
    pub truncated: Option<Truncated>,
    /// Damaged ranges before the tail. They stay where they are, and are never served.
    pub damaged: Vec<DamagedSegment>,
    /// How many segments were checked batch by batch.
    pub checked_segments: usize,
}

impl RecoveryReport {
    /// Whether nothing had to be cut and nothing is lost.
    pub fn is_clean(&self) -> bool {
        self.truncated.is_none() && self.damaged.is_empty()
    }
}

/// A torn tail that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncated {
    /// The first offset that is not in the log any more.
    pub offset: Offset,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// What was wrong there.
    pub fault: Fault,
}

/// A damage and the segment it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedSegment {
    /// Where the segment starts.
    pub base_offset: Offset,
    /// What of it is damaged.
    pub damage: Damage,
}

/// What is wrong at a position of a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are no whole batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The batch does not follow the one before it.
    #[error("base offset {got}, expected {expected} or later")]
    Order {
        /// The least that could follow.
        expected: Offset,
        /// What the batch says.
        got: Offset,
    },
}

/// A log's parts, ready for use.
pub(crate) struct Loaded {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) active: Active,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) producers: ProducerState,
    pub(crate) transactions: Transactions,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) report: RecoveryReport,
    /// Whether names in the directory changed.
    pub(crate) changed_names: bool,
}

/// The files of a partition's directory by base offset: lengths by suffix.
type Files = BTreeMap<Offset, BTreeMap<String, u64>>;

/// What all steps need.
struct Context<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Arc<Path>,
    options: &'a OpenOptions,
    config: &'a LogConfig,
}

/// Opens the log in `dir`.
pub(crate) fn load(
    disk: &Arc<dyn Disk>,
    dir: &Arc<Path>,
    options: &OpenOptions,
    config: &LogConfig,
    now: Timestamp,
) -> Result<Loaded, DiskError> {
    let mut names = list_or_create(&**disk, dir)?;
    let interrupted = swap::recover(&**disk, dir, &names)?;
    if interrupted {
        names = disk.list(dir)?;
    }
    let context = Context {
        disk,
        dir,
        options,
        config,
    };
    let mut files = context.files(names)?;
    context.remove_orphans(&mut files)?;
    let mut report = RecoveryReport::default();
    let (mut segments, mut tail, mut log_end) = context.open_segments(&files, &mut report)?;
    // What was checked got new index files, and a damage may have got its own.
    let mut changed_names = interrupted || report.checked_segments > 0;
    if segments.is_empty() || log_end < options.log_start {
        changed_names = true;
        // Nothing is left of what readers could see: begin where they expect the log to be.
        segments.iter().try_for_each(|segment| segment.remove_files())?;
        log_end = options.log_start;
        segments = vec![Arc::new(Segment::create(disk, dir, log_end)?)];
        tail = Tail {
            max_timestamp_offset: log_end,
            ..Tail::default()
        };
    }
    let (first, last) = segments
        .first()
        .zip(segments.last())
        .expect("there is at least the one made above");
    let log_start = options.log_start.max(first.base_offset());
    let mut epochs = LeaderEpochs::open(disk, dir.join(LeaderEpochs::FILE))?;
    epochs.truncate_to(log_end)?;
    let (producers, transactions) = replay::rebuild(&context, &files, &segments, log_end, &mut epochs)?;
    let active = Active::new(Arc::clone(last), now, tail)?;
    Ok(Loaded {
        active,
        segments,
        log_start,
        log_end,
        producers,
        transactions,
        epochs,
        report,
        changed_names,
    })
}

/// What is in `dir`, which is made if it is not there.
fn list_or_create(disk: &dyn Disk, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
    match disk.list(dir) {
        Err(error) if error.is_not_found() => {
            disk.create_dir(dir)?;
            Ok(Vec::new())
        }
        listed => listed,
    }
}

impl Context<'_> {
    fn files(&self, names: Vec<DirEntry>) -> Result<Files, DiskError> {
        let mut files = Files::new();
        for entry in names {
            let DirEntry::File { name, len } = entry else {
                continue;
            };
            if name.ends_with(disk::BESIDE) {
                self.disk.remove(&self.dir.join(&name))?;
                continue;
            }
            let Some((base, suffix)) = name.split_once('.') else {
                continue;
            };
            let digits = base.len() == 20 && base.bytes().all(|b| b.is_ascii_digit());
            let Some(base) = digits.then(|| base.parse().ok()).flatten() else {
                continue;
            };
            files
                .entry(Offset(base))
                .or_default()
                .insert(suffix.to_owned(), len);
        }
        Ok(files)
    }

    /// Removes what a crash left of deleted segments.
    fn remove_orphans(&self, files: &mut Files) -> Result<(), DiskError> {
        let without_data = files
            .iter_mut()
            .filter(|(_, suffixes)| !suffixes.contains_key(segment::LOG));
        for (base, suffixes) in without_data {
            for suffix in [
                segment::INDEX,
                segment::TIME_INDEX,
                segment::TXN_INDEX,
                segment::DAMAGED,
            ] {
                if suffixes.remove(suffix).is_some() {
                    self.disk.remove(&segment::file_path(self.dir, *base, suffix))?;
                }
            }
        }
        Ok(())
    }

    /// The segments, what the last one tells its writer, and the log's end.
    fn open_segments(
        &self,
        files: &Files,
        report: &mut RecoveryReport,
    ) -> Result<(Vec<Arc<Segment>>, Tail, Offset), DiskError> {
        let with_data: Vec<_> = files
            .iter()
            .filter(|(_, s)| s.contains_key(segment::LOG))
            .collect();
        let mut segments = Vec::with_capacity(with_data.len());
        let mut tail = Tail::default();
        let mut log_end = Offset(0);
        let nexts = with_data
            .iter()
            .skip(1)
            .map(|(base, _)| Some(**base))
            .chain([None]);
        for ((base, suffixes), next_base) in with_data.iter().zip(nexts) {
            let durable = next_base.is_some_and(|next| next <= self.options.recovery_point);
            let trusted = durable || self.options.shutdown == Shutdown::Clean;
            let opened = match trusted {
                true => self.trust(**base, suffixes, next_base)?,
                false => None,
            };
            let (found, its_tail, its_end) = match opened {
                Some(opened) => opened,
                None => {
                    report.checked_segments += 1;
                    self.check(**base, suffixes, next_base, report)?
                }
            };
            (tail, log_end) = (its_tail, its_end);
            segments.push(Arc::new(Segment::found(self.disk, self.dir, found)));
        }
        Ok((segments, tail, log_end))
    }

    /// Takes a segment as it is; `None` when something about it cannot be right, so that it must be checked.
    fn trust(
        &self,
        base: Offset,
        suffixes: &BTreeMap<String, u64>,
        next_base: Option<Offset>,
    ) -> Result<Option<(Found, Tail, Offset)>, DiskError> {
        let len = |suffix: &str| suffixes.get(suffix).copied();
        let path = |suffix: &str| segment::file_path(self.dir, base, suffix);
        let (Some(size), Some(index), Some(times)) =
            (len(segment::LOG), len(segment::INDEX), len(segment::TIME_INDEX))
        else {
            return Ok(None);
        };
        let offsets = Index::in_file(path(segment::INDEX), index);
        let times = Index::in_file(path(segment::TIME_INDEX), times);
        let (Some(offsets), Some(times)) = (offsets, times) else {
            return Ok(None);
        };
        let damages = match suffixes.contains_key(segment::DAMAGED) {
            true => damage::load(&**self.disk, &path(segment::DAMAGED))?,
            false => Some(Vec::new()),
        };
        let Some(damages) = damages else { return Ok(None) };
        let mut found = Found {
            base_offset: base,
            size,
            max_timestamp: None,
            offsets,
            times,
            damages,
        };
        match next_base {
            Some(next_base) => Ok(Some((found, Tail::default(), next_base))),
            None => Ok(verify::trusted_tail(&**self.disk, self.dir, &mut found)?
                .map(|(tail, log_end)| (found, tail, log_end))),
        }
    }

    /// Looks at every batch of a segment, cuts a torn tail, rebuilds the indexes, and reports what is lost.
    fn check(
        &self,
        base: Offset,
        suffixes: &BTreeMap<String, u64>,
        next_base: Option<Offset>,
        report: &mut RecoveryReport,
    ) -> Result<(Found, Tail, Offset), DiskError> {
        let path = |suffix: &str| segment::file_path(self.dir, base, suffix);
        let data = self.disk.open(&path(segment::LOG))?;
        let len = suffixes.get(segment::LOG).copied().unwrap_or(0);
        let checking = Checking {
            base,
            len,
            next_base,
            durable: self.options.recovery_point,
            index_interval_bytes: self.config.index_interval_bytes,
            may_have_gaps: self.config.cleanup_policy.compacts() || base < self.options.compacted_to,
        };
        let verified: Verified = verify::verify(&*data, &checking)?;
        if let Some(fault) = verified.torn {
            data.truncate(verified.size)?;
            let truncated = Truncated {
                offset: verified.next_offset,
                bytes: len - verified.size,
                fault,
            };
            tracing::warn!(segment = %path(segment::LOG).display(), ?truncated, "cut a torn tail");
            report.truncated = Some(truncated);
        }
        for damage in &verified.damages {
            tracing::error!(segment = %path(segment::LOG).display(), ?damage, "damaged, not served");
            report.damaged.push(DamagedSegment {
                base_offset: base,
                damage: *damage,
            });
        }
        if suffixes.contains_key(segment::DAMAGED) || !verified.damages.is_empty() {
            damage::store(&**self.disk, &path(segment::DAMAGED), &verified.damages)?;
        }
        let mut offsets = Index::rebuilt(&**self.disk, path(segment::INDEX), verified.offsets)?;
        let mut times = Index::rebuilt(&**self.disk, path(segment::TIME_INDEX), verified.times)?;
        if next_base.is_some() {
            offsets.seal(&**self.disk)?;
            times.seal(&**self.disk)?;
        }
        let found = Found {
            base_offset: base,
            size: verified.size,
            max_timestamp: Some(verified.max_timestamp),
            offsets,
            times,
            damages: verified.damages,
        };
        Ok((found, verified.tail, verified.next_offset))
    }
}
