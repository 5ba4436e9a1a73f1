//! One stream thread: poll, process, send, commit, and the answers to rebalances.
//!
//! [`Worker::turn`] does one round and never looks at a clock, so tests drive several workers by hand over the cluster
//! in memory; a thread calls it in a loop.
//!
//! ```text
//!             Assigned                      all stores complete
//!   nothing ───────────▶ tasks restoring ─────────────────────▶ tasks working ──┐ commit every commit.interval.ms
//!      ▲                        │ Revoking: commit, then release; Lost: drop, then release       │
//!      └────────────────────────┴────────────────────────────────────────────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use tidemill_client::{Batch, CommitError, Committed, Event, Member, Start, TopicPartition, Transport};
use tidemill_data::Timestamp;
use tidemill_store::{StoreOptions, TopicId};
use tidemill_streams::{Outputs, Task, TaskConfig, TaskId, Topology};

use crate::config::{Config, Reset};
use crate::databases::Databases;
use crate::error::RunError;
use crate::live_task::{LiveTask, task_error};
use crate::plan::Plan;
use crate::query::Query;
use crate::restore::{Extent, RestoreListener, Restorer};
use crate::sender::Sender;
use crate::state::ThreadPhase;

/// Records taken from the client in one turn: enough to spread the cost of a turn, few enough to commit on time.
const POLL_RECORDS_MAX: usize = 10_000;
/// Commits that may fail in a row for reasons that pass, before the program gives up.
const COMMIT_FAILURES_MAX: u32 = 20;
/// How long a turn waits for changelog records.
const RESTORE_WAIT: Duration = Duration::from_millis(20);

/// What all workers of an instance share.
pub(crate) struct Instance {
    pub(crate) topology: Arc<Topology>,
    pub(crate) plan: Plan,
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) databases: Databases,
    pub(crate) restore_listener: Option<RestoreListener>,
}

/// What others ask of a worker.
pub(crate) enum Command {
    /// Answer from the tasks' stores.
    Query(Query),
    /// Commit, leave and end.
    Stop,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Next(ThreadPhase),
    Stopped,
}

pub(crate) struct Worker {
    instance: Arc<Instance>,
    name: String,
    member: Box<dyn Member>,
    sender: Sender,
    commands: Receiver<Command>,
    tasks: BTreeMap<TaskId, LiveTask>,
    restorer: Restorer,
    // False until the group has assigned something, be it nothing, and between release and the next assignment.
    assigned: bool,
    // The group has moved on without us: process and commit nothing until it says so by `Lost`.
    fenced: bool,
    last_commit: Timestamp,
    commit_failures: u32,
    events: Vec<Event>,
    outputs: Outputs,
}

impl Worker {
    pub(crate) fn new(
        instance: Arc<Instance>,
        name: String,
        member: Box<dyn Member>,
        commands: Receiver<Command>,
        now: Timestamp,
    ) -> Result<Self, RunError> {
        let writer = instance.transport.writer(&format!("{name}-producer"))?;
        Ok(Self {
            sender: Sender::new(instance.transport.clone(), writer),
            restorer: Restorer::new(instance.restore_listener.clone()),
            instance,
            name,
            member,
            commands,
            tasks: BTreeMap::new(),
            assigned: false,
            fenced: false,
            last_commit: now,
            commit_failures: 0,
            events: Vec::new(),
            outputs: Outputs::new(),
        })
    }

    /// Does one round; waits at most `wait` when there is nothing to do.
    pub(crate) fn turn(&mut self, now: Timestamp, wait: Duration) -> Result<Turn, RunError> {
        if self.obey_commands() {
            self.stop(now)?;
            return Ok(Turn::Stopped);
        }
        let wait = if self.restorer.is_idle() {
            wait.min(self.until_due(now))
        } else {
            Duration::ZERO
        };
        let mut events = std::mem::take(&mut self.events);
        self.member.poll(POLL_RECORDS_MAX, wait, &mut events)?;
        for event in events.drain(..) {
            self.handle(event, now)?;
        }
        self.events = events;
        self.restore(now)?;
        if !self.fenced {
            self.process(now)?;
            self.sender.poll()?;
            if self.commit_is_due(now) {
                self.commit(now)?;
            }
        }
        Ok(Turn::Next(self.phase()))
    }

    fn phase(&self) -> ThreadPhase {
        if self.assigned && self.restorer.is_idle() {
            ThreadPhase::Working
        } else {
            ThreadPhase::Settling
        }
    }

    fn obey_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Query(query)) => query.answer(&mut self.tasks, &self.restorer),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
    }

    fn handle(&mut self, event: Event, now: Timestamp) -> Result<(), RunError> {
        match event {
            Event::Records(batch) => self.enqueue(batch),
            Event::CaughtUp { partition, .. } => {
                if let Some(task) = self.task_of(&partition) {
                    task.caught_up(&partition);
                }
                Ok(())
            }
            Event::Assigned(partitions) => self.take_up(&partitions, now),
            Event::Revoking(partitions) => {
                tracing::info!("{}: giving up {} partitions", self.name, partitions.len());
                self.give_up(now)
            }
            Event::Lost(partitions) => {
                tracing::warn!(
                    "{}: lost {} partitions; nothing more of them is committed",
                    self.name,
                    partitions.len()
                );
                self.let_go()
            }
        }
    }

    fn task_of(&mut self, partition: &TopicPartition) -> Option<&mut LiveTask> {
        self.tasks
            .values_mut()
            .find(|task| task.inputs.iter().any(|input| input.partition == *partition))
    }

    fn enqueue(&mut self, batch: Batch) -> Result<(), RunError> {
        let Batch { partition, records } = batch;
        match self.task_of(&partition) {
            Some(task) => task.enqueue(&partition, records),
            None => Ok(()),
        }
    }

    /// Makes the tasks of these partitions and begins to restore them.
    fn take_up(&mut self, partitions: &[TopicPartition], now: Timestamp) -> Result<(), RunError> {
        self.assigned = true;
        self.fenced = false;
        self.last_commit = now;
        for (id, inputs) in self.needed(partitions)? {
            let task = self.open(id, inputs, now)?;
            self.tasks.insert(id, task);
        }
        tracing::info!(
            "{}: {} tasks of {} partitions",
            self.name,
            self.tasks.len(),
            partitions.len()
        );
        let from = self.starts(partitions)?;
        self.member.accept(&from)?;
        let name = format!("{}-restore", self.name);
        self.restorer.begin(&*self.instance.transport, &name)?;
        self.resume_restored();
        Ok(())
    }

    /// The tasks that read the partitions, each with all of its inputs.
    fn needed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TaskId, Vec<TopicPartition>>, RunError> {
        let Instance { topology, plan, .. } = &*self.instance;
        let mut needed = BTreeMap::new();
        for (subtopology, part) in topology.subtopologies().iter().enumerate() {
            let repartitions = part.repartition_sources.iter().map(|topic| &topic.name);
            let topics: Vec<&String> = part.source_topics.iter().chain(repartitions).collect();
            for partition in partitions
                .iter()
                .filter(|p| topics.iter().any(|t| **t == *p.topic))
            {
                let id = TaskId {
                    subtopology,
                    partition: partition.partition,
                };
                let has = |topic: &&&String| plan.partitions.get(**topic).is_none_or(|n| id.partition < *n);
                let at = |topic: &&String| TopicPartition::new(topic.as_str(), id.partition);
                needed
                    .entry(id)
                    .or_insert_with(|| topics.iter().filter(has).map(at).collect::<Vec<_>>());
            }
        }
        for (id, inputs) in &needed {
            if !inputs.iter().all(|input| partitions.contains(input)) {
                let needs = inputs.iter().map(ToString::to_string).collect();
                return Err(RunError::PartialTask {
                    task: id.to_string(),
                    needs,
                });
            }
        }
        Ok(needed)
    }

    fn open(
        &mut self,
        id: TaskId,
        inputs: Vec<TopicPartition>,
        now: Timestamp,
    ) -> Result<LiveTask, RunError> {
        let Instance {
            topology,
            plan,
            config,
            databases,
            transport,
            ..
        } = &*self.instance;
        let stores = topology
            .subtopologies()
            .get(id.subtopology)
            .map_or(&[][..], |part| &part.stores);
        let database = databases.open(id, stores)?;
        let all_stores: usize = topology
            .subtopologies()
            .iter()
            .zip(&plan.tasks)
            .map(|(part, tasks)| part.stores.len() * usize::try_from(*tasks).unwrap_or(0))
            .sum();
        let cache_bytes_all = config.cache_bytes_max.unwrap_or_else(|| databases.cache_bytes());
        let cache_bytes_max = cache_bytes_all / all_stores.max(1);
        let task_config = TaskConfig {
            stores: StoreOptions { cache_bytes_max },
        };
        let task =
            Task::new(topology.clone(), id, database, &task_config, now).map_err(|e| task_error(id, e))?;
        let mut live = LiveTask::new(task, inputs);
        let changelogs = live.task.changelogs();
        let at: Vec<_> = changelogs
            .iter()
            .map(|c| TopicPartition::new(c.topic.as_str(), id.partition))
            .collect();
        let extents = if at.is_empty() {
            Vec::new()
        } else {
            extents(&**transport, &at)?
        };
        for (changelog, (start, end)) in changelogs.iter().zip(extents) {
            let topic_id = TopicId(plan.topic_ids.get(&changelog.topic).copied().unwrap_or_default());
            let extent = Extent { topic_id, start, end };
            live.follow(
                &changelog.topic,
                topic_id,
                changelog.position.map_or(start, |p| p.next_offset.min(end)),
            );
            self.restorer
                .add(&mut live.task, changelog, extent, now, config.delete_retention)?;
        }
        Ok(live)
    }

    fn starts(&mut self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Start)>, RunError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let committed = self.member.committed(partitions)?;
        for (partition, committed) in partitions.iter().zip(&committed) {
            if let (Some(committed), Some(live)) = (committed, self.task_of(partition)) {
                let resumed = committed.metadata.is_empty() || live.task.resume(&committed.metadata);
                if !resumed {
                    tracing::warn!("{partition}: the committed offset's metadata is not this program's");
                }
            }
        }
        let reset = self.instance.config.reset;
        let start = |(partition, committed): (&TopicPartition, Option<Committed>)| {
            let start = match (committed, reset) {
                (Some(committed), _) => Start::At(committed.next),
                (None, Reset::Earliest) => Start::Earliest,
                (None, Reset::Latest) => Start::Latest,
                (None, Reset::Refuse) => {
                    let (operation, reason) =
                        ("begin to read", format!("nothing is committed for {partition}"));
                    return Err(tidemill_client::TransportError::Cluster { operation, reason }.into());
                }
            };
            Ok((partition.clone(), start))
        };
        partitions.iter().zip(committed).map(start).collect()
    }

    fn restore(&mut self, now: Timestamp) -> Result<(), RunError> {
        if self.restorer.is_idle() {
            return Ok(());
        }
        self.restorer.step(RESTORE_WAIT, now, &mut self.tasks)?;
        self.resume_restored();
        Ok(())
    }

    fn resume_restored(&mut self) {
        for (id, task) in &mut self.tasks {
            if !self.restorer.is_restoring(*id) {
                resume(&mut *self.member, &mut task.inputs, |_| true);
            }
        }
    }

    /// Lets every task process what it may, and sends what that gave.
    fn process(&mut self, now: Timestamp) -> Result<(), RunError> {
        let config = &self.instance.config;
        let wait_for_lagging = config.max_task_idle.is_some();
        let mut full = false;
        for (id, live) in &mut self.tasks {
            if self.restorer.is_restoring(*id) {
                continue;
            }
            if live.task.next_punctuation().is_some_and(|due| due <= now) {
                live.task
                    .punctuate_wall(now, &mut self.outputs)
                    .map_err(|e| task_error(*id, e))?;
            }
            loop {
                let ready = live.ready(wait_for_lagging);
                if ready == 0 || full {
                    break;
                }
                let done = live
                    .task
                    .process(ready, now, &mut self.outputs)
                    .map_err(|e| task_error(*id, e))?;
                self.sender
                    .send(&self.instance.topology, &self.instance.plan, &self.outputs)?;
                self.outputs.clear();
                full |= done.full;
                if done.records == 0 {
                    break;
                }
            }
            if !self.outputs.is_empty() {
                self.sender
                    .send(&self.instance.topology, &self.instance.plan, &self.outputs)?;
                self.outputs.clear();
            }
            balance(&mut *self.member, live, config.buffered_records);
        }
        if full { self.commit(now) } else { Ok(()) }
    }

    fn until_due(&self, now: Timestamp) -> Duration {
        let commit = if self.tasks.values().any(|live| live.task.needs_commit()) {
            Some(
                self.last_commit
                    .saturating_add(self.instance.config.commit_interval),
            )
        } else {
            None
        };
        let punctuation = self
            .tasks
            .values()
            .filter_map(|live| live.task.next_punctuation())
            .min();
        let due = commit.into_iter().chain(punctuation).min();
        due.map_or(Duration::MAX, |due| {
            Duration::from_millis(u64::try_from(due.millis().saturating_sub(now.millis())).unwrap_or(0))
        })
    }

    fn commit_is_due(&self, now: Timestamp) -> bool {
        self.last_commit
            .saturating_add(self.instance.config.commit_interval)
            <= now
    }

    /// One commit over all tasks: outputs and changelogs written and acknowledged, then offsets, then each overlay in
    /// one write to its database. A crash between any two of these repeats records and loses none.
    fn commit(&mut self, now: Timestamp) -> Result<(), RunError> {
        self.last_commit = now;
        if !self.tasks.values().any(|live| live.task.needs_commit()) {
            return Ok(());
        }
        let mut offsets = Vec::new();
        let mut changed = Vec::new();
        for (id, live) in self.tasks.iter_mut().filter(|(_, live)| live.task.needs_commit()) {
            let commit = live.task.prepare_commit(&mut self.outputs);
            self.sender
                .send(&self.instance.topology, &self.instance.plan, &self.outputs)?;
            live.count_sent(&self.outputs);
            self.outputs.clear();
            let metadata: Arc<str> = commit.metadata.into();
            for (topic, next) in commit.offsets {
                let metadata = metadata.clone();
                let at = TopicPartition::new(topic, id.partition);
                offsets.push((at, Committed { next, metadata }));
            }
            changed.push(*id);
        }
        self.sender.flush()?;
        let outcome = if offsets.is_empty() {
            Ok(())
        } else {
            self.member.commit(&offsets)
        };
        match outcome {
            Ok(()) => self.commit_failures = 0,
            Err(error) => return self.not_committed(error),
        }
        for id in changed {
            let Some(live) = self.tasks.get_mut(&id) else {
                continue;
            };
            let positions = live.positions(now);
            live.task.committed(&positions).map_err(|e| task_error(id, e))?;
        }
        Ok(())
    }

    fn not_committed(&mut self, error: CommitError) -> Result<(), RunError> {
        match error {
            CommitError::Fenced(reason) => {
                tracing::warn!("{}: {reason}; waiting to hear what is left", self.name);
                self.fenced = true;
                Ok(())
            }
            // The rebalance asks for a commit of its own.
            CommitError::Rebalancing => Ok(()),
            error if self.commit_failures < COMMIT_FAILURES_MAX => {
                self.commit_failures += 1;
                tracing::warn!("{}: commit failed and will be tried again: {error}", self.name);
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    /// Commits and closes all tasks, then gives the partitions back.
    fn give_up(&mut self, now: Timestamp) -> Result<(), RunError> {
        if !self.fenced {
            self.commit(now)?;
        }
        self.let_go()
    }

    /// Closes all tasks as they are. What was not committed is done again by whoever has the partitions next.
    fn let_go(&mut self) -> Result<(), RunError> {
        self.restorer.clear();
        self.tasks.clear();
        self.assigned = false;
        Ok(self.member.release()?)
    }

    fn stop(&mut self, now: Timestamp) -> Result<(), RunError> {
        if !self.fenced {
            self.commit(now)?;
        }
        self.restorer.clear();
        self.tasks.clear();
        Ok(())
    }

    /// Leaves the group, so that the others need not wait for a session to time out.
    pub(crate) fn leave(self) -> Result<(), RunError> {
        Ok(self.member.leave()?)
    }
}

fn extents(transport: &dyn Transport, at: &[TopicPartition]) -> Result<Vec<(i64, i64)>, RunError> {
    let starts = transport.start_offsets(at)?;
    Ok(starts.into_iter().zip(transport.end_offsets(at)?).collect())
}

fn resume(
    member: &mut dyn Member,
    inputs: &mut [crate::live_task::Input],
    which: impl Fn(&TopicPartition) -> bool,
) {
    let paused = inputs
        .iter_mut()
        .filter(|input| input.paused && which(&input.partition));
    let mut partitions = Vec::new();
    for input in paused {
        input.paused = false;
        partitions.push(input.partition.clone());
    }
    if !partitions.is_empty() {
        member.resume(&partitions);
    }
}

/// Pauses inputs with more than `buffered_max` records waiting for a slower input, and takes pauses back.
fn balance(member: &mut dyn Member, live: &mut LiveTask, buffered_max: usize) {
    let LiveTask { task, inputs, .. } = live;
    resume(member, inputs, |partition| {
        task.buffered_of(&partition.topic) <= buffered_max
    });
    for input in inputs.iter_mut().filter(|input| !input.paused) {
        if task.buffered_of(&input.partition.topic) > buffered_max {
            input.paused = true;
            member.pause(std::slice::from_ref(&input.partition));
        }
    }
}

#[cfg(test)]
mod tests;
