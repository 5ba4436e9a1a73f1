//! Brings stores up to their changelogs.
//!
//! A store knows, in the same atomic write as its rows, which changelog it follows and up to where. So restoring goes on
//! from there; only a store that cannot go on is emptied and read from the start, and the log says why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemill_client::{Event, Reader, Record, Start, TopicPartition, Transport, TransportError};
use tidemill_data::Timestamp;
use tidemill_store::{ChangelogPosition, TopicId};
use tidemill_streams::{RawRecord, Task, TaskId};

use crate::error::RunError;
use crate::live_task::{LiveTask, raw, task_error};

/// Records read at once; each batch is one write to the database.
const BATCH_RECORDS: usize = 10_000;

/// Progress of restoring one store of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreProgress {
    /// The task, as in the logs.
    pub task: String,
    /// The store.
    pub store: String,
    /// The changelog offset restoring began at.
    pub from: i64,
    /// The offset up to which it is done.
    pub at: i64,
    /// The offset up to which it has to be done.
    pub to: i64,
    /// Records written so far.
    pub records: u64,
}

impl RestoreProgress {
    /// Whether the store is complete.
    pub fn is_complete(&self) -> bool {
        self.at >= self.to
    }
}

/// Told when a store's restoring begins, after each batch, and when it is complete.
pub type RestoreListener = Arc<dyn Fn(&RestoreProgress) + Send + Sync>;

/// What has to be done to a store before its task may work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing.
    Current,
    /// Read on from here.
    Continue(i64),
    /// Empty it and read from the start.
    Rebuild(String),
}

/// The changelog partition as the cluster has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) topic_id: TopicId,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

pub(crate) fn decide(
    position: Option<ChangelogPosition>,
    extent: Extent,
    now: Timestamp,
    delete_retention: Duration,
) -> Decision {
    let Some(position) = position else {
        return if extent.start < extent.end {
            Decision::Continue(extent.start)
        } else {
            Decision::Current
        };
    };
    let unknown = TopicId::default();
    if position.topic_id != extent.topic_id && position.topic_id != unknown && extent.topic_id != unknown {
        return Decision::Rebuild("its changelog topic was deleted and made again".into());
    }
    if position.next_offset < extent.start || position.next_offset > extent.end {
        let (at, Extent { start, end, .. }) = (position.next_offset, extent);
        return Decision::Rebuild(format!(
            "it stands at offset {at}, and its changelog holds {start} to {end}"
        ));
    }
    if position.next_offset == extent.end {
        return Decision::Current;
    }
    // Tombstones are gone from the changelog after this time, so deletions may be missed.
    if position.committed_at.saturating_add(delete_retention) < now {
        return Decision::Rebuild("its last commit is older than `delete.retention.ms`".into());
    }
    Decision::Continue(position.next_offset)
}

/// One store being restored.
struct Restoring {
    task: TaskId,
    topic_id: TopicId,
    progress: RestoreProgress,
}

/// Restores the stores of a worker's tasks.
#[derive(Default)]
pub(crate) struct Restorer {
    reader: Option<Box<dyn Reader>>,
    open: BTreeMap<TopicPartition, Restoring>,
    listener: Option<RestoreListener>,
    events: Vec<Event>,
}

impl Restorer {
    pub(crate) fn new(listener: Option<RestoreListener>) -> Self {
        Self {
            listener,
            ..Self::default()
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.open.clear();
        self.reader = None;
    }

    pub(crate) fn is_restoring(&self, task: TaskId) -> bool {
        self.open.values().any(|restoring| restoring.task == task)
    }

    /// Looks at one store of a task.
    pub(crate) fn add(
        &mut self,
        task: &mut Task,
        changelog: &tidemill_streams::Changelog,
        extent: Extent,
        now: Timestamp,
        delete_retention: Duration,
    ) -> Result<(), RunError> {
        let id = task.id();
        let from = match decide(changelog.position, extent, now, delete_retention) {
            Decision::Current => return Ok(()),
            Decision::Continue(from) => from,
            Decision::Rebuild(reason) => {
                tracing::warn!("task {id}: store {} is rebuilt: {reason}", changelog.store);
                task.reset(&changelog.topic).map_err(|e| task_error(id, e))?;
                extent.start
            }
        };
        if from < extent.end {
            let (store, to) = (changelog.store.clone(), extent.end);
            let progress = RestoreProgress {
                task: id.to_string(),
                store,
                from,
                at: from,
                to,
                records: 0,
            };
            tracing::info!(
                "task {id}: restoring store {} from offset {from} to {to}",
                changelog.store
            );
            self.tell(&progress);
            let partition = TopicPartition::new(changelog.topic.as_str(), id.partition);
            self.open.insert(
                partition,
                Restoring {
                    task: id,
                    topic_id: extent.topic_id,
                    progress,
                },
            );
        }
        Ok(())
    }

    /// Begins to read what was added.
    pub(crate) fn begin(&mut self, transport: &dyn Transport, name: &str) -> Result<(), TransportError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(transport.reader(name)?),
        };
        let from = self
            .open
            .iter()
            .map(|(p, restoring)| (p.clone(), Start::At(restoring.progress.at)));
        reader.assign(&from.collect::<Vec<_>>())
    }

    /// Restores what arrives. Which tasks are complete, [`is_restoring`](Self::is_restoring) tells.
    pub(crate) fn step(
        &mut self,
        wait: Duration,
        now: Timestamp,
        tasks: &mut BTreeMap<TaskId, LiveTask>,
    ) -> Result<(), RunError> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        let mut events = std::mem::take(&mut self.events);
        reader.poll(BATCH_RECORDS, wait, &mut events)?;
        for event in events.drain(..) {
            match event {
                Event::Records(batch) => self.write(&batch.partition, batch.records, now, tasks)?,
                Event::CaughtUp { partition, end } => self.caught_up(&partition, end),
                Event::Assigned(_) | Event::Revoking(_) | Event::Lost(_) => {}
            }
        }
        self.events = events;
        if self.open.is_empty() {
            self.reader = None;
        }
        Ok(())
    }

    fn write(
        &mut self,
        partition: &TopicPartition,
        records: Vec<Record>,
        now: Timestamp,
        tasks: &mut BTreeMap<TaskId, LiveTask>,
    ) -> Result<(), RunError> {
        let Some(restoring) = self.open.get_mut(partition) else {
            return Ok(());
        };
        let Some(live) = tasks.get_mut(&restoring.task) else {
            return Ok(());
        };
        let records: Vec<RawRecord> = records.into_iter().map(raw).collect();
        let Some(last) = records.last() else { return Ok(()) };
        let next_offset = last.offset + 1;
        let position = ChangelogPosition {
            topic_id: restoring.topic_id,
            next_offset,
            committed_at: now,
        };
        live.task
            .restore(&partition.topic, &records, position)
            .map_err(|e| task_error(restoring.task, e))?;
        live.sent_to(&partition.topic, next_offset);
        restoring.progress.at = next_offset;
        restoring.progress.records += records.len() as u64;
        let progress = restoring.progress.clone();
        self.tell(&progress);
        self.close_if_complete(partition);
        Ok(())
    }

    /// The last offsets of a changelog may be markers of transactions, which are no records.
    fn caught_up(&mut self, partition: &TopicPartition, end: i64) {
        if let Some(restoring) = self.open.get_mut(partition) {
            restoring.progress.at = restoring.progress.at.max(end);
            let progress = restoring.progress.clone();
            self.tell(&progress);
        }
        self.close_if_complete(partition);
    }

    fn close_if_complete(&mut self, partition: &TopicPartition) {
        let complete = self
            .open
            .get(partition)
            .is_some_and(|restoring| restoring.progress.is_complete());
        if complete && let Some(Restoring { task, progress, .. }) = self.open.remove(partition) {
            tracing::info!(
                "task {task}: restored store {}, {} records",
                progress.store,
                progress.records
            );
        }
    }

    fn tell(&self, progress: &RestoreProgress) {
        if let Some(listener) = &self.listener {
            listener(progress);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const ID: TopicId = TopicId([1; 16]);

    fn at(next_offset: i64) -> Option<ChangelogPosition> {
        Some(ChangelogPosition {
            topic_id: ID,
            next_offset,
            committed_at: Timestamp::from_millis(0),
        })
    }

    fn decided(position: Option<ChangelogPosition>, start: i64, end: i64, now_ms: i64) -> Decision {
        decide(
            position,
            Extent {
                topic_id: ID,
                start,
                end,
            },
            Timestamp::from_millis(now_ms),
            DAY,
        )
    }

    #[test]
    fn a_store_goes_on_from_its_own_position() {
        assert_eq!(decided(at(5), 0, 9, 0), Decision::Continue(5));
        assert_eq!(decided(at(9), 0, 9, 0), Decision::Current);
        assert_eq!(decided(None, 3, 9, 0), Decision::Continue(3));
        assert_eq!(decided(None, 0, 0, 0), Decision::Current);
    }

    #[test]
    fn a_store_that_cannot_go_on_is_rebuilt_and_the_reason_said() {
        let reason = |decision| match decision {
            Decision::Rebuild(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            reason(decided(at(2), 3, 9, 0)),
            "it stands at offset 2, and its changelog holds 3 to 9"
        );
        assert!(reason(decided(at(10), 0, 9, 0)).contains("offset 10"));
        assert!(reason(decided(at(5), 0, 9, 86_400_001)).contains("delete.retention.ms"));
        let other = Extent {
            topic_id: TopicId([2; 16]),
            start: 0,
            end: 9,
        };
        assert!(reason(decide(at(5), other, Timestamp::from_millis(0), DAY)).contains("made again"));
    }

    #[test]
    fn an_old_store_that_misses_nothing_is_kept() {
        assert_eq!(decided(at(9), 0, 9, 86_400_001), Decision::Current);
    }
}
