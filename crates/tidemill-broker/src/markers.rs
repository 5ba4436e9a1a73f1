//! The ends of transactions, as partitions keep them.
//!
//! ```text
//! a control batch of one record, in the producer's name and without a sequence
//!   key    version i16 = 0 | type i16: 0 abort, 1 commit
//!   value  version i16 = 0 | coordinator epoch i32
//! ```

use std::sync::Arc;

use bytes::Bytes;
use tidemill_coordinator::{Outcome, Producer};
use tidemill_log::{AppendError, Origin};
use tidemill_protocol::batch::{BatchBuilder, ProducerStamp};
use tidemill_protocol::compression::Compression;

use crate::clock;
use crate::groups::Groups;
use crate::partition::Partition;
use crate::shared::Shared;
use crate::topics::CONSUMER_OFFSETS;

/// The epoch of every transaction coordinator here: one broker holds them all from the first record on.
pub(crate) const COORDINATOR_EPOCH: i32 = 0;

const VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// The end of a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker {
    pub(crate) producer: Producer,
    pub(crate) outcome: Outcome,
    pub(crate) coordinator_epoch: i32,
}

impl Marker {
    /// Writes the marker to `partition`, through the coordinator of groups where it decides on offsets.
    pub(crate) async fn write(
        self,
        shared: &Arc<Shared>,
        partition: &Arc<Partition>,
    ) -> Result<(), AppendError> {
        if partition.log.topic_partition().topic == CONSUMER_OFFSETS {
            Groups::of(shared).mark(partition, self).await
        } else {
            self.append_to(partition).await
        }
    }

    /// Appends the marker and nothing else.
    pub(crate) async fn append_to(self, partition: &Arc<Partition>) -> Result<(), AppendError> {
        let now = clock::now();
        let appended = partition
            .append(self.batch(now.0), Origin::Coordinator, now)
            .await;
        appended.map(drop)
    }

    fn batch(self, now: i64) -> Bytes {
        let mut key = [0; 4];
        let mut value = [0; 6];
        let kind = match self.outcome {
            Outcome::Abort => ABORT,
            Outcome::Commit => COMMIT,
        };
        put(&mut key, [&VERSION.to_be_bytes()[..], &kind.to_be_bytes()[..]]);
        put(
            &mut value,
            [
                &VERSION.to_be_bytes()[..],
                &self.coordinator_epoch.to_be_bytes()[..],
            ],
        );
        let mut batch = BatchBuilder::new(Compression::None)
            .producer(without_sequence(self.producer))
            .transactional()
            .control();
        batch.push(now, Some(&key), Some(&value), []);
        batch.build()
    }
}

fn put(out: &mut [u8], parts: [&[u8]; 2]) {
    for (place, byte) in out.iter_mut().zip(parts.into_iter().flatten()) {
        *place = *byte;
    }
}

/// The stamp of what coordinators write in a producer's name.
pub(crate) fn without_sequence(producer: Producer) -> ProducerStamp {
    ProducerStamp {
        id: producer.id.0,
        epoch: producer.epoch,
        base_sequence: -1,
    }
}

/// What a control record's key says; `None` for other control records.
pub(crate) fn outcome_of(key: &[u8]) -> Option<Outcome> {
    match i16::from_be_bytes(*key.get(2..)?.first_chunk()?) {
        ABORT => Some(Outcome::Abort),
        COMMIT => Some(Outcome::Commit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tidemill_protocol::batch::Batch;

    use super::*;

    #[test]
    fn a_marker_says_what_it_is() {
        for (outcome, key) in [(Outcome::Abort, *b"\0\0\0\0"), (Outcome::Commit, *b"\0\0\0\x01")] {
            let marker = Marker {
                producer: Producer::new(7, 3),
                outcome,
                coordinator_epoch: 5,
            };
            let bytes = marker.batch(1_000);
            let batch = Batch::parse(&bytes).unwrap();
            let header = batch.header();
            assert!(header.attributes.is_control() && header.attributes.is_transactional());
            assert_eq!((header.producer_id, header.producer_epoch), (7, 3));
            let payload = batch.payload(100).unwrap();
            let record = batch.records(&payload).next().unwrap().unwrap();
            assert_eq!(record.key, Some(&key[..]));
            assert_eq!(record.value, Some(&b"\0\0\0\0\0\x05"[..]));
            assert_eq!(outcome_of(&key), Some(outcome));
        }
        assert_eq!(outcome_of(b"\0\0\0\x02"), None);
        assert_eq!(outcome_of(b"\0\0"), None);
    }
}
