//! `Task`: one or more subtopologies for one partition, as a state machine.
//!
//! Records and times go in; records to write come out. A commit is two steps: [`Task::prepare_commit`] says what has to
//! be written and which offsets it covers, and after the caller has written that, [`Task::committed`] makes the state
//! durable in one atomic write.

use std::{fmt, sync::Arc};

use tidemill_data::{Headers, Place, Stamped, StoreName, Timestamp};
use tidemill_store::{
    ByteStore, ChangelogPosition, ChangelogRecord, Direction, StateStores, StoreId, StoreKind, StoreOptions,
};

use crate::{
    Failure, Outputs, RawRecord, TaskError, TopicRole, Topology,
    context::{Context, Current},
    failure::Halt,
    outputs::{OutputRecord, OutputTopic, PartitionChoice},
    punctuation::{Clock, Schedules},
    queues::Queues,
};

/// Which task: a subtopology and a partition. Written `0_1`, as Kafka Streams does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The position of the subtopology in the topology.
    pub subtopology: usize,
    /// The partition of its topics.
    pub partition: i32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.subtopology, self.partition)
    }
}

/// How a task runs.
#[derive(Clone, Debug, Default)]
pub struct TaskConfig {
    /// How its stores are opened.
    pub stores: StoreOptions,
}

/// The changelog of one of a task's stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changelog {
    /// The store.
    pub store: String,
    /// The topic, by its name on the cluster.
    pub topic: String,
    /// How far the store contains it; `None` for a store that has to be restored from the start.
    pub position: Option<ChangelogPosition>,
}

/// What a commit covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// For each input topic that was read since the last commit, the offset of the next record.
    pub offsets: Vec<(String, i64)>,
}

/// What processing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processed {
    /// How many records were taken up.
    pub records: usize,
    /// Whether the caller should commit, because the state's overlay or the outputs have grown large.
    pub full: bool,
}

/// State written since the last commit, above which a task asks for one.
const DIRTY_BYTES_MAX: usize = 64 << 20;

/// Outputs above which `process` returns early, so that they can be sent.
const OUTPUT_BYTES_MAX: usize = 8 << 20;

/// How much of the topology a task runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// One subtopology; repartition topics are on the cluster, also those that the subtopology reads itself.
    Part,
    /// All subtopologies, with the repartition topics inside the task.
    Whole,
}

/// One or more subtopologies for one partition.
pub struct Task {
    id: TaskId,
    ctx: Context,
    queues: Queues,
    inputs: Vec<bool>,
    // By topic: the offset after the last record taken up, if that is not committed.
    uncommitted: Vec<Option<i64>>,
    changelogs: Vec<(StoreId, String)>,
}

impl Task {
    /// A task of one subtopology. Its database has the families of [`Topology::store_specs`].
    ///
    /// # Errors
    /// When the database lacks a family or cannot be read.
    pub fn new(
        topology: Arc<Topology>,
        id: TaskId,
        base: Arc<dyn ByteStore>,
        config: &TaskConfig,
        now: Timestamp,
    ) -> Result<Self, TaskError> {
        Self::open(topology, id, Extent::Part, base, config, now)
    }

    /// All subtopologies as one task, whose repartition topics loop inside it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn whole(
        topology: Arc<Topology>,
        partition: i32,
        base: Arc<dyn ByteStore>,
        config: &TaskConfig,
        now: Timestamp,
    ) -> Result<Self, TaskError> {
        Self::open(
            topology,
            TaskId {
                subtopology: 0,
                partition,
            },
            Extent::Whole,
            base,
            config,
            now,
        )
    }

    fn open(
        topology: Arc<Topology>,
        id: TaskId,
        extent: Extent,
        base: Arc<dyn ByteStore>,
        config: &TaskConfig,
        now: Timestamp,
    ) -> Result<Self, TaskError> {
        let parts: &[usize] = &match extent {
            Extent::Part => vec![id.subtopology],
            Extent::Whole => (0..topology.subtopologies().len()).collect(),
        };
        let stores = StateStores::open(base, &topology.store_specs(parts), &config.stores)?;
        let all = topology.stores.iter();
        let store_ids = all.map(|store| stores.find(&store.spec.name)).collect();
        let chosen = || {
            parts
                .iter()
                .filter_map(|part| topology.subtopologies().get(*part))
        };
        let changelogs = chosen()
            .flat_map(|part| &part.changelogs)
            .filter_map(|topic| Some((stores.find(topic.store.as_deref()?)?, topic.name.clone())))
            .collect();
        let runs = |node| chosen().any(|part| part.nodes.contains(&node));
        let slots = topology
            .slots
            .iter()
            .map(|(node, make)| runs(*node).then(|| make()))
            .collect();
        let inputs: Vec<bool> = topology
            .topics()
            .iter()
            .map(|name| chosen().any(|part| part.reads(name)))
            .collect();
        let internal = topology
            .topics
            .iter()
            .map(|topic| topic.role != TopicRole::External);
        let loops = internal
            .map(|internal| internal && extent == Extent::Whole)
            .collect();
        let topics = inputs.len();
        let punctuated = topology.punctuated.iter();
        let starts: Vec<_> = punctuated.filter(|(node, _)| runs(*node)).cloned().collect();
        let mut ctx = Context {
            partition: id.partition,
            stores,
            store_ids,
            slots,
            schedules: Schedules::default(),
            outputs: Outputs::new(),
            current: None,
            stream_time: Timestamp::MIN,
            wall_time: now,
            dropped: 0,
            failures: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            loops,
            looped: Vec::new(),
            topology,
        };
        for (_, punctuated) in starts {
            punctuated.start(&mut ctx);
        }
        Ok(Self {
            id,
            ctx,
            queues: Queues::new(topics),
            inputs,
            uncommitted: vec![None; topics],
            changelogs,
        })
    }

    /// Which task this is.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The topology it runs.
    #[must_use]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.ctx.topology
    }

    /// The topics it reads, by their names on the cluster.
    #[must_use]
    pub fn inputs(&self) -> Vec<String> {
        let names = self.ctx.topology.topics().iter().zip(&self.inputs);
        names
            .filter(|(_, reads)| **reads)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Whether it reads this topic.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        self.input(topic).is_some()
    }

    fn input(&self, topic: &str) -> Option<crate::TopicIndex> {
        let found = self.ctx.topology.topic(topic);
        found.filter(|at| self.inputs.get(at.position()) == Some(&true))
    }

    /// The changelogs of its stores, and how far the stores contain them.
    #[must_use]
    pub fn changelogs(&self) -> Vec<Changelog> {
        let stores = &self.ctx.stores;
        let changelogs = self.changelogs.iter().filter_map(|(id, topic)| {
            let store = self.ctx.topology.stores.iter().map(|store| &store.spec.name);
            let store = store
                .into_iter()
                .find(|name| stores.find(name) == Some(*id))?
                .clone();
            Some(Changelog {
                store,
                topic: topic.clone(),
                position: stores.position(*id),
            })
        });
        changelogs.collect()
    }

    /// Writes records read from a store's changelog to the store, with the position after them.
    ///
    /// # Errors
    /// When a record is none of this store's, or the database cannot be written.
    pub fn restore(
        &mut self,
        changelog: &str,
        records: &[RawRecord],
        position: ChangelogPosition,
    ) -> Result<(), TaskError> {
        let id = self.changelog_store(changelog)?;
        let views: Vec<ChangelogRecord<'_>> = records
            .iter()
            .filter_map(|record| {
                Some(ChangelogRecord {
                    key: record.key.as_deref()?,
                    value: record.value.as_deref(),
                    timestamp: record.timestamp,
                    headers: &record.headers,
                })
            })
            .collect();
        Ok(self.ctx.stores.restore(id, &views, position)?)
    }

    /// Empties a store whose changelog cannot be continued, to restore it from the start.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn reset(&mut self, changelog: &str) -> Result<(), TaskError> {
        let id = self.changelog_store(changelog)?;
        Ok(self.ctx.stores.reset(id)?)
    }

    fn changelog_store(&self, changelog: &str) -> Result<StoreId, TaskError> {
        let found = self.changelogs.iter().find(|(_, topic)| topic == changelog);
        found
            .map(|(id, _)| *id)
            .ok_or_else(|| self.not_an_input(changelog))
    }

    fn not_an_input(&self, topic: &str) -> TaskError {
        TaskError::NotAnInput {
            task: self.id.to_string(),
            topic: topic.to_owned(),
        }
    }

    /// Adds records of an input topic, in the order of their offsets.
    ///
    /// # Errors
    /// When the task does not read this topic.
    pub fn enqueue(
        &mut self,
        topic: &str,
        records: impl IntoIterator<Item = RawRecord>,
    ) -> Result<(), TaskError> {
        let index = self.input(topic).ok_or_else(|| self.not_an_input(topic))?;
        for record in records {
            self.queues.push(index, record);
        }
        Ok(())
    }

    /// How many records wait, and about the bytes they take.
    #[must_use]
    pub fn buffered(&self) -> (usize, usize) {
        (self.queues.records(), self.queues.bytes())
    }

    /// How many records of one topic wait.
    #[must_use]
    pub fn buffered_of(&self, topic: &str) -> usize {
        self.ctx
            .topology
            .topic(topic)
            .map_or(0, |at| self.queues.records_of(at))
    }

    /// Takes up to `records_max` waiting records, earliest first, and appends what they led to.
    ///
    /// # Errors
    /// When a record fails and the policy is to fail, or state cannot be read. The task is then to be closed without a
    /// commit; what it appended is not to be sent.
    pub fn process(
        &mut self,
        records_max: usize,
        now: Timestamp,
        outputs: &mut Outputs,
    ) -> Result<Processed, TaskError> {
        std::mem::swap(&mut self.ctx.outputs, outputs);
        self.ctx.wall_time = now;
        let processed = self.process_some(records_max);
        std::mem::swap(&mut self.ctx.outputs, outputs);
        processed.map_err(|halt| *halt.0)
    }

    fn process_some(&mut self, records_max: usize) -> Result<Processed, Halt> {
        let mut processed = Processed::default();
        while processed.records < records_max && self.ctx.outputs.byte_len() < OUTPUT_BYTES_MAX {
            let Some((topic, record)) = self.queues.pop() else {
                break;
            };
            processed.records += 1;
            let (offset, timestamp) = (record.offset, record.timestamp);
            self.ctx.stream_time = self.ctx.stream_time.max(timestamp);
            self.ctx.current = Some(Current { topic, record });
            self.enter(topic)?;
            self.ctx.current = None;
            if !self.ctx.schedules.is_empty() {
                self.punctuate(Clock::StreamTime, self.ctx.stream_time)?;
            }
            if let Some(next) = self.uncommitted.get_mut(topic.position()) {
                *next = Some(offset + 1);
            }
            self.take_looped();
            if processed.records.is_multiple_of(256) && self.ctx.stores.dirty_bytes() > DIRTY_BYTES_MAX {
                break;
            }
        }
        processed.full = self.ctx.stores.dirty_bytes() > DIRTY_BYTES_MAX;
        Ok(processed)
    }

    fn enter(&mut self, topic: crate::TopicIndex) -> Result<(), Halt> {
        let topology = Arc::clone(&self.ctx.topology);
        let entries = topology
            .entries
            .get(topic.position())
            .map_or(&[][..], Vec::as_slice);
        for (_, entry) in entries {
            entry.enter(&mut self.ctx)?;
        }
        Ok(())
    }

    fn take_looped(&mut self) {
        for (topic, record) in self.ctx.looped.drain(..) {
            self.queues.push(topic, record);
        }
    }

    fn punctuate(&mut self, clock: Clock, now: Timestamp) -> Result<(), Halt> {
        for due in self.ctx.schedules.take_due(clock, now) {
            let topology = Arc::clone(&self.ctx.topology);
            let found = topology.punctuated.iter().find(|(node, _)| *node == due.node);
            if let Some((_, punctuated)) = found {
                punctuated.punctuate(&mut self.ctx, due.id, now)?;
            }
        }
        self.take_looped();
        Ok(())
    }

    /// Calls what is due by the wall clock, and appends what that led to.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn punctuate_wall(&mut self, now: Timestamp, outputs: &mut Outputs) -> Result<(), TaskError> {
        std::mem::swap(&mut self.ctx.outputs, outputs);
        self.ctx.wall_time = now;
        let punctuated = self.punctuate(Clock::WallClock, now);
        std::mem::swap(&mut self.ctx.outputs, outputs);
        punctuated.map_err(|halt| *halt.0)
    }

    /// When the wall clock next has something to call.
    #[must_use]
    pub fn next_punctuation(&self) -> Option<Timestamp> {
        self.ctx.schedules.next_wall_clock()
    }

    /// The largest timestamp of all records taken up.
    #[must_use]
    pub fn stream_time(&self) -> Timestamp {
        self.ctx.stream_time
    }

    /// How many records operators dropped, for a null key, a null value, lateness, or by policy.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.ctx.dropped
    }

    /// The failures that a policy dealt with since this was last asked.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.ctx.failures)
    }

    /// Bytes of state written since the last commit.
    #[must_use]
    pub fn dirty_bytes(&self) -> usize {
        self.ctx.stores.dirty_bytes()
    }

    /// Whether there is anything to commit.
    #[must_use]
    pub fn needs_commit(&self) -> bool {
        self.uncommitted.iter().any(Option::is_some) || self.ctx.stores.is_dirty()
    }

    /// What a commit has to write: one changelog record per changed key is appended, and the offsets are given. It
    /// changes nothing; [`committed`](Self::committed) does, after all of it was written.
    pub fn prepare_commit(&self, changelog: &mut Outputs) -> Commit {
        self.ctx.stores.changelog(&mut |id, record| {
            let Some((_, topic)) = self.changelogs.iter().find(|(known, _)| *known == id) else {
                return;
            };
            changelog.push(OutputRecord {
                topic: OutputTopic::Named(topic),
                partition: PartitionChoice::Fixed(self.id.partition),
                key: Some(record.key),
                value: record.value,
                timestamp: record.timestamp,
                headers: record.headers,
            });
        });
        let names = self
            .ctx
            .topology
            .topics()
            .iter()
            .zip(&self.uncommitted)
            .enumerate();
        let looped = |at: usize| self.ctx.loops.get(at) == Some(&true);
        let offsets = names
            .filter(|(at, _)| !looped(*at))
            .filter_map(|(_, (name, next))| next.map(|next| (name.clone(), next)))
            .collect();
        Commit { offsets }
    }

    /// Makes the state durable, in one atomic write, together with the changelog positions it now corresponds to.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing is.
    pub fn committed(&mut self, positions: &[(String, ChangelogPosition)]) -> Result<(), TaskError> {
        let mut ids = Vec::with_capacity(positions.len());
        for (changelog, position) in positions {
            ids.push((self.changelog_store(changelog)?, *position));
        }
        self.ctx.stores.commit(&ids)?;
        self.uncommitted.fill(None);
        Ok(())
    }

    /// Forgets everything since the last commit that is not in the database, as after an aborted transaction.
    pub fn discard(&mut self) {
        self.ctx.stores.discard();
        self.uncommitted.fill(None);
    }

    /// The stores, uncommitted writes included.
    pub fn stores(&mut self) -> &mut StateStores {
        &mut self.ctx.stores
    }

    /// One row of a table's store, uncommitted writes included; `None` also when the task has no such store.
    ///
    /// # Errors
    /// When the key cannot be encoded, the row not decoded, or the database not read.
    pub fn row<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
        key: &K,
    ) -> Result<Option<Stamped<V>>, TaskError> {
        let none = Headers::new();
        let Some((id, topic)) = self.table_store(store.name()) else {
            return Ok(None);
        };
        let state = |error| TaskError::State {
            store: store.name().to_owned(),
            error,
        };
        let mut bytes = Vec::new();
        let _ = store
            .key()
            .encode(Place::key(&topic, &none), key, &mut bytes)
            .map_err(|e| state(e.into()))?;
        let Some((value, timestamp)) = self.ctx.stores.timestamped(id).get(&bytes)? else {
            return Ok(None);
        };
        let value = store.value().decode(Place::value(&topic, &none), Some(value));
        Ok(Some(Stamped::new(value.map_err(|e| state(e.into()))?, timestamp)))
    }

    /// All rows of a table's store in the order of their keys' bytes, uncommitted writes included; none when the task
    /// has no such store.
    ///
    /// # Errors
    /// When a row cannot be decoded or the database not read.
    pub fn rows<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
    ) -> Result<Vec<(K, Stamped<V>)>, TaskError> {
        let none = Headers::new();
        let Some((id, topic)) = self.table_store(store.name()) else {
            return Ok(Vec::new());
        };
        let state = |error| TaskError::State {
            store: store.name().to_owned(),
            error,
        };
        let mut found = Vec::new();
        let mut rows = self.ctx.stores.timestamped(id).all(Direction::Forward)?;
        while let Some((key, value, timestamp)) = rows.entry() {
            let key = store
                .key()
                .decode(Place::key(&topic, &none), Some(key))
                .map_err(|e| state(e.into()))?;
            let value = store.value().decode(Place::value(&topic, &none), Some(value));
            found.push((key, Stamped::new(value.map_err(|e| state(e.into()))?, timestamp)));
            rows.advance()?;
        }
        Ok(found)
    }

    fn table_store(&self, name: &str) -> Option<(StoreId, String)> {
        let (_, decl) = self.ctx.topology.store(name)?;
        let id = self
            .ctx
            .stores
            .find(name)
            .filter(|_| decl.spec.kind == StoreKind::Timestamped)?;
        Some((id, format!("{}-{name}-changelog", self.ctx.topology.app)))
    }
}
