//! The log directories of a broker: which partitions there are, where new ones go, and what is kept beside them.
//!
//! ```text
//! <log dir>/.lock                            held while the broker runs
//!           .kafka_cleanshutdown             there after a clean stop, gone while the broker runs
//!           meta.properties                  whose directory this is
//!           recovery-point-offset-checkpoint, log-start-offset-checkpoint, cleaner-offset-checkpoint
//!           <topic>-<partition>/             a log
//!           <topic>-<partition>.<id>-delete/ a log on its way out
//!           <topic>-<partition>.<n>-future/ a log on its way here from another log directory
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use uuid::Uuid;

use crate::checkpoint::{self, COMPACTED, LOG_STARTS, RECOVERY_POINTS};
use crate::config::LogConfig;
use crate::disk::{self, DirEntry, Disk, DiskError, FileLock};
use crate::log::{FlushError, Log, OpenError, OpenOptions, Shutdown};
use crate::partition_metadata;
use crate::recovery::RecoveryReport;
use crate::tail_cache::TailBudget;
use crate::types::{Offset, Timestamp, TopicPartition};

mod compact;
mod meta_properties;
mod parallel;
mod relocations;

#[cfg(test)]
mod tests;

use meta_properties::MetaProperties;
use relocations::Relocations;
pub use relocations::{Relocated, RelocationPace, RelocationRefused, RelocationUnderWay};

const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const DELETED: &str = "-delete";
const FUTURE: &str = "-future";

/// The longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// How many logs are synced at once when all are closed: syncs that run together share the file system's commits.
const CLOSING_THREADS: usize = 16;

/// What a broker's log directories have in common.
#[derive(Debug, Clone)]
pub struct LogDirsOptions {
    /// `log.dirs`.
    pub dirs: Vec<PathBuf>,
    /// `broker.id`: a directory of another broker is refused.
    pub node_id: i32,
    /// The cluster's id if the directories are new; else the one they have stands.
    pub new_cluster_id: String,
    /// What the tails of all logs may hold in memory.
    pub tail_cache_bytes: usize,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads_per_dir: usize,
}

/// A partition and what opening it found.
pub type Recovered = (TopicPartition, RecoveryReport);

/// All logs of a broker.
#[derive(Debug)]
pub struct LogDirs {
    disk: Arc<dyn Disk>,
    dirs: Vec<LogDir>,
    cluster_id: String,
    tail_budget: Arc<TailBudget>,
    // Guards the map only; never held across I/O.
    logs: RwLock<HashMap<TopicPartition, Arc<Log>>>,
    // How many partitions each directory has. Held for making, deleting and checkpointing as a whole: two of them at
    // once would choose, or write down, the wrong partitions.
    populations: Mutex<Vec<usize>>,
    // Guards the set of logs that are compacted right now, each by one thread.
    compacting: Mutex<HashSet<TopicPartition>>,
    // Guards the list of moves that are wanted or under way; never held across a copy.
    relocations: Mutex<Relocations>,
    // Guards the list of directories whose logs are deleted, renamed already, and still take room.
    leftovers: Mutex<Vec<PathBuf>>,
}

#[derive(Debug)]
struct LogDir {
    path: PathBuf,
    // Held for its drop.
    _lock: Box<dyn FileLock>,
}

/// A partition found in a directory, and how to open it.
struct Present {
    options: OpenOptions,
    config: LogConfig,
}

impl LogDirs {
    /// Opens the directories, making those that are missing, and all partitions in them. `config_of` tells each
    /// partition's settings. After a clean stop hardly anything is read; else each log is checked from its recovery
    /// point on, and the reports say what was found.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: LogDirsOptions,
        config_of: &dyn Fn(&TopicPartition) -> LogConfig,
        now: Timestamp,
    ) -> Result<(Self, Vec<Recovered>), OpenError> {
        let tail_budget = Arc::new(TailBudget::new(options.tail_cache_bytes));
        let (dirs, cluster_id) = claim(&*disk, &options)?;
        let mut present: BTreeMap<TopicPartition, Present> = BTreeMap::new();
        let mut interrupted = Vec::new();
        for dir in &dirs {
            let found = partitions_in(&*disk, &dir.path, &tail_budget)?;
            interrupted.extend(
                found
                    .arriving
                    .into_iter()
                    .map(|partition| (partition, dir.path.clone())),
            );
            for found in found.partitions {
                let partition = found.topic_partition.clone();
                let found = match present.remove(&partition) {
                    Some(first) => relocations::resolve(&*disk, first.options, found)?,
                    None => found,
                };
                let config = config_of(&partition);
                let options = found;
                present.insert(partition, Present { options, config });
            }
        }
        let threads = options.recovery_threads_per_dir.max(1) * dirs.len();
        let opened = parallel::map(
            threads,
            present.into_values().collect(),
            |Present { options, config }| Log::open(Arc::clone(&disk), options, config, now),
        );
        let mut logs = HashMap::new();
        let mut reports = Vec::new();
        for result in opened {
            let (log, report) = result?;
            reports.push((log.topic_partition().clone(), report));
            logs.insert(log.topic_partition().clone(), Arc::new(log));
        }
        let population = |dir: &LogDir| logs.values().filter(|log| lies_in(log, &dir.path)).count();
        let populations = dirs.iter().map(population).collect();
        let logs = RwLock::new(logs);
        let this = Self {
            disk,
            dirs,
            cluster_id,
            tail_budget,
            logs,
            populations: Mutex::new(populations),
            compacting: Mutex::default(),
            relocations: Mutex::default(),
            leftovers: Mutex::default(),
        };
        this.resume_relocations(interrupted)?;
        Ok((this, reports))
    }

    /// The id of the cluster that the directories belong to.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The directories, in the order they were given.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.dirs.iter().map(|dir| dir.path.as_path())
    }

    /// The log of a partition.
    pub fn log(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        self.logs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(partition)
            .cloned()
    }

    /// All logs, in no order.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.logs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Makes a partition, in the directory that has the fewest.
    pub fn create(
        &self,
        partition: TopicPartition,
        topic_id: Uuid,
        config: LogConfig,
        now: Timestamp,
    ) -> Result<Arc<Log>, OpenError> {
        let mut populations = self.populations();
        if self.log(&partition).is_some() {
            return Err(OpenError::Exists(partition));
        }
        let fewest = self
            .dirs
            .iter()
            .zip(populations.iter_mut())
            .min_by_key(|(_, population)| **population);
        let (parent, population) = fewest.expect("there is a directory, or opening had failed");
        let dir = parent.path.join(partition.to_string());
        self.clear_the_way(&dir, &partition)?;
        self.disk.create_dir(&dir)?;
        let tail_budget = Arc::clone(&self.tail_budget);
        let options = OpenOptions {
            tail_budget,
            ..OpenOptions::new(&dir, partition.clone())
        };
        let opened = partition_metadata::write(&*self.disk, &dir, topic_id)
            .map_err(OpenError::from)
            .and_then(|()| Log::open(Arc::clone(&self.disk), options, config, now));
        let log = match opened {
            Ok((log, _)) => Arc::new(log),
            Err(error) => {
                // A directory without the topic's id would be taken for a partition that is only unknown.
                if let Err(left) = self.clear_the_way(&dir, &partition) {
                    tracing::error!(%partition, error = %left, "half a partition is left behind");
                }
                return Err(error);
            }
        };
        self.logs
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(partition, Arc::clone(&log));
        *population += 1;
        Ok(log)
    }

    /// Deletes partitions; those that do not exist are passed over. Their room is free after the next `tick`, or
    /// after the next start.
    pub fn delete(&self, partitions: &[TopicPartition]) -> Result<(), DiskError> {
        let mut populations = self.populations();
        let gone: Vec<Arc<Log>> = {
            let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
            partitions
                .iter()
                .filter_map(|partition| logs.remove(partition))
                .collect()
        };
        self.forget_relocations(partitions);
        // A later partition of the same name must not find the offsets of this one.
        self.write_checkpoints()?;
        for log in gone {
            log.abandon();
            let dir = log.dir();
            let population = self.dir_of(&dir).and_then(|at| populations.get_mut(at));
            population
                .into_iter()
                .for_each(|population| *population = population.saturating_sub(1));
            let id = log.topic_id().unwrap_or_default().simple().to_string();
            let aside = dir.with_file_name(beside(log.topic_partition(), &id, DELETED));
            self.disk.rename(&dir, &aside)?;
            self.leftovers().push(aside);
        }
        Ok(())
    }

    /// Writes recovery points and log starts, so that a crash costs less checking and deleted records stay deleted.
    pub fn checkpoint(&self) -> Result<(), DiskError> {
        let _populations = self.populations();
        self.write_checkpoints()
    }

    /// Does what is due: `flush.ms`, letting go of cached batches and idle producers, removing deleted logs.
    pub fn tick(&self, now: Timestamp) {
        self.remove_leftovers();
        for log in self.logs() {
            if let Err(error) = log.flush_if_due(now) {
                tracing::error!(partition = %log.topic_partition(), %error, "cannot flush");
            }
            log.age(now);
        }
    }

    /// Deletes what retention no longer keeps; returns how many segments.
    pub fn enforce_retention(&self, now: Timestamp) -> usize {
        let mut removed = 0;
        for log in self.logs() {
            match log.enforce_retention(now) {
                Ok(segments) => removed += segments,
                Err(error) => tracing::error!(partition = %log.topic_partition(), %error, "cannot delete"),
            }
        }
        removed
    }

    /// Closes all logs and marks the directories clean, as far as every log in them could be closed.
    pub fn close(&self) -> Result<(), FlushError> {
        let _populations = self.populations();
        self.remove_leftovers();
        let closed = parallel::map(CLOSING_THREADS, self.logs(), |log| (log.close(), log));
        self.write_checkpoints()?;
        let mut first_error = None;
        let mut failed_in = Vec::new();
        for (result, log) in closed {
            if let Err(error) = result {
                tracing::error!(partition = %log.topic_partition(), %error, "cannot close cleanly");
                failed_in.extend(log.dir().parent().map(Path::to_owned));
                first_error.get_or_insert(error);
            }
        }
        for dir in self.dirs.iter().filter(|dir| !failed_in.contains(&dir.path)) {
            disk::replace(
                &*self.disk,
                &dir.path.join(CLEAN_SHUTDOWN),
                b"{\"version\":0,\"brokerEpoch\":-1}",
            )?;
        }
        first_error.map_or(Ok(()), Err)
    }

    fn remove_leftovers(&self) {
        let leftovers = std::mem::take(&mut *self.leftovers());
        for dir in leftovers {
            if let Err(error) = self.disk.remove_dir(&dir) {
                tracing::error!(%error, "cannot remove a deleted log; the next start tries again");
            }
        }
    }

    fn leftovers(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_checkpoints(&self) -> Result<(), DiskError> {
        let logs = self.logs();
        self.dirs.iter().try_for_each(|dir| {
            let here: Vec<_> = logs.iter().filter(|log| lies_in(log, &dir.path)).collect();
            self.write_checkpoints_of(dir, &here)
        })
    }

    /// Writes the checkpoints of one directory, for the logs that are there or about to be.
    fn write_checkpoints_of(&self, dir: &LogDir, here: &[&Arc<Log>]) -> Result<(), DiskError> {
        let logs = || here.iter().map(|log| (log.topic_partition().clone(), log));
        let points = logs().map(|(name, log)| (name, log.recovery_point())).collect();
        checkpoint::write_offsets(&*self.disk, &dir.path.join(RECOVERY_POINTS), &points)?;
        let starts = logs()
            .map(|(name, log)| (name, log.log_start_offset()))
            .filter(|(_, start)| *start > Offset(0))
            .collect();
        checkpoint::write_offsets(&*self.disk, &dir.path.join(LOG_STARTS), &starts)?;
        self.write_compacted(dir, here)
    }

    fn write_compacted(&self, dir: &LogDir, here: &[&Arc<Log>]) -> Result<(), DiskError> {
        let compacted: BTreeMap<_, _> = here
            .iter()
            .map(|log| (log.topic_partition().clone(), log.compacted_to()))
            .filter(|(_, to)| *to > Offset(0))
            .collect();
        let path = dir.path.join(COMPACTED);
        // Most brokers compact nothing, and need no such file.
        if compacted.is_empty() && self.disk.open(&path).is_err() {
            return Ok(());
        }
        checkpoint::write_offsets(&*self.disk, &path, &compacted)
    }

    /// The directory that a log lies in, by its place in the list.
    fn dir_of(&self, log_dir: &Path) -> Option<usize> {
        self.dirs
            .iter()
            .position(|dir| log_dir.parent() == Some(&dir.path))
    }

    fn populations(&self) -> MutexGuard<'_, Vec<usize>> {
        self.populations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a log lies in the log directory `dir`.
fn lies_in(log: &Log, dir: &Path) -> bool {
    log.dir().parent() == Some(dir)
}

/// The name of a directory beside a partition's: `<topic>-<partition>.<id><suffix>`, the topic cut short where a file
/// system would not take the name.
fn beside(partition: &TopicPartition, id: &str, suffix: &str) -> String {
    let mut name = partition.to_string();
    // Names of topics are ASCII; another one on disk is left as it is.
    let room = NAME_BYTES_MAX.saturating_sub(id.len() + suffix.len() + 1);
    if name.is_char_boundary(room) {
        name.truncate(room);
    }
    format!("{name}.{id}{suffix}")
}

/// Locks the directories and checks whose they are.
fn claim(disk: &dyn Disk, options: &LogDirsOptions) -> Result<(Vec<LogDir>, String), OpenError> {
    let mut dirs = Vec::with_capacity(options.dirs.len());
    let mut known: Option<String> = None;
    let mut new = Vec::new();
    for path in &options.dirs {
        disk.create_dir(path)?;
        let in_use = |error: DiskError| match error.source.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::InUse(path.clone()),
            _ => error.into(),
        };
        let lock = disk.lock(&path.join(LOCK)).map_err(in_use)?;
        dirs.push(LogDir {
            path: path.clone(),
            _lock: lock,
        });
        match MetaProperties::read(disk, path)? {
            None => new.push(path),
            Some(meta) => {
                let expected = known.get_or_insert_with(|| meta.cluster_id.clone());
                meta.check(path, options.node_id, expected)?;
            }
        }
    }
    if dirs.is_empty() {
        return Err(OpenError::NoDirectory);
    }
    let cluster_id = known.unwrap_or_else(|| options.new_cluster_id.clone());
    for path in new {
        MetaProperties {
            node_id: options.node_id,
            cluster_id: cluster_id.clone(),
        }
        .write(disk, path)?;
    }
    Ok((dirs, cluster_id))
}

/// What a log directory has.
struct InDir {
    partitions: Vec<OpenOptions>,
    // What was on its way here from another directory.
    arriving: Vec<TopicPartition>,
}

/// The partitions in a directory. What was on its way out is removed; so is the mark of a clean stop.
fn partitions_in(disk: &dyn Disk, dir: &Path, tail_budget: &Arc<TailBudget>) -> Result<InDir, DiskError> {
    let points = checkpoint::read_offsets(disk, &dir.join(RECOVERY_POINTS))?;
    let starts = checkpoint::read_offsets(disk, &dir.join(LOG_STARTS))?;
    let compacted = checkpoint::read_offsets(disk, &dir.join(COMPACTED))?;
    let shutdown = match disk.remove(&dir.join(CLEAN_SHUTDOWN)) {
        Ok(()) => {
            // Before anything is written: a crash must not bring the mark back.
            disk.sync_dir(dir)?;
            Shutdown::Clean
        }
        Err(error) if error.is_not_found() => Shutdown::Unclean,
        Err(error) => return Err(error),
    };
    let (mut partitions, mut arriving) = (Vec::new(), Vec::new());
    for entry in disk.list(dir)? {
        let DirEntry::Dir { name } = entry else { continue };
        if name.ends_with(DELETED) || name.ends_with(FUTURE) {
            disk.remove_dir(&dir.join(&name))?;
            arriving.extend(relocations::partition_of(&name));
            continue;
        }
        let Some(topic_partition) = TopicPartition::from_dir_name(&name) else {
            continue;
        };
        let offset =
            |from: &BTreeMap<TopicPartition, Offset>| from.get(&topic_partition).copied().unwrap_or_default();
        partitions.push(OpenOptions {
            dir: dir.join(&name),
            shutdown,
            recovery_point: offset(&points),
            log_start: offset(&starts),
            compacted_to: offset(&compacted),
            tail_budget: Arc::clone(tail_budget),
            topic_partition,
        });
    }
    Ok(InDir { partitions, arriving })
}
