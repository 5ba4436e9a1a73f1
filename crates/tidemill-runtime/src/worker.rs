//! One stream thread: poll, process, send, commit, and the answers to rebalances.
//!
//! [`Worker::turn`] does one round and never looks at a clock, so tests drive several workers by hand over the cluster
//! in memory; a thread calls it in a loop.
//!
//! ```text
//!            Assigned            offsets stable           all stores complete
//!   nothing ─────────▶ awaiting ────────────────▶ tasks restoring ───────────▶ tasks working ──┐ commit every
//!      ▲                  ▲                             │                            │ ▲───────┘ commit.interval.ms
//!      │                  └──── transaction void ───────┼────────────────────────────┤
//!      └──────── Revoking: commit, then release; Lost: drop, then release ───────────┘
//! ```

mod assignment;
mod calls;
mod commit;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::task::Waker;
use std::time::Duration;

use tidemill_client::{Batch, Event, Member, TopicPartition, TransactionError, Transport};
use tidemill_data::Timestamp;
use tidemill_streams::{Globals, Outputs, TaskId, Topology};

use self::assignment::Standing;
use crate::config::Config;
use crate::control::Control;
use crate::databases::Databases;
use crate::error::RunError;
use crate::globals::GlobalPosition;
use crate::live_task::LiveTask;
use crate::metrics::{Desk, Metrics, Recorder};
use crate::patterns::Patterns;
use crate::plan::Plan;
use crate::producer::{Guarantee, Producer, Setback};
use crate::query::{Query, Sources};
use crate::restore::{RestoreListener, Restoring};
use crate::sender::Sender;
use crate::state::ThreadPhase;

/// Records taken from the client in one turn: enough to spread the cost of a turn, few enough to commit on time.
const POLL_RECORDS_MAX: usize = 10_000;
/// Times in a row that work may be thrown away and begun again, before the thread gives up. The pauses between them
/// double up to [`PAUSE_MAX`], so together they outlast the time in which a group gives up on a silent member.
const SETBACKS_MAX: u32 = 20;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What all workers of an instance share.
pub(crate) struct Instance {
    pub(crate) topology: Arc<Topology>,
    pub(crate) plan: Plan,
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) databases: Arc<Databases>,
    pub(crate) control: Arc<Control>,
    /// Nothing is processed while this is set.
    pub(crate) paused: Arc<AtomicBool>,
    pub(crate) restore_listener: Option<RestoreListener>,
    pub(crate) metrics: Arc<Metrics>,
    /// What tasks read of global tables.
    pub(crate) globals: Option<Globals>,
    /// How far those are.
    pub(crate) global_position: GlobalPosition,
    /// `None` where no source follows topics.
    pub(crate) patterns: Option<Arc<Patterns>>,
}

impl Instance {
    /// The same instance with another topology of its program.
    pub(crate) fn of(&self, topology: Arc<Topology>, plan: Plan) -> Self {
        Self {
            topology,
            plan,
            config: self.config.clone(),
            transport: self.transport.clone(),
            databases: self.databases.clone(),
            control: self.control.clone(),
            paused: self.paused.clone(),
            restore_listener: self.restore_listener.clone(),
            metrics: self.metrics.clone(),
            globals: self.globals.clone(),
            global_position: self.global_position.clone(),
            patterns: self.patterns.clone(),
        }
    }

    /// The topics that its tasks read.
    pub(crate) fn input_topics(&self) -> Vec<String> {
        let parts = self.topology.subtopologies().iter();
        let topics = parts.flat_map(|part| {
            let repartitions = part.repartition_sources.iter().map(|topic| &topic.name);
            part.source_topics.iter().chain(repartitions).cloned()
        });
        topics.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// `application.id`, which is the group's name too.
    pub(crate) fn application(&self) -> &str {
        let chosen = self.config.application_id.as_deref();
        chosen.unwrap_or_else(|| self.topology.app())
    }

    fn guarantee(&self, thread: usize) -> Guarantee {
        if !self.config.exactly_once {
            return Guarantee::AtLeastOnce;
        }
        let id = self.databases.dir().instance_id();
        let id = format!("{}-{id}-{thread}", self.application());
        Guarantee::exactly_once(id, self.config.transaction_timeout)
    }
}

/// What others ask of a worker.
pub(crate) enum Command {
    /// Answer from the tasks' stores.
    Query(Query),
    /// Something changed that a turn looks at.
    Look,
    /// Commit, leave and end.
    Stop,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Next(ThreadPhase),
    Stopped,
}

/// Which thread of its instance a worker is.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) name: String,
    /// From 1. A thread that replaces another takes its number, and so fences what is left of it.
    pub(crate) number: usize,
}

pub(crate) struct Worker {
    instance: Arc<Instance>,
    post: Post,
    guarantee: Guarantee,
    member: Box<dyn Member>,
    sender: Sender,
    commands: Receiver<Command>,
    // Queries that want a position which is not reached yet.
    waiting: Vec<Query>,
    tasks: BTreeMap<TaskId, LiveTask>,
    restorer: Restoring,
    standing: Standing,
    last_commit: Timestamp,
    last_purge: Timestamp,
    last_catch_up: Timestamp,
    commit_failures: u32,
    setbacks: u32,
    events: Vec<Event>,
    outputs: Outputs,
    // No record is taken up until the calls in flight are done and committed.
    draining: bool,
    // Wakes this worker when a call can go on.
    waker: Waker,
    recorder: Recorder,
    // A task stopped with records waiting, to commit first.
    unfinished: bool,
}

impl Worker {
    pub(crate) fn new(
        instance: Arc<Instance>,
        post: Post,
        member: Box<dyn Member>,
        commands: Receiver<Command>,
        restorer: Restoring,
        now: Timestamp,
    ) -> Result<Self, RunError> {
        let guarantee = instance.guarantee(post.number);
        let producer = Producer::new(&instance.transport, &producer_name(&post), &guarantee)?;
        Ok(Self {
            unfinished: false,
            recorder: Recorder::new(
                Desk {
                    metrics: instance.metrics.clone(),
                    thread: post.number,
                },
                &post.name,
            ),
            sender: Sender::new(instance.transport.clone(), producer),
            restorer,
            instance,
            post,
            guarantee,
            waker: calls::waker(member.wake()),
            member,
            commands,
            waiting: Vec::new(),
            tasks: BTreeMap::new(),
            standing: Standing::Unassigned,
            last_commit: now,
            last_purge: now,
            last_catch_up: now,
            commit_failures: 0,
            setbacks: 0,
            events: Vec::new(),
            outputs: Outputs::new(),
            draining: false,
        })
    }

    /// Does one round; waits at most `wait` when there is nothing to do.
    pub(crate) fn turn(&mut self, now: Timestamp, wait: Duration) -> Result<Turn, RunError> {
        let stopping = self.obey_commands();
        self.answer_queries(now);
        if stopping {
            self.stop(now)?;
            return Ok(Turn::Stopped);
        }
        match self.work(now, wait) {
            Ok(()) => {}
            Err(Setback::StartOver(error)) => self.start_over(error, now)?,
            Err(Setback::Failed(error)) => return Err(error),
        }
        Ok(Turn::Next(self.phase()))
    }

    fn work(&mut self, now: Timestamp, wait: Duration) -> Result<(), Setback> {
        let wait = match &self.standing {
            Standing::Awaiting { .. } => wait.min(PAUSE_MIN),
            _ if !self.waiting.is_empty() => wait.min(PAUSE_MIN),
            _ if self.unfinished || self.restorer.needs_turns() => Duration::ZERO,
            _ => wait.min(self.until_due(now)),
        };
        let mut events = std::mem::take(&mut self.events);
        self.member.poll(POLL_RECORDS_MAX, wait, &mut events)?;
        self.recorder.polled();
        for event in events.drain(..) {
            self.handle(event, now)?;
        }
        self.events = events;
        self.take_up_when_stable(now)?;
        let restored = self.restorer.completed(now)?;
        self.begin(restored);
        if let Standing::Holding(_) = self.standing {
            self.poll_calls(now)?;
            if self.draining || self.instance.paused.load(Ordering::Relaxed) {
                self.hold_back();
            } else {
                self.process(now)?;
            }
            self.sender.producer.poll()?;
            if self.draining || self.commit_is_due(now) {
                self.commit(now)?;
            }
        }
        self.recorder.publish(&self.tasks, &*self.member, now);
        Ok(())
    }

    fn phase(&self) -> ThreadPhase {
        if matches!(self.standing, Standing::Holding(_)) && self.restorer.is_idle() {
            ThreadPhase::Working
        } else {
            ThreadPhase::Settling
        }
    }

    /// Answers queries; those that want more than the tasks have processed wait on.
    fn answer_queries(&mut self, now: Timestamp) {
        let mut sources = Sources {
            tasks: &mut self.tasks,
            restorer: &self.restorer,
            globals: &self.instance.global_position,
            holding: matches!(self.standing, Standing::Holding(_)),
            now,
        };
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        self.waiting = waiting.filter_map(|query| query.answer(&mut sources)).collect();
    }

    /// Takes in what others ask; whether that is to stop.
    fn obey_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Query(query)) => self.waiting.push(query),
                Ok(Command::Look) => {}
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
    }

    fn handle(&mut self, event: Event, now: Timestamp) -> Result<(), Setback> {
        match event {
            Event::Records(batch) => Ok(self.enqueue(batch)?),
            Event::CaughtUp { partition, .. } => {
                if let Some(task) = self.task_of(&partition) {
                    task.caught_up(&partition);
                }
                Ok(())
            }
            Event::Assigned(partitions) => {
                // Others may have joined because they know of topics that we do not know of yet.
                if let Some(patterns) = &self.instance.patterns {
                    patterns.look_soon();
                }
                self.standing = Standing::Awaiting {
                    partitions,
                    from: now,
                };
                Ok(())
            }
            Event::Revoking(partitions) => {
                tracing::info!("{}: giving up {} partitions", self.post.name, partitions.len());
                Ok(self.give_up(now)?)
            }
            Event::Lost(partitions) => {
                tracing::warn!(
                    "{}: lost {} partitions; nothing more of them is committed",
                    self.post.name,
                    partitions.len()
                );
                self.void()?;
                Ok(self.let_go()?)
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

    /// Throws away all work since the last commit, and begins again there. Stores stand at the last commit by
    /// themselves: nothing reaches them before.
    fn start_over(&mut self, error: TransactionError, now: Timestamp) -> Result<(), RunError> {
        self.setbacks += 1;
        self.recorder.set_back();
        if self.setbacks > SETBACKS_MAX {
            return Err(error.into());
        }
        tracing::warn!("{}: {error}; beginning again at the last commit", self.post.name);
        match error {
            TransactionError::Abortable(_) => self.void()?,
            _ => self.renew_producer()?,
        }
        self.close_tasks();
        if let Standing::Holding(partitions) | Standing::Fenced(partitions) = &self.standing {
            let pause = PAUSE_MIN
                .saturating_mul(1 << (self.setbacks - 1).min(16))
                .min(PAUSE_MAX);
            self.standing = Standing::Awaiting {
                partitions: partitions.clone(),
                from: now.saturating_add(pause),
            };
        }
        Ok(())
    }

    /// Aborts the open transaction, if there is one.
    fn void(&mut self) -> Result<(), RunError> {
        let Producer::Transactional(transactional) = &mut self.sender.producer else {
            return Ok(());
        };
        match transactional.abort() {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::warn!("{}: {error}; making a new producer", self.post.name);
                self.renew_producer()
            }
        }
    }

    /// A new producer under the same id: that settles what became of the last one's transaction.
    fn renew_producer(&mut self) -> Result<(), RunError> {
        let transport = &self.instance.transport;
        let producer = Producer::new(transport, &producer_name(&self.post), &self.guarantee)?;
        self.sender = Sender::new(transport.clone(), producer);
        Ok(())
    }

    /// Commits and closes all tasks, then gives the partitions back.
    fn give_up(&mut self, now: Timestamp) -> Result<(), RunError> {
        self.commit_last(now)?;
        self.let_go()
    }

    fn close_tasks(&mut self) {
        self.restorer.clear();
        self.recorder.closed(self.tasks.len());
        self.tasks.clear();
    }

    /// Closes all tasks as they are. What was not committed is done again by whoever has the partitions next.
    fn let_go(&mut self) -> Result<(), RunError> {
        self.close_tasks();
        self.standing = Standing::Unassigned;
        Ok(self.member.release()?)
    }

    /// Commits and closes all tasks, before it leaves.
    pub(crate) fn stop(&mut self, now: Timestamp) -> Result<(), RunError> {
        self.commit_last(now)?;
        self.close_tasks();
        Ok(())
    }

    /// Leaves the group, so that the others need not wait for the session to time out. Work that was not committed
    /// leaves no trace. Gives back where commands arrive, for whoever takes its place.
    pub(crate) fn leave(mut self) -> Result<Receiver<Command>, RunError> {
        let voided = self.void();
        self.close_tasks();
        self.announce(std::iter::empty());
        self.member.leave()?;
        voided.map(|()| self.commands)
    }
}

fn producer_name(post: &Post) -> String {
    format!("{}-producer", post.name)
}

#[cfg(test)]
mod tests;
