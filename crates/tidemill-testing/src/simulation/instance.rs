//! One instance, and the world it shares with the others.

use std::{collections::BTreeMap, sync::Arc, task::Waker};

use tidemill_data::Timestamp;
use tidemill_store::{ByteStore, MemoryByteStore};
use tidemill_streams::{
    Commit, OutputTopic, Outputs, PartitionChoice, RawRecord, Task, TaskConfig, TaskId, Topology,
};

use super::Guarantee;
use crate::{
    TestError,
    cluster::Cluster,
    patience::Patience,
    restore::{end, restore},
};

/// What instances share: the cluster and the clock.
pub(super) struct World {
    topology: Arc<Topology>,
    pub(super) cluster: Cluster,
    guarantee: Guarantee,
    pub(super) now: Timestamp,
    committed: BTreeMap<(String, i32), (i64, String)>,
}

impl World {
    pub(super) fn new(topology: Arc<Topology>, cluster: Cluster, guarantee: Guarantee) -> Self {
        Self {
            topology,
            cluster,
            guarantee,
            now: Timestamp::default(),
            committed: BTreeMap::new(),
        }
    }

    /// How far an input is committed.
    fn next_of(&self, topic: &str, partition: i32) -> i64 {
        let known = self.committed.get(&(topic.to_owned(), partition));
        known.map_or(0, |(next, _)| *next)
    }

    /// All tasks of the program.
    pub(super) fn tasks(&self) -> Vec<TaskId> {
        let mut tasks = Vec::new();
        for (subtopology, part) in self.topology.subtopologies().iter().enumerate() {
            let internal = part.repartition_sources.iter().map(|topic| &topic.name);
            let inputs = part.source_topics.iter().chain(internal);
            let most = inputs
                .map(|topic| self.cluster.partitions(topic))
                .max()
                .unwrap_or(0);
            tasks.extend((0..most).map(|partition| TaskId {
                subtopology,
                partition,
            }));
        }
        tasks
    }
}

type Written = (String, PartitionChoice, RawRecord);

/// One instance: its tasks, and its disk, which outlives it.
pub(super) struct Instance {
    alive: bool,
    tasks: BTreeMap<TaskId, Working>,
    disk: BTreeMap<TaskId, Arc<dyn ByteStore>>,
    // What its open transaction holds.
    pending: Vec<Written>,
}

struct Working {
    task: Task,
    // By input: the offset of the next record to hand over.
    next: BTreeMap<String, usize>,
}

impl Instance {
    pub(super) fn new(_number: usize) -> Self {
        Self {
            alive: true,
            tasks: BTreeMap::new(),
            disk: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive
    }

    pub(super) fn come_back(&mut self) {
        self.alive = true;
    }

    /// Everything but the disk is gone.
    pub(super) fn die(&mut self) {
        self.alive = false;
        self.give_up();
    }

    pub(super) fn give_up(&mut self) {
        self.tasks.clear();
        self.pending.clear();
    }

    pub(super) fn tasks(&mut self) -> impl Iterator<Item = &mut Task> {
        self.tasks.values_mut().map(|working| &mut working.task)
    }

    /// Opens a task on this instance's disk, restores it, and begins where the last commit was.
    pub(super) fn take_up(&mut self, world: &mut World, id: TaskId) -> Result<(), TestError> {
        let stores = world.topology.subtopologies().get(id.subtopology);
        let stores = stores.map_or(&[][..], |part| &part.stores);
        let base = self
            .disk
            .entry(id)
            .or_insert_with(|| Arc::new(MemoryByteStore::new(stores)));
        let (topology, config) = (Arc::clone(&world.topology), TaskConfig::default());
        let mut task = Task::new(topology, id, Arc::clone(base), &config, world.now)?;
        restore(&world.cluster, &mut task, |input| {
            world.next_of(input, id.partition)
        })?;
        let mut next = BTreeMap::new();
        for topic in task.inputs() {
            let committed = world.committed.get(&(topic.clone(), id.partition));
            let (from, metadata) = committed.map_or((0, ""), |(from, metadata)| (*from, metadata.as_str()));
            let _ = metadata.is_empty() || task.resume(metadata);
            next.insert(topic, usize::try_from(from).unwrap_or(0));
        }
        self.tasks.insert(id, Working { task, next });
        Ok(())
    }

    /// Lets one of its tasks take up some records; which, the caller's number decides.
    pub(super) fn work(
        &mut self,
        world: &mut World,
        choice: usize,
        records_max: usize,
    ) -> Result<Option<(TaskId, usize)>, TestError> {
        let Some(at) = choice.checked_rem(self.tasks.len()) else {
            return Ok(None);
        };
        let Some(id) = self.tasks.keys().nth(at).copied() else {
            return Ok(None);
        };
        let done = self.work_on(world, id, records_max)?;
        Ok(Some((id, done)))
    }

    /// Lets all of its tasks take up everything there is.
    pub(super) fn work_everything(&mut self, world: &mut World) -> Result<usize, TestError> {
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        let mut done = 0;
        for id in ids {
            done += self.work_on(world, id, usize::MAX)?;
        }
        Ok(done)
    }

    fn work_on(&mut self, world: &mut World, id: TaskId, records_max: usize) -> Result<usize, TestError> {
        let Some(working) = self.tasks.get_mut(&id) else {
            return Ok(0);
        };
        let mut outputs = Outputs::new();
        for (topic, next) in &mut working.next {
            let there = world.cluster.records(topic, id.partition);
            let new = there.iter().skip(*next).take(records_max);
            let new: Vec<RawRecord> = new.cloned().collect();
            *next += new.len();
            working.task.enqueue(topic, new)?;
        }
        working.task.punctuate_wall(world.now, &mut outputs)?;
        let done = working
            .task
            .process(records_max, world.now, &mut outputs)?
            .records;
        let mut patience = Patience::default();
        let mut written = outputs.byte_len();
        while working.task.poll_calls(world.now, Waker::noop(), &mut outputs)? {
            let before = std::mem::replace(&mut written, outputs.byte_len());
            patience.polled(std::iter::once(&working.task), written != before)?;
        }
        self.write(world, &outputs);
        Ok(done)
    }

    fn write(&mut self, world: &mut World, outputs: &Outputs) {
        for output in outputs.iter() {
            let topic = match output.topic {
                OutputTopic::Known(at) => world.topology.topic_name(at),
                OutputTopic::Named(name) => name.to_owned(),
            };
            let record = world.cluster.owned(&output);
            match world.guarantee {
                Guarantee::AtLeastOnce => {
                    world.cluster.append(&topic, output.partition, record);
                }
                Guarantee::ExactlyOnce => self.pending.push((topic, output.partition, record)),
            }
        }
    }

    /// Writes the changelogs of all tasks. In a transaction they stay out of sight.
    pub(super) fn write_changelogs(&mut self, world: &mut World) {
        self.prepare(world);
    }

    fn prepare(&mut self, world: &mut World) -> Vec<(TaskId, Commit)> {
        let mut outputs = Outputs::new();
        let idle = self
            .tasks
            .values()
            .all(|working| working.task.calls_in_flight() == 0);
        let mut commits = Vec::new();
        // With calls in flight there is nothing to commit yet.
        for (id, working) in self.tasks.iter().filter(|_| idle) {
            commits.push((*id, working.task.prepare_commit(&mut outputs)));
        }
        self.write(world, &outputs);
        commits
    }

    /// Commits on the cluster, and dies before its stores hear of it.
    pub(super) fn commit_without_stores(&mut self, world: &mut World) -> Result<(), TestError> {
        self.commit_on_cluster(world);
        Ok(())
    }

    fn commit_on_cluster(&mut self, world: &mut World) -> Vec<TaskId> {
        let commits = self.prepare(world);
        if commits.is_empty() {
            return Vec::new();
        }
        for (topic, partition, record) in self.pending.drain(..) {
            world.cluster.append(&topic, partition, record);
        }
        let mut ids = Vec::new();
        for (id, commit) in commits {
            for (topic, next) in commit.offsets {
                let metadata = commit.metadata.clone();
                world.committed.insert((topic, id.partition), (next, metadata));
            }
            ids.push(id);
        }
        ids
    }

    pub(super) fn commit(&mut self, world: &mut World) -> Result<(), TestError> {
        for id in self.commit_on_cluster(world) {
            if let Some(Working { task, .. }) = self.tasks.get_mut(&id) {
                let changelogs = task.changelogs().into_iter();
                let ends = changelogs.map(|log| {
                    let committed = |input: &str| world.next_of(input, id.partition);
                    let end = end(&world.cluster, &log, id.partition, committed);
                    (log.topic, end)
                });
                task.committed(&ends.collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }
}
