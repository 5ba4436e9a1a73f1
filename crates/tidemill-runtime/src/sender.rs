//! From a task's outputs to the producer: topics made known once, partitions chosen.

use std::collections::HashMap;
use std::sync::Arc;

use tidemill_client::{Outgoing, TopicSpec, Transport, TransportError, WriterTopic};
use tidemill_data::partition_for_key;
use tidemill_streams::{OutputTopic, Outputs, PartitionChoice, Topology};

use crate::plan::Plan;
use crate::producer::{Producer, Setback};

/// Records handed to the producer at once.
const BATCH_RECORDS: usize = 1024;
/// Null-key records that stay with one partition, so that batches are large.
const STICKY_RECORDS: u32 = 512;

pub(crate) struct Sender {
    transport: Arc<dyn Transport>,
    pub(crate) producer: Producer,
    // By the position of a topic in the topology.
    known: Vec<Option<Target>>,
    named: HashMap<String, Target>,
    keyless: u32,
}

#[derive(Clone, Copy)]
struct Target {
    topic: WriterTopic,
    partitions: i32,
}

impl Sender {
    pub(crate) fn new(transport: Arc<dyn Transport>, producer: Producer) -> Self {
        Self {
            transport,
            producer,
            known: Vec::new(),
            named: HashMap::new(),
            keyless: 0,
        }
    }

    /// Sends everything in `outputs`, in order.
    pub(crate) fn send(
        &mut self,
        topology: &Topology,
        plan: &Plan,
        outputs: &Outputs,
    ) -> Result<(), Setback> {
        let mut batch = Vec::with_capacity(outputs.len().min(BATCH_RECORDS));
        for record in outputs.iter() {
            let target = self.target(topology, plan, record.topic)?;
            let partition = match (record.partition, record.key) {
                (PartitionChoice::Fixed(partition), _) => partition,
                (PartitionChoice::ByKey, Some(key)) => partition_for_key(key, target.partitions),
                (PartitionChoice::ByKey, None) => self.keyless_partition(target.partitions),
            };
            batch.push(Outgoing {
                topic: target.topic,
                partition,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: record.headers,
            });
            if batch.len() == BATCH_RECORDS {
                self.producer.send(&batch)?;
                batch.clear();
            }
        }
        self.producer.send(&batch)
    }

    fn keyless_partition(&mut self, partitions: i32) -> i32 {
        self.keyless = self.keyless.wrapping_add(1);
        let turn = self.keyless / STICKY_RECORDS;
        i32::try_from(turn % partitions.unsigned_abs().max(1)).unwrap_or_default()
    }

    #[inline]
    fn target(
        &mut self,
        topology: &Topology,
        plan: &Plan,
        topic: OutputTopic<'_>,
    ) -> Result<Target, TransportError> {
        match topic {
            OutputTopic::Known(index) => {
                if let Some(Some(target)) = self.known.get(index.position()) {
                    return Ok(*target);
                }
                let target = self.look_up(&topology.topic_name(index), plan)?;
                if self.known.len() <= index.position() {
                    self.known.resize(index.position() + 1, None);
                }
                if let Some(slot) = self.known.get_mut(index.position()) {
                    *slot = Some(target);
                }
                Ok(target)
            }
            OutputTopic::Named(name) => match self.named.get(name) {
                Some(target) => Ok(*target),
                None => {
                    let target = self.look_up(name, plan)?;
                    self.named.insert(name.to_owned(), target);
                    Ok(target)
                }
            },
        }
    }

    #[cold]
    fn look_up(&mut self, name: &str, plan: &Plan) -> Result<Target, TransportError> {
        let partitions = match plan.partitions.get(name) {
            Some(partitions) => *partitions,
            None => self.partitions(name)?,
        };
        Ok(Target {
            topic: self.producer.writer().topic(name)?,
            partitions,
        })
    }

    /// Asks the cluster; a topic that is missing is created with the broker's settings.
    fn partitions(&self, name: &str) -> Result<i32, TransportError> {
        if let [Some(found)] = self.transport.describe(&[name])?.as_slice() {
            return Ok(found.partitions);
        }
        tracing::info!("creating topic {name}, which the program writes");
        self.transport.create(&[TopicSpec {
            partitions: None,
            ..TopicSpec::new(name, 1)
        }])?;
        match self.transport.describe(&[name])?.as_slice() {
            [Some(found)] => Ok(found.partitions),
            _ => Err(TransportError::UnknownPartition(
                tidemill_client::TopicPartition::new(name, 0),
            )),
        }
    }
}
