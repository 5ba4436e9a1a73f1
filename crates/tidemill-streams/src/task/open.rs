//! A task made: its stores opened, its operators' state made, its schedules started.

use std::sync::Arc;

use tidemill_data::Timestamp;
use tidemill_store::{ByteStore, StateStores, StoreOptions};

use super::{Globals, LoggedStore, Task, TaskConfig, TaskId};
use crate::{
    Outputs, TaskError, TopicRole, Topology, calls::Calls, clocks::Clocks, context::Context,
    punctuation::Schedules, queues::Queues,
};

/// How much of the topology a task runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// One subtopology; repartition topics are on the cluster, also those that the subtopology reads itself.
    Part,
    /// All subtopologies, with the repartition topics inside the task.
    Whole,
}

impl Extent {
    /// By the position of a topic: whether what is written to it stays in the task.
    fn loops(self, topology: &Topology) -> Vec<bool> {
        let topics = topology.topics.iter();
        topics
            .map(|topic| self == Self::Whole && topic.role != TopicRole::External)
            .collect()
    }
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
        let changelogs = logged(&topology, &stores, parts);
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
        let loops = extent.loops(&topology);
        let punctuated = topology.punctuated.iter();
        let starts: Vec<_> = punctuated.filter(|(node, _)| runs(*node)).cloned().collect();
        let ordering = topology.ordering.iter().filter(|node| runs(**node)).count();
        let mut ctx = Context {
            partition: id.partition,
            stores,
            store_ids,
            globals: open_globals(&topology, config)?,
            slots,
            schedules: Schedules::default(),
            calls: Calls::new(topology.calling.len()),
            outputs: Outputs::new(),
            current: None,
            attempt: None,
            config: config.clone(),
            clocks: Clocks::new(topology.clocks.len()),
            wall_time: now,
            epoch: 0,
            order_bytes: 0,
            order_bytes_max: config.order_bytes_max.unwrap_or(ORDER_BYTES_MAX) / ordering.max(1),
            dropped: 0,
            reached: vec![0; topology.nodes.len()],
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
            committed_clocks: ctx.clocks.clone(),
            ctx,
            queues: Queues::new(inputs.len()),
            uncommitted: vec![None; inputs.len()],
            reached: super::position::Reached::default(),
            inputs,
            changelogs,
        })
    }
}

/// What the orders of all operators take at most, unless the runtime says: at 100 bytes a row, 160,000 of them.
const ORDER_BYTES_MAX: usize = 16 << 20;

/// The stores of these subtopologies that are restored from a topic.
fn logged(topology: &Topology, stores: &StateStores, parts: &[usize]) -> Vec<LoggedStore> {
    let chosen = || {
        parts
            .iter()
            .filter_map(|part| topology.subtopologies().get(*part))
    };
    let own = chosen().flat_map(|part| &part.changelogs).filter_map(|topic| {
        Some(LoggedStore {
            id: stores.find(topic.store.as_deref()?)?,
            topic: topic.name.clone(),
            input: None,
        })
    });
    let filled = chosen().flat_map(|part| &part.read_only).filter_map(|filled| {
        let (index, _) = topology.store(&filled.store)?;
        Some(LoggedStore {
            id: stores.find(&filled.store)?,
            topic: filled.topic.clone(),
            input: topology.filled_from(index).cloned(),
        })
    });
    own.chain(filled).collect()
}

/// The global stores as tasks see them: what the global task has committed, with nothing cached.
fn open_globals(topology: &Topology, config: &TaskConfig) -> Result<Option<StateStores>, TaskError> {
    if topology.globals.is_empty() {
        return Ok(None);
    }
    let Globals(base) = config.globals.clone().ok_or(TaskError::NoGlobals)?;
    let options = StoreOptions {
        cache_bytes_max: 0,
        ..StoreOptions::default()
    };
    Ok(Some(StateStores::open(base, &topology.global_specs(), &options)?))
}
