//! What a store keeps of itself, in the metadata family, written in the same batch as its rows.
//!
//! ```text
//! key    the store's name in UTF-8
//! value  0   u8         1, the version of this form
//!        1   u8         the kind of store
//!        2   i64        width of its time segments, 0 without
//!        10  i64        stream time it has seen
//!        18  i32        sequence number of the last duplicate
//!        22  u8         1 when a position follows
//!        23  [u8; 16]   the changelog topic's id
//!        39  i64        the changelog offset to restore from
//!        47  i64        wall-clock time of the last commit
//! ```
//! All numbers are big-endian.

use tidemill_data::Timestamp;

use crate::{ByteStore, Family, StoreError};

const VERSION: u8 = 1;

/// The id of a topic; all zero where the cluster does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TopicId(pub [u8; 16]);

/// Where in its changelog partition a store stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangelogPosition {
    /// The changelog topic's id: with another one the store is another topic's.
    pub topic_id: TopicId,
    /// The first offset that the store does not contain.
    pub next_offset: i64,
    /// When this was committed, by the wall clock.
    pub committed_at: Timestamp,
}

/// How a store lays out its rows; rows of another layout cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) kind: u8,
    pub(crate) segment_ms: i64,
}

/// What is kept of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) layout: Layout,
    pub(crate) stream_time_ms: i64,
    pub(crate) sequence: i32,
    pub(crate) position: Option<ChangelogPosition>,
}

impl Metadata {
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, self.layout.kind]);
        out.extend_from_slice(&self.layout.segment_ms.to_be_bytes());
        out.extend_from_slice(&self.stream_time_ms.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.push(u8::from(self.position.is_some()));
        if let Some(position) = &self.position {
            out.extend_from_slice(&position.topic_id.0);
            out.extend_from_slice(&position.next_offset.to_be_bytes());
            out.extend_from_slice(&position.committed_at.millis().to_be_bytes());
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let [version, kind] = take(&mut bytes)?;
        if version != VERSION {
            return None;
        }
        let layout = Layout {
            kind,
            segment_ms: i64::from_be_bytes(take(&mut bytes)?),
        };
        let stream_time_ms = i64::from_be_bytes(take(&mut bytes)?);
        let sequence = i32::from_be_bytes(take(&mut bytes)?);
        let position = match take(&mut bytes)? {
            [0] => None,
            [_] => Some(ChangelogPosition {
                topic_id: TopicId(take(&mut bytes)?),
                next_offset: i64::from_be_bytes(take(&mut bytes)?),
                committed_at: Timestamp::from_millis(i64::from_be_bytes(take(&mut bytes)?)),
            }),
        };
        bytes.is_empty().then_some(Self {
            layout,
            stream_time_ms,
            sequence,
            position,
        })
    }

    pub(crate) fn load(base: &dyn ByteStore, store: &str) -> Result<Option<Self>, StoreError> {
        let mut bytes = Vec::new();
        if !base.get(Family::METADATA, store.as_bytes(), &mut bytes)? {
            return Ok(None);
        }
        Self::decode(&bytes).map(Some).ok_or(StoreError::Corrupt {
            what: "unreadable metadata",
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_as_written_and_cut_short_never() {
        let position = ChangelogPosition {
            topic_id: TopicId([7; 16]),
            next_offset: 42,
            committed_at: Timestamp::from_millis(9),
        };
        for position in [None, Some(position)] {
            let metadata = Metadata {
                layout: Layout {
                    kind: 3,
                    segment_ms: 60_000,
                },
                stream_time_ms: -1,
                sequence: 5,
                position,
            };
            let mut bytes = Vec::new();
            metadata.encode(&mut bytes);
            assert_eq!(Metadata::decode(&bytes), Some(metadata));
            for cut in 0..bytes.len() {
                assert_eq!(Metadata::decode(&bytes[..cut]), None);
            }
        }
    }
}
