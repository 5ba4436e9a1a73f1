//! The producer of the cluster in memory: a record sent is a record written.

use std::sync::Arc;

use bytes::Bytes;

use super::MemoryCluster;
use super::log::TransactionNumber;
use crate::{Outgoing, Record, TopicPartition, TransportError, Writer, WriterTopic};

pub(super) struct MemoryWriter {
    cluster: MemoryCluster,
    topics: Vec<Arc<str>>,
    // The first loss since the last flush or poll; outcomes are told late, as by a real producer.
    lost: Option<TransportError>,
    // The transaction that what is sent belongs to.
    pub(super) within: Option<TransactionNumber>,
}

impl MemoryWriter {
    pub(super) fn new(cluster: MemoryCluster) -> Self {
        Self {
            cluster,
            topics: Vec::new(),
            lost: None,
            within: None,
        }
    }
}

impl Writer for MemoryWriter {
    fn topic(&mut self, name: &str) -> Result<WriterTopic, TransportError> {
        let at = self
            .topics
            .iter()
            .position(|known| **known == *name)
            .unwrap_or_else(|| {
                self.topics.push(name.into());
                self.topics.len() - 1
            });
        Ok(WriterTopic(at))
    }

    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<(), TransportError> {
        let mut state = self.cluster.shared.lock();
        for record in records {
            let topic = self
                .topics
                .get(record.topic.0)
                .expect("topics come from this writer");
            let to = TopicPartition::new(topic.clone(), record.partition);
            if let Some(left) = state.failing_sends.get_mut(&**topic).filter(|left| **left > 0) {
                *left -= 1;
                let lost = TransportError::Delivery {
                    partition: to,
                    reason: "injected failure".into(),
                };
                self.lost.get_or_insert(lost);
                continue;
            }
            let written = Record {
                offset: 0,
                timestamp: record.timestamp,
                key: record.key.map(Bytes::copy_from_slice),
                value: record.value.map(Bytes::copy_from_slice),
                headers: record.headers.clone(),
            };
            state.logs.append(&to, written, self.within)?;
        }
        drop(state);
        self.cluster.shared.changed.notify_all();
        Ok(())
    }

    fn poll(&mut self) -> Result<(), TransportError> {
        self.lost.take().map_or(Ok(()), Err)
    }

    fn flush(&mut self) -> Result<(), TransportError> {
        self.poll()
    }
}
