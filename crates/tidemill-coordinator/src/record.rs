//! The records of `__consumer_offsets`, byte for byte Kafka's. Integers are big-endian; `text` is an i16 length and
//! UTF-8, `bytes` an i32 length and bytes; a length of -1 is null. A null value is a tombstone.
//!
//! ```text
//! key 0, 1   version i16 | group text | topic text | partition i32          a committed offset (we write 1)
//!   value    version i16 | offset i64 | leader epoch i32 (3+) | metadata text | committed at i64 | expires at i64 (1)
//!            version 4 is flexible: metadata has a varint length, tagged fields end it (topic id)
//! key 2      version i16 | group text                                        a group
//!   value    version i16 | protocol type text | generation i32 | protocol text? | leader text? | since i64 (2+)
//!            | count i32 | members
//!   member   member text | instance text? (3+) | client id text | client host text | rebalance timeout i32 (1+)
//!            | session timeout i32 | subscription bytes | assignment bytes
//! ```
//! As Kafka does, we write offsets as version 3 (version 1 if they expire at a time of their own) and groups as
//! version 3, which brokers from 2.3 on can read; all versions up to 4 are read.

use bytes::{BufMut, Bytes, BytesMut};

use crate::consumer::ConsumerKey;
use crate::error::RecordError;
use crate::id::{GroupId, InstanceId, MemberId, Timestamp, TopicName};
use crate::offsets::CommittedOffset;

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const GROUP_VALUE: i16 = 3;

/// A record to append: a key, and a value or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// The value; `None` deletes.
    pub value: Option<Bytes>,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The committed offset of a partition.
    Offset(GroupId, TopicName, i32),
    /// The group itself.
    Group(GroupId),
    /// A group of the consumer protocol, or something of it.
    Consumers(ConsumerKey),
}

/// A group's generation as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// Empty for a group that never had members.
    pub protocol_type: String,
    /// The generation.
    pub generation: i32,
    /// What its members agreed on.
    pub protocol: Option<String>,
    /// Who leads it.
    pub leader: Option<MemberId>,
    /// Since when the group is in its state.
    pub since: Option<Timestamp>,
    /// Its members, none if it is empty.
    pub members: Vec<StoredMember>,
}

/// A member as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    /// Its id.
    pub member: MemberId,
    /// Its name for itself, if static.
    pub instance: Option<InstanceId>,
    /// Its client's id.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it said in the protocol chosen.
    pub subscription: Bytes,
    /// Its share of the work.
    pub assignment: Bytes,
}

impl Key {
    /// Reads a key. An unknown version is a newer broker's record, to be skipped.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let version = reader.i16().ok_or(RecordError::NoKey)?;
        let key = match version {
            0 | OFFSET_KEY => reader.offset_key(),
            GROUP_KEY => reader.text().map(|group| Self::Group(group.into())),
            other => match ConsumerKey::read(other, &mut reader) {
                Some(key) => key.map(Self::Consumers),
                None => return Err(RecordError::UnknownKey(other)),
            },
        };
        key.ok_or(RecordError::Malformed(version))
    }

    /// The key's bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Consumers(key) => return key.encode(),
            Self::Offset(group, topic, partition) => {
                out.put_i16(OFFSET_KEY);
                put_text(&mut out, group.as_str());
                put_text(&mut out, topic.as_str());
                out.put_i32(*partition);
            }
            Self::Group(group) => {
                out.put_i16(GROUP_KEY);
                put_text(&mut out, group.as_str());
            }
        }
        out.freeze()
    }

    /// The record that deletes what this key names.
    pub(crate) fn tombstone(&self) -> Record {
        Record {
            key: self.encode(),
            value: None,
        }
    }
}

impl CommittedOffset {
    /// Reads the value of an offset record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        match reader.i16() {
            Some(version @ 0..=4) => reader
                .offset_value(version)
                .ok_or(RecordError::Malformed(OFFSET_KEY)),
            Some(version) => Err(RecordError::UnknownValue {
                key: OFFSET_KEY,
                version,
            }),
            None => Err(RecordError::Malformed(OFFSET_KEY)),
        }
    }

    /// The value's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(if self.expires_at.is_some() { 1 } else { 3 });
        out.put_i64(self.offset);
        if self.expires_at.is_none() {
            out.put_i32(self.leader_epoch.unwrap_or(-1));
        }
        put_text(&mut out, &self.metadata);
        out.put_i64(self.committed_at.0);
        if let Some(expires_at) = self.expires_at {
            out.put_i64(expires_at.0);
        }
        out.freeze()
    }
}

impl GroupMetadata {
    /// Reads the value of a group record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        match reader.i16() {
            Some(version @ 0..=3) => reader
                .group_value(version)
                .ok_or(RecordError::Malformed(GROUP_KEY)),
            // Version 4 exists in Kafka's schema for its later fields; no released broker writes it.
            Some(version) => Err(RecordError::UnknownValue {
                key: GROUP_KEY,
                version,
            }),
            None => Err(RecordError::Malformed(GROUP_KEY)),
        }
    }

    /// The value's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(GROUP_VALUE);
        put_text(&mut out, &self.protocol_type);
        out.put_i32(self.generation);
        put_nullable_text(&mut out, self.protocol.as_deref());
        put_nullable_text(&mut out, self.leader.as_ref().map(MemberId::as_str));
        out.put_i64(self.since.map_or(-1, |since| since.0));
        put_length(&mut out, self.members.len());
        for member in &self.members {
            put_text(&mut out, member.member.as_str());
            put_nullable_text(&mut out, member.instance.as_ref().map(InstanceId::as_str));
            put_text(&mut out, &member.client_id);
            put_text(&mut out, &member.client_host);
            out.put_i32(member.rebalance_timeout_ms);
            out.put_i32(member.session_timeout_ms);
            put_bytes(&mut out, &member.subscription);
            put_bytes(&mut out, &member.assignment);
        }
        out.freeze()
    }
}

// Every text came over the wire with an i16 length, so that it fits again; one that does not (a member id made of a
// client id of 32 KiB and a suffix) is cut at a character, where a wrong length would spoil the record.
pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    let mut end = text.len().min(usize::from(i16::MAX.unsigned_abs()));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (kept, _) = text.split_at(end);
    out.put_i16(i16::try_from(kept.len()).expect("cut to i16::MAX just above"));
    out.put_slice(kept.as_bytes());
}

fn put_nullable_text(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_text(out, text),
        None => out.put_i16(-1),
    }
}

pub(crate) fn put_unsigned_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(0x80 | u8::try_from(value & 0x7f).expect("seven bits"));
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).expect("less than 0x80"));
}

fn put_length(out: &mut BytesMut, length: usize) {
    out.put_i32(i32::try_from(length).expect("a request is shorter than 2 GiB"));
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.put_slice(bytes);
}

/// Reads the front of a slice; `None` as soon as the bytes do not suffice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn i8(&mut self) -> Option<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.i16()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    pub(crate) fn nullable_text(&mut self) -> Option<Option<&'a str>> {
        match self.rest {
            [0xff, 0xff, rest @ ..] => {
                self.rest = rest;
                Some(None)
            }
            _ => self.text().map(Some),
        }
    }

    pub(crate) fn bytes(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.i32()?).ok()?;
        self.take(length).map(Bytes::copy_from_slice)
    }

    /// Text with an unsigned varint of its length plus one, as flexible versions write it.
    pub(crate) fn compact_text(&mut self) -> Option<&'a str> {
        let length = self.unsigned_varint()?.checked_sub(1)?;
        std::str::from_utf8(self.take(usize::try_from(length).ok()?)?).ok()
    }

    pub(crate) fn unsigned_varint(&mut self) -> Option<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Passes over tagged fields.
    pub(crate) fn skip_tags(&mut self) -> Option<()> {
        for _ in 0..self.unsigned_varint()? {
            self.unsigned_varint()?;
            let length = usize::try_from(self.unsigned_varint()?).ok()?;
            self.take(length)?;
        }
        Some(())
    }

    fn offset_key(&mut self) -> Option<Key> {
        Some(Key::Offset(self.text()?.into(), self.text()?.into(), self.i32()?))
    }

    fn offset_value(&mut self, version: i16) -> Option<CommittedOffset> {
        let offset = self.i64()?;
        let leader_epoch = if version >= 3 {
            Some(self.i32()?).filter(|epoch| *epoch >= 0)
        } else {
            None
        };
        let metadata = if version >= 4 {
            self.compact_text()?
        } else {
            self.text()?
        }
        .to_owned();
        let committed_at = Timestamp(self.i64()?);
        let expires_at = if version == 1 {
            Some(self.i64()?).filter(|at| *at >= 0).map(Timestamp)
        } else {
            None
        };
        Some(CommittedOffset {
            offset,
            leader_epoch,
            metadata,
            committed_at,
            expires_at,
        })
    }

    fn group_value(&mut self, version: i16) -> Option<GroupMetadata> {
        let protocol_type = self.text()?.to_owned();
        let generation = self.i32()?;
        let protocol = self.nullable_text()?.map(str::to_owned);
        let leader = self.nullable_text()?.map(MemberId::from);
        let since = if version >= 2 {
            Some(self.i64()?).filter(|at| *at >= 0).map(Timestamp)
        } else {
            None
        };
        // The vector grows as members are read: the count alone could ask for anything.
        let mut members = Vec::new();
        for _ in 0..self.i32()?.max(0) {
            members.push(self.stored_member(version)?);
        }
        Some(GroupMetadata {
            protocol_type,
            generation,
            protocol,
            leader,
            since,
            members,
        })
    }

    fn stored_member(&mut self, version: i16) -> Option<StoredMember> {
        let member = MemberId::from(self.text()?);
        let instance = if version >= 3 {
            self.nullable_text()?.map(InstanceId::from)
        } else {
            None
        };
        let client_id = self.text()?.to_owned();
        let client_host = self.text()?.to_owned();
        let rebalance_timeout_ms = if version >= 1 { Some(self.i32()?) } else { None };
        let session_timeout_ms = self.i32()?;
        Some(StoredMember {
            member,
            instance,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance_timeout_ms
                .filter(|ms| *ms >= 0)
                .unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: self.bytes()?,
            assignment: self.bytes()?,
        })
    }
}

#[cfg(test)]
mod tests;
