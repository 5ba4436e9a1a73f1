//! The program's own topic, `<application.id>-control`: what all of its instances, past and future ones, must know.
//!
//! | key | value |
//! |---|---|
//! | `topology` | names and stores of the program as it ran last, JSON (see `upgrade`) |
//! | `shutdown` | which thread ordered all instances to stop, and why, JSON |
//! | `owner/THREAD` | the `application.server` of the thread's instance and its tasks, JSON (see [`Owner`]) |
//!
//! One partition, compacted. An order to shut down counts for the instances that were running when it was given:
//! those that had begun before its offset. They look when partitions are assigned to them anew, which follows from the
//! leaving of whoever gave the order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_client::{
    Event, Outgoing, Start, TopicPartition, TopicSpec, Transport, TransportError, WriterTopic,
};
use tidemill_data::Headers;

use crate::error::RunError;

const TOPOLOGY: &str = "topology";
const SHUTDOWN: &str = "shutdown";
const OWNER: &str = "owner/";
/// Records read at once, and how long one wait for them lasts; the topic holds a handful.
const READ_RECORDS: usize = 1_000;
const READ_WAIT: Duration = Duration::from_millis(100);
/// Waits before the cluster is taken not to answer.
const READ_WAITS_MAX: usize = 300;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    thread: String,
    reason: String,
}

/// An instance that others may ask for rows, and some of the tasks whose stores it holds.
///
/// The group protocol of librdkafka carries nothing of our own, and a member's host is not where it answers queries. So
/// each thread says here what it was given; of two that claim a task, the later one has it, since it was assigned later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its `application.server`.
    pub server: String,
    /// Its tasks, written as in the logs: subtopology and partition.
    pub tasks: Vec<String>,
}

/// The control topic of one program.
pub(crate) struct Control {
    transport: Arc<dyn Transport>,
    at: TopicPartition,
    // Where the topic ended when this instance began.
    since: i64,
}

impl Control {
    /// Creates the topic if need be.
    pub(crate) fn open(
        transport: Arc<dyn Transport>,
        app: &str,
        replication: Option<i16>,
    ) -> Result<Self, TransportError> {
        let topic = format!("{app}-control");
        if let [None] = transport.describe(&[&topic])?.as_slice() {
            let mut spec = TopicSpec::new(&topic, 1).with("cleanup.policy", "compact");
            spec.replication = replication;
            transport.create(&[spec])?;
        }
        let at = TopicPartition::new(topic, 0);
        let since = transport.high_watermarks(std::slice::from_ref(&at))?;
        Ok(Self {
            transport,
            at,
            since: since.first().copied().unwrap_or_default(),
        })
    }

    /// Its name.
    pub(crate) fn topic(&self) -> &str {
        &self.at.topic
    }

    /// The topology recorded last.
    pub(crate) fn topology(&self) -> Result<Option<String>, TransportError> {
        Ok(self.read(Start::Earliest)?.remove(TOPOLOGY))
    }

    pub(crate) fn record_topology(&self, text: &str) -> Result<(), TransportError> {
        self.write(TOPOLOGY, text)
    }

    /// Tells all running instances to stop.
    pub(crate) fn order_shutdown(&self, thread: &str, reason: &str) -> Result<(), TransportError> {
        let order = Order {
            thread: thread.to_owned(),
            reason: reason.to_owned(),
        };
        let text = serde_json::to_string(&order).expect("two strings have a JSON form");
        self.write(SHUTDOWN, &text)
    }

    /// Looks for an order to stop.
    pub(crate) fn check(&self) -> Result<(), RunError> {
        let end = self.transport.end_offsets(std::slice::from_ref(&self.at))?;
        if end.first().is_none_or(|end| *end <= self.since) {
            return Ok(());
        }
        let Some(text) = self.read(Start::At(self.since))?.remove(SHUTDOWN) else {
            return Ok(());
        };
        let order = serde_json::from_str(&text).unwrap_or_else(|error| Order {
            thread: "another instance".to_owned(),
            reason: error.to_string(),
        });
        Err(RunError::ApplicationShutdown {
            thread: order.thread,
            reason: order.reason,
        })
    }

    /// Tells all instances what a thread of this one works on.
    pub(crate) fn announce(&self, thread: &str, owner: &Owner) -> Result<(), TransportError> {
        let text = serde_json::to_string(owner).expect("strings have a JSON form");
        self.write(&format!("{OWNER}{thread}"), &text)
    }

    /// What all threads said last, the latest first.
    pub(crate) fn owners(&self) -> Result<Vec<Owner>, TransportError> {
        let mut said: Vec<(String, Owner)> = Vec::new();
        self.scan(Start::Earliest, |key, value| {
            if !key.starts_with(OWNER) {
                return;
            }
            said.retain(|(known, _)| *known != key);
            match serde_json::from_str(&value) {
                Ok(owner) => said.push((key, owner)),
                Err(error) => tracing::warn!("{key} in the control topic cannot be read: {error}"),
            }
        })?;
        Ok(said.into_iter().rev().map(|(_, owner)| owner).collect())
    }

    fn write(&self, key: &str, value: &str) -> Result<(), TransportError> {
        let mut writer = self.transport.writer("control")?;
        let topic: WriterTopic = writer.topic(&self.at.topic)?;
        let headers = Headers::default();
        writer.send(&[Outgoing {
            topic,
            partition: self.at.partition,
            timestamp: crate::pool::now(),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &headers,
        }])?;
        writer.flush()
    }

    /// The last value of each key.
    fn read(&self, from: Start) -> Result<BTreeMap<String, String>, TransportError> {
        let mut found = BTreeMap::new();
        self.scan(from, |key, value| drop(found.insert(key, value)))?;
        Ok(found)
    }

    /// Goes through all records in order.
    fn scan(&self, from: Start, mut each: impl FnMut(String, String)) -> Result<(), TransportError> {
        let mut reader = self.transport.reader("control")?;
        reader.assign(&[(self.at.clone(), from)])?;
        let mut events = Vec::new();
        for _ in 0..READ_WAITS_MAX {
            reader.poll(READ_RECORDS, READ_WAIT, &mut events)?;
            for event in events.drain(..) {
                match event {
                    Event::Records(batch) => {
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        let rows = batch.records.iter().filter_map(|record| {
                            Some((text(record.key.as_deref()?), text(record.value.as_deref()?)))
                        });
                        rows.for_each(|(key, value)| each(key, value));
                    }
                    Event::CaughtUp { .. } => return Ok(()),
                    Event::Assigned(_) | Event::Revoking(_) | Event::Lost(_) => {}
                }
            }
        }
        Err(TransportError::Cluster {
            operation: "read the control topic",
            reason: format!("{} does not come to its end", self.at),
        })
    }
}
