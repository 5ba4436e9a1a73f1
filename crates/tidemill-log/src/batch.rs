//! A batch's header in this crate's types, and its bytes with what the log assigns.

use bytes::{Bytes, BytesMut};
use tidemill_protocol::batch::{
    self as wire, Attributes, BatchError, assigned_prefix, patch_log_append_time,
};

use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

pub(crate) use tidemill_protocol::batch::HEADER_LEN;

/// A batch below this is copied, header and all, into bytes of its own, which the tail keeps: it must not keep a large
/// frame in memory, and one part is cheaper to send than two. Larger ones are left to the page cache: `sendfile` sends
/// them without a copy, and the next frame has the memory of theirs while it is in the processor's caches.
const COPY_BELOW: usize = 16 << 10;

/// The parsed header of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: Offset,
    /// The whole batch in bytes, header included.
    pub(crate) size: usize,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) attributes: Attributes,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: Timestamp,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) producer: Option<Producer>,
}

/// Who wrote a batch, when the producer is idempotent or transactional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    /// `None` for what coordinators write in a producer's name.
    pub(crate) base_sequence: Option<Sequence>,
}

impl BatchHeader {
    /// Parses the header at the start of `bytes`, which may end before the batch does.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        wire::BatchHeader::parse(bytes).map(|header| Self::from(&header))
    }

    /// The offset of the last record, also where compaction took that record away.
    pub(crate) fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// The offset after the batch.
    pub(crate) fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.attributes.timestamp_type() == wire::TimestampType::LogAppendTime
    }
}

impl From<&wire::BatchHeader> for BatchHeader {
    fn from(header: &wire::BatchHeader) -> Self {
        let producer = (header.producer_id >= 0).then(|| Producer {
            id: ProducerId(header.producer_id),
            epoch: ProducerEpoch(header.producer_epoch),
            base_sequence: (header.base_sequence >= 0).then_some(Sequence(header.base_sequence)),
        });
        Self {
            base_offset: Offset(header.base_offset),
            size: header.len,
            leader_epoch: LeaderEpoch(header.leader_epoch),
            attributes: header.attributes,
            last_offset_delta: header.last_offset_delta,
            base_timestamp: Timestamp(header.base_timestamp),
            max_timestamp: Timestamp(header.max_timestamp),
            producer,
        }
    }
}

/// A batch's bytes as they go to the file and to readers: where `body` is what arrived, `head` stands before it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) head: Bytes,
    pub(crate) body: Bytes,
}

impl Stored {
    /// `batch`, which has parsed, with its base offset and leader epoch, and the time of the append where the topic
    /// asks for it. That time lies under the CRC, which is made new then.
    pub(crate) fn new(
        batch: &Bytes,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        log_append_time: Option<Timestamp>,
    ) -> Self {
        let header = batch.first_chunk().expect("a batch that parsed has a header");
        let prefix = assigned_prefix(header, base_offset.0, leader_epoch.0);
        let rest = batch.slice(prefix.len()..);
        if batch.len() >= COPY_BELOW && log_append_time.is_none() {
            return Self {
                head: Bytes::copy_from_slice(&prefix),
                body: rest,
            };
        }
        let mut whole = BytesMut::with_capacity(batch.len());
        whole.extend_from_slice(&prefix);
        whole.extend_from_slice(&rest);
        if let Some(time) = log_append_time {
            patch_log_append_time(&mut whole, time.0);
        }
        Self {
            head: Bytes::new(),
            body: whole.freeze(),
        }
    }

    /// The bytes of a batch that is in one piece; a large one is not.
    pub(crate) fn in_one_piece(self) -> Option<Bytes> {
        self.head.is_empty().then_some(self.body)
    }
}
