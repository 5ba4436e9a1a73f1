//! `GlobalTask`: the global stores of an instance, kept up with their topics.
//!
//! There is one per instance. It reads all partitions of the topics of global tables and stores; what it has applied, all tasks of
//! the instance see at once, since they read its database. A store's topic is its changelog: after a restart reading
//! goes on where the database stands.

use std::sync::Arc;

use tidemill_data::BoxError;
use tidemill_store::{
    ByteStore, ChangelogPosition, ChangelogRecord, StateStores, StoreId, StoreKind, StoreOptions, StoreSpec,
};

use crate::{
    Failure, Policy, RawRecord, SourceRecord, Step, StoreReader, TaskError, Topology,
    graph::{GlobalCheck, GlobalDecl, GlobalFill, NodeId},
    processor::{Fault, FillGlobal, Met},
};

/// One partition that a global task reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalInput {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The store it goes to.
    pub store: String,
    /// How far the store contains it; `None` for one that has to be read from the start.
    pub position: Option<ChangelogPosition>,
}

/// The global stores of an instance.
pub struct GlobalTask {
    topology: Arc<Topology>,
    stores: StateStores,
    inputs: Vec<Input>,
    failures: Vec<Failure>,
}

struct Input {
    // The place of its table among the topology's global ones, and of its rows among the stores.
    table: usize,
    topic: String,
    partition: i32,
    // Whose metadata tell how far this partition was read: the rows' own store for the first partition, an empty one
    // for each further.
    progress: StoreId,
}

impl GlobalTask {
    /// The families that the database of this topology's global stores has, when its topics have these numbers of
    /// partitions.
    #[must_use]
    pub fn families(topology: &Topology, partitions: &dyn Fn(&str) -> i32) -> Vec<String> {
        let (specs, _) = layout(topology, partitions);
        specs.into_iter().map(|spec| spec.name).collect()
    }

    /// Opens the global stores over a database with these [`families`](Self::families).
    ///
    /// # Errors
    /// When the database lacks a family or cannot be read.
    pub fn new(
        topology: Arc<Topology>,
        base: Arc<dyn ByteStore>,
        partitions: &dyn Fn(&str) -> i32,
    ) -> Result<Self, TaskError> {
        let (specs, inputs) = layout(&topology, partitions);
        // Rows lie in the database as soon as they are applied; here nothing looks them up.
        let stores = StateStores::open(
            base,
            &specs,
            &StoreOptions {
                cache_bytes_max: 0,
                ..StoreOptions::default()
            },
        )?;
        Ok(Self {
            topology,
            stores,
            inputs,
            failures: Vec::new(),
        })
    }

    /// What it reads, and from where.
    #[must_use]
    pub fn inputs(&self) -> Vec<GlobalInput> {
        let global = |input: &Input| GlobalInput {
            topic: input.topic.clone(),
            partition: input.partition,
            store: self.store_name(input.table),
            position: self.stores.position(input.progress),
        };
        self.inputs.iter().map(global).collect()
    }

    fn store_name(&self, table: usize) -> String {
        let decl = self.topology.globals.get(table);
        let store = decl.and_then(|decl| self.topology.stores.get(decl.store.0));
        store.map_or_else(String::new, |store| store.spec.name.clone())
    }

    /// Writes records of a partition, in the order of their offsets, with the position after them. From then on tasks
    /// see them.
    ///
    /// # Errors
    /// When a record cannot be read and the policy is to fail, when the topic is no global table's, or when the database
    /// cannot be written.
    pub fn apply(
        &mut self,
        topic: &str,
        partition: i32,
        records: &[RawRecord],
        position: ChangelogPosition,
    ) -> Result<(), TaskError> {
        let matching = |input: &&Input| input.topic == topic && input.partition == partition;
        let targets: Vec<(usize, StoreId)> = self
            .inputs
            .iter()
            .filter(matching)
            .map(|input| (input.table, input.progress))
            .collect();
        if targets.is_empty() {
            return Err(TaskError::NotAnInput {
                task: "global".to_owned(),
                topic: topic.to_owned(),
            });
        }
        for (table, progress) in targets {
            let Some(decl) = self.topology.globals.get(table).cloned() else {
                continue;
            };
            let rows = StoreId::new(table);
            // First the rows: a crash before the position of a further partition repeats records that are rows, which
            // changes nothing.
            let mut positions = Vec::with_capacity(2);
            if progress != rows {
                let own = self.stores.position(rows).unwrap_or(ChangelogPosition {
                    next_offset: 0,
                    ..position
                });
                positions.push((rows, own));
            }
            positions.push((progress, position));
            match &decl.fill {
                GlobalFill::Rows(check) => {
                    let readable = self.readable(&decl, &**check, (topic, partition), records)?;
                    for (store, position) in positions {
                        let records = if store == rows { readable.as_slice() } else { &[] };
                        self.stores.restore(store, records, position)?;
                    }
                }
                GlobalFill::Made(fill) => {
                    let made = self.make(
                        &decl,
                        &**fill,
                        (topic, partition),
                        (records, position),
                        (rows, progress),
                    );
                    let made = made.and_then(|()| Ok(self.stores.commit(&positions)?));
                    if made.is_err() {
                        self.stores.discard();
                    }
                    made?;
                }
            }
        }
        Ok(())
    }

    /// Sends records through the function that makes rows of them. What the store has seen already is left out: where
    /// two stores read one topic, the one that is behind says from where.
    fn make(
        &mut self,
        decl: &GlobalDecl,
        fill: &dyn FillGlobal,
        (topic, partition): (&str, i32),
        (records, position): (&[RawRecord], ChangelogPosition),
        (rows, progress): (StoreId, StoreId),
    ) -> Result<(), TaskError> {
        let known = self.stores.position(progress);
        let known = known.filter(|known| known.topic_id == position.topic_id);
        let extract = self.topology.topics.get(decl.topic.position());
        let extract = extract.and_then(|topic| topic.input.extract.clone());
        for record in records {
            if known.is_some_and(|known| record.offset < known.next_offset) {
                continue;
            }
            let timestamp = extract
                .as_ref()
                .map_or(record.timestamp, |extract| extract.timestamp(record));
            let met = Met {
                topic,
                partition,
                record,
                timestamp,
            };
            let refusal = extract.as_ref().and_then(|extract| extract.refusal(record));
            let filled = match refusal {
                Some(error) => Err(Fault::Record(Step::Decode, error)),
                None => fill.fill(self.stores.timestamped(rows), met),
            };
            match filled {
                Ok(()) => {}
                Err(Fault::Store(halt)) => return Err(*halt.0),
                Err(Fault::Record(step, error)) => {
                    let operator = match step {
                        Step::Decode => decl.source,
                        _ => decl.node,
                    };
                    let failure = self.failure(operator, step, error, (topic, partition, record));
                    self.failed(decl.node, failure)?;
                }
            }
        }
        Ok(())
    }

    fn failure(
        &self,
        operator: NodeId,
        step: Step,
        error: BoxError,
        (topic, partition, record): (&str, i32, &RawRecord),
    ) -> Failure {
        Failure {
            operator: self.topology.node_name(operator).to_owned(),
            step,
            error,
            source_record: Some(Box::new(SourceRecord {
                topic: topic.to_owned(),
                partition,
                record: record.clone(),
            })),
        }
    }

    /// The records that are rows or deletes; what cannot be read is dealt with by the policy.
    fn readable<'a>(
        &mut self,
        decl: &GlobalDecl,
        check: &dyn GlobalCheck,
        (topic, partition): (&str, i32),
        records: &'a [RawRecord],
    ) -> Result<Vec<ChangelogRecord<'a>>, TaskError> {
        let mut readable = Vec::with_capacity(records.len());
        for record in records {
            let Some(key) = record.key.as_deref() else {
                continue;
            };
            match check.check(record) {
                Ok(()) => readable.push(ChangelogRecord {
                    key,
                    value: record.value.as_deref(),
                    timestamp: record.timestamp,
                    headers: &record.headers,
                }),
                Err(error) => {
                    let failure = self.failure(decl.source, Step::Decode, error, (topic, partition, record));
                    self.failed(decl.node, failure)?;
                }
            }
        }
        Ok(readable)
    }

    /// A global task writes no topics, so a dead-letter policy skips, too.
    fn failed(&mut self, node: NodeId, failure: Failure) -> Result<(), TaskError> {
        if *self.topology.policy_of(node) == Policy::Fail {
            return Err(TaskError::Failed(failure));
        }
        tracing::warn!(operator = failure.operator, error = %failure.error, "a record of a global table was skipped");
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(failure);
        }
        Ok(())
    }

    /// Reads the global stores.
    pub fn reader(&mut self) -> StoreReader<'_> {
        StoreReader::of_globals(&self.topology, &mut self.stores)
    }

    /// The records that were skipped since this was last asked.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    /// Empties the store of a topic that cannot be continued; all its partitions are then to be read from the start.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn reset(&mut self, topic: &str) -> Result<(), TaskError> {
        let inputs = self.inputs.iter().filter(|input| input.topic == topic);
        let ids: Vec<StoreId> = inputs
            .flat_map(|input| [StoreId::new(input.table), input.progress])
            .collect();
        for id in ids {
            self.stores.reset(id)?;
        }
        Ok(())
    }
}

/// Skipped records kept until they are asked for; more only count in the log.
const FAILURES_MAX: usize = 1_000;

/// The stores: first the rows of each table, as tasks open them too, then an empty one for each further partition.
fn layout(topology: &Topology, partitions: &dyn Fn(&str) -> i32) -> (Vec<StoreSpec>, Vec<Input>) {
    let mut specs = topology.global_specs();
    let mut inputs = Vec::new();
    let rows: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    for (table, (decl, name)) in topology.globals.iter().zip(&rows).enumerate() {
        let topic = topology.topic_name(decl.topic);
        for partition in 0..partitions(&topic) {
            let progress = if partition == 0 {
                StoreId::new(table)
            } else {
                let name = format!("{name}-progress-{partition}");
                specs.push(StoreSpec::new(name, StoreKind::KeyValue));
                StoreId::new(specs.len() - 1)
            };
            inputs.push(Input {
                table,
                topic: topic.clone(),
                partition,
                progress,
            });
        }
    }
    (specs, inputs)
}

#[cfg(test)]
mod tests;
