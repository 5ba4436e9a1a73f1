//! The producer of the cluster in memory: a record sent is a record written.

use super::MemoryCluster;
use crate::{Outgoing, TopicPartition, TransportError, Writer};

pub(super) struct MemoryWriter {
    cluster: MemoryCluster,
    // The first loss since the last flush or poll; outcomes are told late, as by a real producer.
    lost: Option<TransportError>,
}

impl MemoryWriter {
    pub(super) fn new(cluster: MemoryCluster) -> Self {
        Self { cluster, lost: None }
    }
}

impl Writer for MemoryWriter {
    fn send(&mut self, to: &TopicPartition, records: &[Outgoing]) -> Result<(), TransportError> {
        let mut state = self.cluster.shared.lock();
        if let Some(left) = state.failing_sends.get_mut(&*to.topic).filter(|left| **left > 0) {
            *left -= 1;
            let lost = TransportError::Delivery {
                partition: to.clone(),
                reason: "injected failure".into(),
            };
            self.lost.get_or_insert(lost);
            return Ok(());
        }
        state.logs.append(to, records)?;
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
