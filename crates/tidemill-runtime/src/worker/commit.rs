//! One commit over all tasks: outputs and changelogs written and acknowledged, then offsets, then each overlay in one
//! write to its database.
//!
//! The last step may wait a while, so that rows that change all the time reach the database once a second and not with
//! each commit: the changelog has them.
//!
//! A crash between any two of these repeats records and loses none. Under exactly-once the first two are one
//! transaction; a crash before the third is mended by the changelog, which the store follows from where it stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_client::{CommitError, Committed, TopicPartition};
use tidemill_data::Timestamp;
use tidemill_streams::{Outputs, TaskId};

use super::assignment::Standing;
use super::{Instance, Worker};
use crate::error::RunError;
use crate::live_task::{LiveTask, count_sent, task_error};
use crate::producer::{Producer, Setback};

/// Commits that may fail in a row for reasons that pass, before the program gives up.
const COMMIT_FAILURES_MAX: u32 = 20;
/// How often a stop looks whether its last transaction's end is in the changelogs, and the pause between looks.
const SETTLED_LOOKS_MAX: u32 = 40;
const SETTLED_PAUSE: Duration = Duration::from_millis(5);

/// How often positions in changelogs are corrected by asking.
const CATCH_UP_INTERVAL: Duration = Duration::from_secs(60);

/// What a commit covers.
#[derive(Default)]
struct Covered {
    offsets: Vec<(TopicPartition, Committed)>,
    tasks: Vec<TaskId>,
}

impl Worker {
    pub(super) fn commit_is_due(&self, now: Timestamp) -> bool {
        let interval = self.instance.config.commit_interval;
        self.last_commit.saturating_add(interval) <= now
    }

    /// Commits, or, with calls in flight, sees to it that a commit follows once they are done.
    pub(super) fn commit(&mut self, now: Timestamp) -> Result<(), Setback> {
        self.draining = self.calls_in_flight() > 0;
        if self.draining {
            return Ok(());
        }
        self.last_commit = now;
        self.settle_idle()?;
        let changed = self.tasks.values().any(|live| live.task.needs_commit());
        if !changed && !self.sender.producer.is_open() {
            return Ok(());
        }
        let began = Instant::now();
        let _commit = tracing::debug_span!("commit", thread = self.post.name).entered();
        let covered = self.prepare()?;
        match &mut self.sender.producer {
            Producer::Transactional(transactional) => {
                transactional.commit(&covered.offsets, &self.member.group_metadata())?;
            }
            Producer::Plain(writer) => {
                writer.flush()?;
                let outcome = if covered.offsets.is_empty() {
                    Ok(())
                } else {
                    self.member.commit(&covered.offsets)
                };
                if let Err(error) = outcome {
                    return Ok(self.not_committed(error)?);
                }
            }
        }
        (self.commit_failures, self.setbacks) = (0, 0);
        self.catch_up_positions(now);
        for (partition, committed) in &covered.offsets {
            for live in self
                .tasks
                .values_mut()
                .filter(|live| live.id().partition == partition.partition)
            {
                live.consumed_to(&partition.topic, committed.next);
            }
        }
        for id in &covered.tasks {
            if let Some(live) = self.tasks.get_mut(id) {
                let positions = live.positions(now);
                let written = live.task.committed(&positions);
                written.map_err(|e| task_error(*id, e))?;
            }
        }
        self.recorder.committed(began);
        self.purge(&covered.offsets, now);
        Ok(())
    }

    /// Sends the changelogs of all tasks that have something to commit.
    fn prepare(&mut self) -> Result<Covered, Setback> {
        let Instance { topology, plan, .. } = &*self.instance;
        let mut covered = Covered::default();
        for (id, live) in self.tasks.iter_mut().filter(|(_, live)| live.task.needs_commit()) {
            let LiveTask {
                task,
                changelogs,
                held,
                ..
            } = live;
            let sender = &mut self.sender;
            let mut send = |piece: &mut Outputs| {
                held.note(task, piece);
                let sent = sender.send(topology, plan, piece);
                count_sent(changelogs, piece);
                piece.clear();
                sent
            };
            let commit = task.prepare_commit_in_pieces(&mut self.outputs, &mut send)?;
            let metadata: Arc<str> = commit.metadata.into();
            for (topic, next) in commit.offsets {
                let metadata = metadata.clone();
                let at = TopicPartition::new(topic, id.partition);
                covered.offsets.push((at, Committed { next, metadata }));
            }
            covered.tasks.push(*id);
        }
        Ok(covered)
    }

    /// Writes the commits that are held of tasks that have nothing new: no later commit would soon take them along.
    fn settle_idle(&mut self) -> Result<(), RunError> {
        for (id, live) in &mut self.tasks {
            if !live.task.needs_commit() {
                live.task.settle().map_err(|e| task_error(*id, e))?;
            }
        }
        Ok(())
    }

    fn not_committed(&mut self, error: CommitError) -> Result<(), RunError> {
        match error {
            CommitError::Fenced(reason) => {
                tracing::warn!("{}: {reason}; waiting to hear what is left", self.post.name);
                if let Standing::Holding(partitions) = &mut self.standing {
                    self.standing = Standing::Fenced(std::mem::take(partitions));
                }
                Ok(())
            }
            // The rebalance asks for a commit of its own.
            CommitError::Rebalancing => Ok(()),
            error if self.commit_failures < COMMIT_FAILURES_MAX => {
                self.commit_failures += 1;
                let name = &self.post.name;
                tracing::warn!("{name}: commit failed and will be tried again: {error}");
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    /// The commit before tasks are closed. Where it cannot be made, the work is left to be done again.
    pub(super) fn commit_last(&mut self, now: Timestamp) -> Result<(), RunError> {
        if !matches!(self.standing, Standing::Holding(_)) {
            return Ok(());
        }
        match self
            .drain(now)
            .and_then(|drained| drained.then(|| self.commit(now)).transpose())
        {
            Ok(Some(())) => {
                self.settle(now);
                self.settle_idle()
            }
            Ok(None) => {
                let calls = self.calls_in_flight();
                tracing::warn!(
                    "{}: {calls} calls take too long; the last commit is not made",
                    self.post.name
                );
                self.void()
            }
            Err(Setback::StartOver(error)) => {
                tracing::warn!("{}: {error}; the last commit is not made", self.post.name);
                self.void()
            }
            Err(Setback::Failed(error)) => Err(error),
        }
    }

    /// The ends of transactions take offsets in changelogs that counting does not see. So that the next start finds
    /// nothing to restore, the stores are told where their changelogs truly end. Only this member wrote there.
    fn settle(&mut self, now: Timestamp) {
        if matches!(self.sender.producer, Producer::Plain(_)) {
            return;
        }
        for (id, live) in &mut self.tasks {
            let at = live.changelog_partitions();
            if at.is_empty() {
                continue;
            }
            let Some(ends) = settled_ends(&self.instance, &at) else {
                return;
            };
            for (partition, end) in at.iter().zip(ends) {
                live.sent_to(&partition.topic, end);
            }
            let positions = live.positions(now);
            if let Err(error) = live.task.committed(&positions) {
                tracing::warn!("task {id}: {error}; the next start restores the last records again");
            }
        }
    }

    /// Once in a while, adds the ends of transactions to what was counted of changelogs, so that a crash after days of
    /// work restores no more than one after a minute. What is stable after a commit of ours is in our stores or void.
    fn catch_up_positions(&mut self, now: Timestamp) {
        let exactly_once = matches!(self.sender.producer, Producer::Transactional(_));
        if !exactly_once || now < self.last_catch_up.saturating_add(CATCH_UP_INTERVAL) {
            return;
        }
        self.last_catch_up = now;
        for live in self.tasks.values_mut() {
            let at = live.changelog_partitions();
            let ends = self.instance.transport.end_offsets(&at).unwrap_or_default();
            for (partition, end) in at.iter().zip(ends) {
                live.sent_to(&partition.topic, end);
            }
        }
    }

    /// Deletes what was read of repartition topics: only this program reads them, and only once.
    fn purge(&mut self, committed: &[(TopicPartition, Committed)], now: Timestamp) {
        let Instance {
            topology,
            config,
            transport,
            ..
        } = &*self.instance;
        if now < self.last_purge.saturating_add(config.purge_interval) {
            return;
        }
        let internal = |topic: &str| {
            let mut parts = topology.subtopologies().iter();
            parts.any(|part| part.repartition_sources.iter().any(|source| source.name == topic))
        };
        let read: Vec<(TopicPartition, i64)> = committed
            .iter()
            .filter(|(partition, _)| internal(&partition.topic))
            .map(|(partition, committed)| (partition.clone(), committed.next))
            .collect();
        if read.is_empty() {
            return;
        }
        self.last_purge = now;
        if let Err(error) = transport.delete_records(&read) {
            tracing::warn!("{}: repartition topics were not purged: {error}", self.post.name);
        }
    }
}

/// Where the partitions end, once no transaction is open in them.
fn settled_ends(instance: &Instance, at: &[TopicPartition]) -> Option<Vec<i64>> {
    for _ in 0..SETTLED_LOOKS_MAX {
        let stable = instance.transport.end_offsets(at).ok()?;
        if instance.transport.high_watermarks(at).ok()? == stable {
            return Some(stable);
        }
        std::thread::sleep(SETTLED_PAUSE);
    }
    None
}
