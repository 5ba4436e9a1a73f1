//! Reads changelogs and writes stores, batch by batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemill_client::{Event, Reader, Record, Start, TopicPartition, Transport, TransportError};
use tidemill_data::Timestamp;
use tidemill_store::{ChangelogPosition, TopicId};
use tidemill_streams::{RawRecord, TaskId};

use super::decision::{Decision, decide};
use super::{Held, RestoreListener, RestoreProgress, RestoreStage, Unrestored, holds};
use crate::error::RunError;
use crate::live_task::{LiveTask, raw, task_error};

/// Records read at once; each batch is one write to the database.
const BATCH_RECORDS: usize = 10_000;

/// One store being restored.
struct Open {
    task: TaskId,
    topic_id: TopicId,
    progress: RestoreProgress,
}

/// Restores the stores of tasks.
pub(crate) struct Restorer {
    transport: Arc<dyn Transport>,
    name: String,
    listener: Option<RestoreListener>,
    reader: Option<Box<dyn Reader>>,
    tasks: BTreeMap<TaskId, LiveTask>,
    held: Held,
    open: BTreeMap<TopicPartition, Open>,
    events: Vec<Event>,
}

impl Restorer {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        name: String,
        listener: Option<RestoreListener>,
    ) -> Self {
        Self {
            transport,
            name,
            listener,
            reader: None,
            tasks: BTreeMap::new(),
            held: Held::new(),
            open: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(super) fn holds(&self, store: &str, only: Option<TaskId>) -> bool {
        holds(&self.held, store, only)
    }

    pub(crate) fn clear(&mut self) {
        for (_, mut open) in std::mem::take(&mut self.open) {
            open.progress.stage = RestoreStage::Suspended;
            self.tell(&open.progress);
        }
        self.tasks.clear();
        self.held.clear();
        self.reader = None;
    }

    /// Takes tasks, and gives those back that need nothing.
    pub(crate) fn add(&mut self, tasks: Vec<Unrestored>, now: Timestamp) -> Result<Vec<LiveTask>, RunError> {
        let mut complete = Vec::new();
        for unrestored in tasks {
            complete.extend(self.add_one(unrestored, now)?);
        }
        if !self.open.is_empty() {
            self.assign()?;
        }
        Ok(complete)
    }

    fn add_one(&mut self, unrestored: Unrestored, now: Timestamp) -> Result<Option<LiveTask>, RunError> {
        let Unrestored {
            mut live,
            changelogs,
            delete_retention,
        } = unrestored;
        let id = live.id();
        let mut stores = Vec::new();
        for (changelog, extent) in changelogs {
            let from = match decide(changelog.position, extent, now, delete_retention) {
                Decision::Current => continue,
                Decision::Continue(from) => from,
                Decision::Rebuild(reason) => {
                    tracing::warn!("task {id}: store {} is rebuilt: {reason}", changelog.store);
                    live.task.reset(&changelog.topic).map_err(|e| task_error(id, e))?;
                    live.restart_at(&changelog.topic, extent.start);
                    extent.start
                }
            };
            if from >= extent.end {
                continue;
            }
            stores.push(changelog.store.clone());
            let (store, to) = (changelog.store, extent.end);
            tracing::info!("task {id}: restoring store {store} from offset {from} to {to}");
            let progress = RestoreProgress {
                task: id.to_string(),
                store,
                stage: RestoreStage::Began,
                from,
                at: from,
                to,
                records: 0,
                began: now,
                time_left: None,
            };
            self.tell(&progress);
            let open = Open {
                task: id,
                topic_id: extent.topic_id,
                progress,
            };
            self.open
                .insert(TopicPartition::new(changelog.topic, id.partition), open);
        }
        if stores.is_empty() {
            return Ok(Some(live));
        }
        self.tasks.insert(id, live);
        self.held.insert(id, stores);
        Ok(None)
    }

    fn assign(&mut self) -> Result<(), TransportError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(self.transport.reader(&self.name)?),
        };
        let from = self
            .open
            .iter()
            .map(|(p, open)| (p.clone(), Start::At(open.progress.at)));
        reader.assign(&from.collect::<Vec<_>>())
    }

    /// Restores what arrives within `wait`, and gives the tasks that are complete.
    pub(crate) fn step(&mut self, wait: Duration, now: Timestamp) -> Result<Vec<LiveTask>, RunError> {
        let mut events = std::mem::take(&mut self.events);
        if let Some(reader) = &mut self.reader {
            reader.poll(BATCH_RECORDS, wait, &mut events)?;
        }
        for event in events.drain(..) {
            match event {
                Event::Records(batch) => self.write(&batch.partition, batch.records, now)?,
                Event::CaughtUp { partition, end } => self.caught_up(&partition, end, now),
                Event::Assigned(_) | Event::Revoking(_) | Event::Lost(_) => {}
            }
        }
        self.events = events;
        if self.open.is_empty() {
            self.reader = None;
        }
        Ok(self.take_complete())
    }

    fn take_complete(&mut self) -> Vec<LiveTask> {
        let open: Vec<TaskId> = self.open.values().map(|open| open.task).collect();
        let complete = self.tasks.extract_if(.., |id, _| !open.contains(id));
        let complete: Vec<LiveTask> = complete.map(|(_, live)| live).collect();
        self.held.retain(|id, _| open.contains(id));
        complete
    }

    fn write(
        &mut self,
        partition: &TopicPartition,
        records: Vec<Record>,
        now: Timestamp,
    ) -> Result<(), RunError> {
        let Some(open) = self.open.get_mut(partition) else {
            return Ok(());
        };
        let Some(live) = self.tasks.get_mut(&open.task) else {
            return Ok(());
        };
        let Some(last) = records.last() else { return Ok(()) };
        // An input goes on after what the store is to have of it.
        let next_offset = (last.offset + 1).min(open.progress.to);
        let to = open.progress.to;
        let wanted = records.into_iter().filter(|record| record.offset < to);
        let records: Vec<RawRecord> = wanted.map(raw).collect();
        let position = ChangelogPosition {
            topic_id: open.topic_id,
            next_offset,
            committed_at: now,
        };
        live.task
            .restore(&partition.topic, &records, position)
            .map_err(|e| task_error(open.task, e))?;
        live.sent_to(&partition.topic, next_offset);
        open.progress.records += records.len() as u64;
        open.progress.reached(next_offset, now);
        open.progress.stage = RestoreStage::Batch;
        let batch = open.progress.clone();
        self.tell(&batch);
        self.close_if_complete(partition);
        Ok(())
    }

    /// The last offsets of a changelog may be markers of transactions, which are no records.
    fn caught_up(&mut self, partition: &TopicPartition, end: i64, now: Timestamp) {
        if let Some(open) = self.open.get_mut(partition) {
            open.progress.reached(end, now);
            if let Some(live) = self.tasks.get_mut(&open.task) {
                live.sent_to(&partition.topic, end.min(open.progress.to));
            }
        }
        self.close_if_complete(partition);
    }

    fn close_if_complete(&mut self, partition: &TopicPartition) {
        let mut complete = self
            .open
            .extract_if(.., |at, open| at == partition && open.progress.remaining() == 0);
        let Some((_, Open { mut progress, .. })) = complete.next() else {
            return;
        };
        drop(complete);
        progress.stage = RestoreStage::Completed;
        let RestoreProgress {
            task, store, records, ..
        } = &progress;
        tracing::info!("task {task}: restored store {store}, {records} records");
        self.tell(&progress);
    }

    fn tell(&self, progress: &RestoreProgress) {
        if let Some(listener) = &self.listener {
            listener(progress);
        }
    }
}
