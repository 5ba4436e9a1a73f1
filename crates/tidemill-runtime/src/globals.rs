//! The global stores of an instance: read to their topics' ends before any task works, and kept up from then on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemill_client::{Event, Reader, Start, TopicPartition, Transport};
use tidemill_store::{ByteStore, ChangelogPosition, TopicId};
use tidemill_streams::{GlobalInput, GlobalTask, Globals, RawRecord, TaskError, TaskId, Topology};

use crate::config::Config;
use crate::databases::Databases;
use crate::error::RunError;
use crate::live_task::raw;
use crate::plan::Plan;
use crate::pool::{Pool, now};
use crate::query::Position;
use crate::restore::{Decision, Extent, decide};

/// Records read at once; each batch is one write to the database.
const BATCH_RECORDS: usize = 10_000;

/// How long one look for records waits; a stop is noticed after that.
const WAIT: Duration = Duration::from_millis(100);

/// How far the global stores of an instance reflect their topics.
#[derive(Clone, Default)]
pub(crate) struct GlobalPosition {
    // Guards the position; held to look and to add.
    reached: Arc<Mutex<Position>>,
}

impl GlobalPosition {
    fn reach(&self, at: TopicPartition, next_offset: i64) {
        if next_offset > 0 {
            let mut reached = self
                .reached
                .lock()
                .expect("no section that holds this lock panics");
            reached.reach(at, next_offset - 1);
        }
    }

    pub(crate) fn of(&self, topic: &str) -> Position {
        let reached = self
            .reached
            .lock()
            .expect("no section that holds this lock panics");
        let mut position = Position::new();
        for (at, offset) in reached.iter().filter(|(at, _)| *at.topic == *topic) {
            position.reach(at.clone(), offset);
        }
        position
    }
}

/// The global stores of an instance, up to date when this is made.
pub(crate) struct GlobalStores {
    base: Arc<dyn ByteStore>,
    follower: Follower,
}

/// Reads the topics of the global stores.
struct Follower {
    task: GlobalTask,
    reader: Box<dyn Reader>,
    topic_ids: BTreeMap<String, TopicId>,
    position: GlobalPosition,
    events: Vec<Event>,
}

/// The thread that keeps global stores up. It ends when this is dropped.
pub(crate) struct Following {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl GlobalStores {
    /// Opens the stores and reads their topics to where they end now; nothing for a program without global tables.
    pub(crate) fn restore(
        topology: &Arc<Topology>,
        plan: &Plan,
        databases: &Databases,
        transport: &dyn Transport,
        config: &Config,
        name: &str,
    ) -> Result<Option<Self>, RunError> {
        let parts = topology.subtopologies();
        let Some(first) = parts.iter().position(|part| part.global.is_some()) else {
            return Ok(None);
        };
        let partitions = |topic: &str| plan.partitions.get(topic).copied().unwrap_or(0);
        // A part that keeps a global store has no tasks, so its name is free for the database of them all.
        let id = TaskId {
            subtopology: first,
            partition: 0,
        };
        let base = databases.open(id, &GlobalTask::families(topology, &partitions))?;
        let mut task = GlobalTask::new(topology.clone(), base.clone(), &partitions).map_err(failed)?;
        let topic_ids = topic_ids(topology, transport)?;
        let (from, mut open) = places(&mut task, transport, &topic_ids, config.delete_retention)?;
        let mut reader = transport.reader(&format!("{name}-global"))?;
        reader.assign(&from)?;
        let mut follower = Follower {
            task,
            reader,
            topic_ids,
            position: GlobalPosition::default(),
            events: Vec::new(),
        };
        for (partition, start) in &from {
            if let Start::At(next_offset) = start {
                follower.position.reach(partition.clone(), *next_offset);
            }
        }
        while !open.is_empty() {
            for (partition, at) in follower.step()? {
                if open.get(&partition).is_some_and(|end| *end <= at) {
                    open.remove(&partition);
                }
            }
        }
        tracing::info!("global stores are up to date");
        Ok(Some(Self { base, follower }))
    }

    /// What tasks read.
    pub(crate) fn base(&self) -> Globals {
        Globals(self.base.clone())
    }

    /// How far they are, now and later.
    pub(crate) fn position(&self) -> GlobalPosition {
        self.follower.position.clone()
    }

    /// Keeps the stores up, on a thread of its own. If that fails, so does the program.
    pub(crate) fn follow(self, pool: Arc<Pool>, name: &str) -> Result<Following, RunError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let mut follower = self.follower;
        let thread = std::thread::Builder::new()
            .name(format!("{name}-global"))
            .spawn(move || {
                while !stopping.load(Ordering::Relaxed) {
                    if let Err(error) = follower.step() {
                        tracing::error!("the global stores cannot be kept up: {error}");
                        return pool.fail(error);
                    }
                }
            });
        let thread = Some(thread.map_err(|error| RunError::Thread(error.to_string()))?);
        Ok(Following { stop, thread })
    }
}

impl Following {
    /// Ends the thread and waits for it.
    pub(crate) fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        if matches!(joined, Some(Err(_))) {
            tracing::error!("the thread of the global stores panicked");
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Follower {
    /// Applies what arrives, and tells up to which offsets.
    fn step(&mut self) -> Result<Vec<(TopicPartition, i64)>, RunError> {
        let mut events = std::mem::take(&mut self.events);
        self.reader.poll(BATCH_RECORDS, WAIT, &mut events)?;
        let mut reached = Vec::new();
        for event in events.drain(..) {
            match event {
                Event::Records(batch) => {
                    let partition = batch.partition;
                    let records: Vec<RawRecord> = batch.records.into_iter().map(raw).collect();
                    let Some(last) = records.last() else { continue };
                    let next_offset = last.offset + 1;
                    let position = ChangelogPosition {
                        topic_id: self.topic_ids.get(&*partition.topic).copied().unwrap_or_default(),
                        next_offset,
                        committed_at: now(),
                    };
                    let applied = self
                        .task
                        .apply(&partition.topic, partition.partition, &records, position);
                    applied.map_err(failed)?;
                    reached.push((partition, next_offset));
                }
                Event::CaughtUp { partition, end } => reached.push((partition, end)),
                Event::Assigned(_) | Event::Revoking(_) | Event::Lost(_) => {}
            }
        }
        self.events = events;
        for (partition, next_offset) in &reached {
            self.position.reach(partition.clone(), *next_offset);
        }
        Ok(reached)
    }
}

fn topic_ids(topology: &Topology, transport: &dyn Transport) -> Result<BTreeMap<String, TopicId>, RunError> {
    let stores = topology.global_stores();
    let topics: Vec<&str> = stores.iter().map(|store| store.topic.as_str()).collect();
    let found = transport.describe(&topics)?;
    let id = |(topic, found): (&&str, Option<tidemill_client::TopicDescription>)| {
        let id = found.and_then(|found| found.id)?;
        Some(((*topic).to_owned(), TopicId(id)))
    };
    Ok(topics.iter().zip(found).filter_map(id).collect())
}

type Places = (Vec<(TopicPartition, Start)>, BTreeMap<TopicPartition, i64>);

/// Where reading begins, and the ends of the partitions that have records before it may stop.
fn places(
    task: &mut GlobalTask,
    transport: &dyn Transport,
    topic_ids: &BTreeMap<String, TopicId>,
    delete_retention: Duration,
) -> Result<Places, RunError> {
    let inputs = task.inputs();
    let at = |input: &GlobalInput| TopicPartition::new(input.topic.as_str(), input.partition);
    let mut partitions: Vec<TopicPartition> = inputs.iter().map(at).collect();
    partitions.sort();
    partitions.dedup();
    let starts = transport.start_offsets(&partitions)?;
    let ends = transport.end_offsets(&partitions)?;
    let mut from: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    let mut rebuilt: BTreeMap<&str, String> = BTreeMap::new();
    let mut extents: BTreeMap<TopicPartition, Extent> = BTreeMap::new();
    for ((partition, start), end) in partitions.iter().zip(starts).zip(ends) {
        let topic_id = topic_ids.get(&*partition.topic).copied().unwrap_or_default();
        extents.insert(partition.clone(), Extent { topic_id, start, end });
    }
    for input in &inputs {
        let partition = at(input);
        let Some(extent) = extents.get(&partition) else {
            continue;
        };
        let begin = match decide(input.position, *extent, now(), delete_retention) {
            Decision::Current => input.position.map_or(extent.end, |position| position.next_offset),
            Decision::Continue(at) => at,
            Decision::Rebuild(reason) => {
                rebuilt.insert(&input.topic, reason);
                extent.start
            }
        };
        // Two stores of one topic: what one has already, it takes again.
        let known = from.entry(partition).or_insert(begin);
        *known = begin.min(*known);
    }
    for (topic, reason) in rebuilt {
        tracing::warn!("the global store of {topic} is rebuilt: {reason}");
        task.reset(topic).map_err(failed)?;
        for (partition, begin) in &mut from {
            if *partition.topic == *topic {
                *begin = extents.get(partition).map_or(*begin, |extent| extent.start);
            }
        }
    }
    let open = from
        .iter()
        .filter_map(|(partition, begin)| {
            let end = extents.get(partition)?.end;
            (*begin < end).then(|| (partition.clone(), end))
        })
        .collect();
    let from = from
        .into_iter()
        .map(|(partition, begin)| (partition, Start::At(begin)));
    Ok((from.collect(), open))
}

fn failed(error: TaskError) -> RunError {
    RunError::Task {
        task: "global".to_owned(),
        error,
    }
}
