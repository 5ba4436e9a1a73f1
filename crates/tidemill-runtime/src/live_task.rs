//! A task at work in a worker: its inputs, what of them it has seen the end of, and its changelogs' positions.

use std::collections::BTreeMap;

use std::time::Duration;

use tidemill_client::{Record, TopicPartition};
use tidemill_data::Timestamp;
use tidemill_store::{ChangelogPosition, TopicId};
use tidemill_streams::{OutputTopic, Outputs, RawRecord, Task, TaskError, TaskId};

use crate::error::RunError;
use crate::query::Position;

pub(crate) struct LiveTask {
    pub(crate) task: Task,
    pub(crate) inputs: Vec<Input>,
    pub(crate) changelogs: Vec<Changelog>,
    pub(crate) held: Held,
    // Since when an input has been empty while others wait.
    idle_since: Option<Timestamp>,
}

pub(crate) struct Input {
    pub(crate) partition: TopicPartition,
    // Everything there was when last heard has been handed to the task.
    pub(crate) caught_up: bool,
    pub(crate) paused: bool,
    // The offset after the last record handed to the task.
    received: Option<i64>,
}

pub(crate) struct Changelog {
    topic: String,
    topic_id: TopicId,
    written_by: WrittenBy,
    // Of the task's own: an offset at or before the end of what this task has written: only the task writes here, so it
    // counts along. A position too low costs a few records read again, never a wrong row. Of an input: what is committed.
    next_offset: i64,
}

/// Whose records a changelog has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrittenBy {
    /// This task's.
    Task,
    /// Others': it is an input of the task, which fills a store straight from it.
    Others,
}

impl LiveTask {
    pub(crate) fn new(task: Task, inputs: Vec<TopicPartition>) -> Self {
        let input = |partition| Input {
            partition,
            caught_up: false,
            paused: true,
            received: None,
        };
        Self {
            task,
            inputs: inputs.into_iter().map(input).collect(),
            changelogs: Vec::new(),
            held: Held::default(),
            idle_since: None,
        }
    }

    pub(crate) fn id(&self) -> TaskId {
        self.task.id()
    }

    pub(crate) fn follow(&mut self, topic: &str, topic_id: TopicId, written_by: WrittenBy, next_offset: i64) {
        self.changelogs.push(Changelog {
            topic: topic.to_owned(),
            topic_id,
            written_by,
            next_offset,
        });
    }

    /// The partitions of the changelogs that it writes.
    pub(crate) fn changelog_partitions(&self) -> Vec<TopicPartition> {
        let partition = self.id().partition;
        let own = |changelog: &&Changelog| changelog.written_by == WrittenBy::Task;
        let at = |changelog: &Changelog| TopicPartition::new(changelog.topic.as_str(), partition);
        self.changelogs.iter().filter(own).map(at).collect()
    }

    /// Notes that an input is committed up to here.
    pub(crate) fn consumed_to(&mut self, topic: &str, next_offset: i64) {
        let filling = |c: &&mut Changelog| c.topic == topic && c.written_by == WrittenBy::Others;
        if let Some(changelog) = self.changelogs.iter_mut().find(filling) {
            changelog.next_offset = next_offset;
        }
    }

    /// Notes that the changelog is at this offset.
    pub(crate) fn sent_to(&mut self, topic: &str, next_offset: i64) {
        if let Some(changelog) = self.changelogs.iter_mut().find(|c| c.topic == topic) {
            changelog.next_offset = changelog.next_offset.max(next_offset);
        }
    }

    /// Notes that the changelog is read from here again.
    pub(crate) fn restart_at(&mut self, topic: &str, offset: i64) {
        if let Some(changelog) = self.changelogs.iter_mut().find(|c| c.topic == topic) {
            changelog.next_offset = offset;
        }
    }

    pub(crate) fn positions(&self, committed_at: Timestamp) -> Vec<(String, ChangelogPosition)> {
        let position = |c: &Changelog| {
            let position = ChangelogPosition {
                topic_id: c.topic_id,
                next_offset: c.next_offset,
                committed_at,
            };
            (c.topic.clone(), position)
        };
        self.changelogs.iter().map(position).collect()
    }

    /// How far its stores reflect its inputs, or, committed, how far what its last commit left does.
    pub(crate) fn position(&self, committed: bool) -> Position {
        let partition = self.id().partition;
        let mut position = Position::new();
        let mut reach = |(topic, offset)| position.reach(TopicPartition::new(topic, partition), offset);
        if committed {
            self.task.committed_position().for_each(&mut reach);
        } else {
            self.task.position().for_each(&mut reach);
        }
        position
    }

    pub(crate) fn enqueue(
        &mut self,
        partition: &TopicPartition,
        records: Vec<Record>,
    ) -> Result<(), RunError> {
        if let Some(input) = self.inputs.iter_mut().find(|input| input.partition == *partition) {
            input.caught_up = false;
            input.received = records.last().map(|last| last.offset + 1).or(input.received);
        }
        let id = self.id();
        self.task
            .enqueue(&partition.topic, records.into_iter().map(raw))
            .map_err(|e| task_error(id, e))
    }

    pub(crate) fn caught_up(&mut self, partition: &TopicPartition) {
        if let Some(input) = self.inputs.iter_mut().find(|input| input.partition == *partition) {
            input.caught_up = true;
        }
    }

    /// How far it is behind the end, by input, where both are known.
    pub(crate) fn lag(&self, end: impl Fn(&TopicPartition) -> Option<i64>) -> BTreeMap<String, i64> {
        let lag = |input: &Input| {
            let end = end(&input.partition)?;
            let waiting = self.task.buffered_of(&input.partition.topic);
            let processed = input.received? - i64::try_from(waiting).unwrap_or(i64::MAX);
            Some((input.partition.to_string(), (end - processed).max(0)))
        };
        self.inputs.iter().filter_map(lag).collect()
    }

    /// How many records may be processed before one input has none left while earlier ones may come (KIP-695). 0: wait
    /// for that input. `idle` is `max.task.idle.ms`: `None` never waits; with zero, as long as the cluster has records of
    /// an input that is empty here; with more, so long beyond that for records that are still to be written.
    pub(crate) fn ready(&mut self, idle: Option<Duration>, now: Timestamp) -> usize {
        let buffered = self.task.buffered().0;
        let Some(idle) = idle else {
            return buffered;
        };
        let of = |input: &&Input| self.task.buffered_of(&input.partition.topic);
        let empty = || self.inputs.iter().filter(|input| of(input) == 0);
        if buffered == 0 || empty().any(|input| !input.caught_up) {
            self.idle_since = None;
            return 0;
        }
        let lagging = self.inputs.iter().filter(|input| !input.caught_up);
        let most = lagging.map(|input| of(&input)).min().unwrap_or(buffered);
        if idle.is_zero() {
            return most;
        }
        if empty().next().is_none() {
            self.idle_since = None;
            return self
                .inputs
                .iter()
                .map(|input| of(&input))
                .min()
                .unwrap_or(buffered);
        }
        let since = *self.idle_since.get_or_insert(now);
        if now < since.saturating_add(idle) { 0 } else { most }
    }

    /// When it stops waiting for an empty input.
    pub(crate) fn idle_until(&self, idle: Option<Duration>) -> Option<Timestamp> {
        Some(self.idle_since?.saturating_add(idle?))
    }
}

/// Counts changelog records that were written.
pub(crate) fn count_sent(changelogs: &mut [Changelog], sent: &Outputs) {
    for record in sent.iter() {
        let OutputTopic::Named(name) = record.topic else {
            continue;
        };
        if let Some(changelog) = changelogs.iter_mut().find(|c| c.topic == name) {
            changelog.next_offset += 1;
        }
    }
}

/// The most that a task held in memory: records that wait, state that is not committed, the order of what
/// is held back, outputs that are to be sent.
/// What is in flight the producer bounds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    pub(crate) bytes_max: usize,
}

impl Held {
    /// Takes notice of what it holds now.
    pub(crate) fn note(&mut self, task: &Task, outputs: &Outputs) {
        let bytes = task.buffered().1 + task.dirty_bytes() + task.order_bytes() + outputs.byte_len();
        self.bytes_max = self.bytes_max.max(bytes);
    }
}

/// A record in the form tasks take.
pub(crate) fn raw(record: Record) -> RawRecord {
    let Record {
        offset,
        timestamp,
        key,
        value,
        headers,
    } = record;
    RawRecord {
        offset,
        timestamp,
        key,
        value,
        headers,
    }
}

pub(crate) fn task_error(task: TaskId, error: TaskError) -> RunError {
    RunError::Task {
        task: task.to_string(),
        error,
    }
}
