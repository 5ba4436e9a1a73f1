//! One batch on its way to the broker.

use std::time::Instant;

use bytes::Bytes;
use tidemill_protocol::batch::{BatchBuilder, Batches, Header, ProducerStamp, patch_producer};
use tidemill_protocol::compression::Compression;

/// The largest a batch may be once it is decompressed again, to be split.
const SPLIT_BYTES_MAX: usize = 256 << 20;

/// A batch's records.
pub(super) enum Body {
    /// Still to be built: more records may come.
    Open(BatchBuilder),
    /// As it was sent.
    Built(Bytes),
}

impl Body {
    /// The bytes to send under this stamp; compresses and computes the CRC, so not under a lock.
    pub(super) fn build(self, stamp: Option<ProducerStamp>, is_restamped: bool) -> Bytes {
        match (self, stamp) {
            (Self::Open(builder), Some(stamp)) => builder.producer(stamp).build(),
            (Self::Open(builder), None) => builder.build(),
            (Self::Built(bytes), Some(stamp)) if is_restamped => {
                let mut bytes = Vec::from(bytes);
                patch_producer(&mut bytes, stamp);
                bytes.into()
            }
            (Self::Built(bytes), _) => bytes,
        }
    }
}

/// A batch that waits in its partition's queue.
pub(super) struct Pending {
    /// Its place in the order of its partition.
    pub(super) number: u64,
    pub(super) body: Body,
    pub(super) record_count: usize,
    /// What it takes of the buffer.
    pub(super) bytes: usize,
    pub(super) born: Instant,
    pub(super) attempts: u32,
    /// Whose it is and where it stands in the partition, once it was sent for the first time.
    pub(super) stamp: Option<ProducerStamp>,
    /// The stamp is not yet in the built bytes.
    pub(super) is_restamped: bool,
    pub(super) is_transactional: bool,
}

impl Pending {
    pub(super) fn new(
        number: u64,
        compression: Compression,
        room: usize,
        born: Instant,
        transactional: bool,
    ) -> Self {
        let builder = BatchBuilder::with_capacity(compression, room);
        let builder = if transactional {
            builder.transactional()
        } else {
            builder
        };
        Self {
            number,
            body: Body::Open(builder),
            record_count: 0,
            bytes: 0,
            born,
            attempts: 0,
            stamp: None,
            is_restamped: false,
            is_transactional: transactional,
        }
    }

    /// Two batches of half the records each, where the broker found the whole too large. `None`: it is one record, or
    /// cannot be read back.
    pub(super) fn split(&self) -> Option<[Self; 2]> {
        let Body::Built(bytes) = &self.body else {
            return None;
        };
        let batch = Batches::new(bytes).next()?.ok()?;
        let codec = batch.header().attributes.compression().ok()?;
        let payload = batch.payload(SPLIT_BYTES_MAX).ok()?;
        let half = self.record_count / 2;
        if half == 0 {
            return None;
        }
        let new = || Self::new(self.number, codec, 0, self.born, self.is_transactional);
        let mut halves = [new(), new()];
        let [front, back] = &mut halves;
        for (at, record) in batch.records(&payload).enumerate() {
            let record = record.ok()?;
            let part = if at < half { &mut *front } else { &mut *back };
            let Body::Open(builder) = &mut part.body else {
                return None;
            };
            builder.push(
                record.timestamp,
                record.key,
                record.value,
                record.headers.collect::<Vec<Header<'_>>>(),
            );
            part.record_count += 1;
        }
        front.bytes = self.bytes / 2;
        back.bytes = self.bytes - front.bytes;
        front.stamp = self.stamp;
        back.stamp = self.stamp.map(|stamp| ProducerStamp {
            base_sequence: sequence_after(stamp.base_sequence, half),
            ..stamp
        });
        for part in &mut halves {
            part.attempts = self.attempts;
        }
        Some(halves)
    }
}

/// The sequence number `count` records on: after 2^31 − 1 comes 0.
pub(super) fn sequence_after(sequence: i32, count: usize) -> i32 {
    let wrapped = (i64::from(sequence) + count as i64) & i64::from(i32::MAX);
    wrapped as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(5, 3), 8);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 4), 2);
    }

    #[test]
    fn halves_hold_all_records_and_follow_each_other() {
        let stamp = ProducerStamp {
            id: 7,
            epoch: 1,
            base_sequence: i32::MAX,
        };
        let mut whole = Pending::new(3, Compression::Lz4, 0, Instant::now(), false);
        let Body::Open(mut builder) = whole.body else {
            unreachable!()
        };
        for value in [b"a", b"b", b"c"] {
            builder.push(5, None, Some(value), [Header::new("h", b"1")]);
        }
        whole.body = Body::Built(builder.producer(stamp).build());
        (whole.record_count, whole.stamp) = (3, Some(stamp));
        let halves = whole.split().unwrap();
        assert_eq!(halves.iter().map(|h| h.record_count).collect::<Vec<_>>(), [1, 2]);
        let sequences: Vec<_> = halves.iter().map(|h| h.stamp.unwrap().base_sequence).collect();
        assert_eq!(sequences, [i32::MAX, 0]);
        let [one, _] = halves;
        let built = Pending {
            body: Body::Built(one.body.build(one.stamp, false)),
            ..whole
        };
        assert!(
            Pending {
                record_count: 1,
                ..built
            }
            .split()
            .is_none()
        );
    }
}
