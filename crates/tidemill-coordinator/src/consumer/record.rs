//! The records of groups of the consumer protocol, byte for byte Kafka's. Keys are as in the classic protocol; values are
//! flexible: lengths are varints plus one (zero is null), tagged fields end each structure.
//!
//! ```text
//! key 3   group                  value 0: epoch i32 | tag 0: hash of the topics i64
//! key 5   group, member          value 0: instance? | rack? | client id | client host | topics [text] | pattern?
//!                                         | rebalance timeout i32 | assignor? | tag 0: classic part
//!         classic part           i8 = 1 (not null) | session timeout i32 | [name | metadata bytes]
//! key 6   group                  value 0: target epoch i32
//! key 7   group, member          value 0: [topic id 16 bytes | [partition i32]]          the target
//! key 8   group, member          value 0: epoch i32 | previous epoch i32 | state i8 | assigned as in 7 | revoking as in 7
//! key 16  group, pattern         value 0: topics [text] | version of the topics i64 | when i64
//! ```
//! Key 4 is from before Kafka 4.1, and only read over.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};

use super::member::{ClassicPart, ConsumerMember, MemberState};
use super::{Consumers, Partitions, TopicId};
use crate::error::RecordError;
use crate::event::Protocol;
use crate::id::{GroupId, InstanceId, MemberId, Timestamp, TopicName};
use crate::record::{Reader, Record, put_text, put_unsigned_varint};

const GROUP: i16 = 3;
const TOPICS: i16 = 4;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const PATTERN: i16 = 16;
const VERSION: i16 = 0;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConsumerKey {
    Group(GroupId),
    /// The topics of a group as brokers before 4.1 kept them.
    Topics(GroupId),
    Member(GroupId, MemberId),
    TargetEpoch(GroupId),
    Target(GroupId, MemberId),
    Current(GroupId, MemberId),
    Pattern(GroupId, String),
}

/// A record of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConsumerRecord {
    Group {
        epoch: i32,
        topics_hash: i64,
    },
    Member(Box<ConsumerMember>),
    TargetEpoch(i32),
    Target {
        member: MemberId,
        partitions: Partitions,
    },
    Current(Box<ConsumerMember>),
    Pattern {
        pattern: String,
        topics: BTreeSet<TopicName>,
        version: i64,
        at: Timestamp,
    },
}

impl ConsumerKey {
    /// Reads the rest of a key whose version is one of these; `None` for other versions.
    pub(crate) fn read(version: i16, reader: &mut Reader<'_>) -> Option<Option<Self>> {
        let read = match version {
            GROUP | TOPICS | TARGET_EPOCH => reader.text().map(|group| match version {
                GROUP => Self::Group(group.into()),
                TOPICS => Self::Topics(group.into()),
                _ => Self::TargetEpoch(group.into()),
            }),
            MEMBER | TARGET | CURRENT | PATTERN => pair(reader).map(|(group, second)| match version {
                MEMBER => Self::Member(group, second.into()),
                TARGET => Self::Target(group, second.into()),
                CURRENT => Self::Current(group, second.into()),
                _ => Self::Pattern(group, second),
            }),
            _ => return None,
        };
        Some(read)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let (version, group, second) = match self {
            Self::Group(group) => (GROUP, group, None),
            Self::Topics(group) => (TOPICS, group, None),
            Self::Member(group, member) => (MEMBER, group, Some(member.as_str())),
            Self::TargetEpoch(group) => (TARGET_EPOCH, group, None),
            Self::Target(group, member) => (TARGET, group, Some(member.as_str())),
            Self::Current(group, member) => (CURRENT, group, Some(member.as_str())),
            Self::Pattern(group, pattern) => (PATTERN, group, Some(pattern.as_str())),
        };
        let mut out = BytesMut::new();
        out.put_i16(version);
        put_text(&mut out, group.as_str());
        if let Some(second) = second {
            put_text(&mut out, second);
        }
        out.freeze()
    }

    pub(crate) fn tombstone(&self) -> Record {
        Record {
            key: self.encode(),
            value: None,
        }
    }

    /// Whether the tombstone of this key ends the group.
    pub(crate) fn ends_group(&self) -> bool {
        matches!(self, Self::Group(_))
    }

    pub(crate) fn group(&self) -> &GroupId {
        match self {
            Self::Group(group)
            | Self::Topics(group)
            | Self::Member(group, _)
            | Self::TargetEpoch(group)
            | Self::Target(group, _)
            | Self::Current(group, _)
            | Self::Pattern(group, _) => group,
        }
    }
}

fn pair(reader: &mut Reader<'_>) -> Option<(GroupId, String)> {
    Some((reader.text()?.into(), reader.text()?.to_owned()))
}

impl ConsumerRecord {
    pub(crate) fn of_group(&self, group: &GroupId) -> Record {
        let group = group.clone();
        let mut out = BytesMut::new();
        out.put_i16(VERSION);
        let key = match self {
            Self::Group { epoch, topics_hash } => {
                out.put_i32(*epoch);
                put_unsigned_varint(&mut out, 1);
                put_unsigned_varint(&mut out, 0);
                put_unsigned_varint(&mut out, 8);
                out.put_i64(*topics_hash);
                return finished(ConsumerKey::Group(group), out);
            }
            Self::Member(member) => {
                put_member(&mut out, member);
                return finished(ConsumerKey::Member(group, member.id.clone()), out);
            }
            Self::TargetEpoch(epoch) => {
                out.put_i32(*epoch);
                ConsumerKey::TargetEpoch(group)
            }
            Self::Target { member, partitions } => {
                put_partitions(&mut out, partitions);
                ConsumerKey::Target(group, member.clone())
            }
            Self::Current(member) => {
                out.put_i32(member.epoch);
                out.put_i32(member.previous_epoch);
                out.put_i8(member.state.code());
                put_partitions(&mut out, &member.assigned);
                put_partitions(&mut out, &member.revoking);
                ConsumerKey::Current(group, member.id.clone())
            }
            Self::Pattern {
                pattern,
                topics,
                version,
                at,
            } => {
                put_names(&mut out, topics);
                out.put_i64(*version);
                out.put_i64(at.0);
                ConsumerKey::Pattern(group, pattern.clone())
            }
        };
        put_unsigned_varint(&mut out, 0);
        finished(key, out)
    }
}

fn finished(key: ConsumerKey, value: BytesMut) -> Record {
    Record {
        key: key.encode(),
        value: Some(value.freeze()),
    }
}

/// A compact length: one more than the count, since zero is null.
fn put_count(out: &mut BytesMut, count: usize) {
    put_unsigned_varint(
        out,
        u32::try_from(count).expect("a request is shorter than 2 GiB") + 1,
    );
}

fn put_string(out: &mut BytesMut, text: &str) {
    put_count(out, text.len());
    out.put_slice(text.as_bytes());
}

fn put_nullable(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => put_unsigned_varint(out, 0),
    }
}

fn put_names(out: &mut BytesMut, names: &BTreeSet<TopicName>) {
    put_count(out, names.len());
    names.iter().for_each(|name| put_string(out, name.as_str()));
}

fn put_partitions(out: &mut BytesMut, partitions: &Partitions) {
    put_count(out, partitions.topics().len());
    for (topic, indexes) in partitions.topics() {
        out.put_u128(topic.0);
        put_count(out, indexes.len());
        indexes.iter().for_each(|index| out.put_i32(*index));
        put_unsigned_varint(out, 0);
    }
}

fn put_member(out: &mut BytesMut, member: &ConsumerMember) {
    put_nullable(out, member.instance.as_ref().map(InstanceId::as_str));
    put_nullable(out, member.rack.as_deref());
    put_string(out, &member.client_id);
    put_string(out, &member.client_host);
    put_names(out, &member.names);
    put_nullable(out, member.pattern.as_deref());
    out.put_i32(member.rebalance_timeout_ms);
    put_nullable(out, member.assignor.as_deref());
    let Some(classic) = &member.classic else {
        return put_unsigned_varint(out, 0);
    };
    let mut field = BytesMut::new();
    field.put_i8(1);
    field.put_i32(classic.session_timeout_ms);
    put_count(&mut field, classic.protocols.len());
    for protocol in &classic.protocols {
        put_string(&mut field, &protocol.name);
        put_count(&mut field, protocol.metadata.len());
        field.put_slice(&protocol.metadata);
        put_unsigned_varint(&mut field, 0);
    }
    put_unsigned_varint(&mut field, 0);
    put_unsigned_varint(out, 1);
    put_unsigned_varint(out, 0);
    put_unsigned_varint(
        out,
        u32::try_from(field.len()).expect("a request is shorter than 2 GiB"),
    );
    out.put_slice(&field);
}

impl Consumers {
    /// Takes a record from the log; a member's records may come in any order.
    pub(crate) fn replay(&mut self, key: &ConsumerKey, value: Option<&[u8]>) -> Result<(), RecordError> {
        let Some(value) = value else {
            self.replay_tombstone(key);
            return Ok(());
        };
        let kind = Reader::new(&key.encode()).i16().unwrap_or_default();
        let mut reader = Reader::new(value);
        match reader.i16() {
            Some(VERSION) => {}
            Some(version) => return Err(RecordError::UnknownValue { key: kind, version }),
            None => return Err(RecordError::Malformed(kind)),
        }
        self.replay_value(key, &mut reader)
            .ok_or(RecordError::Malformed(kind))
    }

    fn replay_value(&mut self, key: &ConsumerKey, reader: &mut Reader<'_>) -> Option<()> {
        match key {
            ConsumerKey::Group(_) => {
                self.epoch = reader.i32()?;
                self.topics_hash = 0;
                each_tag(reader, |tag, field| {
                    if tag == 0 {
                        self.topics_hash = field.i64()?;
                    }
                    Some(())
                })?;
            }
            ConsumerKey::Topics(_) => {}
            ConsumerKey::TargetEpoch(_) => self.target_epoch = reader.i32()?,
            ConsumerKey::Target(_, member) => {
                let target = partitions(reader)?;
                self.target.insert(member.clone(), target.into());
            }
            ConsumerKey::Member(_, id) => {
                let mut member = self.replayed(id);
                read_member(reader, &mut member)?;
                self.insert(member);
            }
            ConsumerKey::Current(_, id) => {
                let mut member = self.replayed(id);
                member.epoch = reader.i32()?;
                member.previous_epoch = reader.i32()?;
                member.state = MemberState::of_code(reader.i8()?)?;
                member.assigned = partitions(reader)?;
                member.revoking = partitions(reader)?;
                self.insert(member);
            }
            ConsumerKey::Pattern(_, pattern) => {
                let topics = names(reader)?;
                self.matches.insert(pattern.clone(), topics.into());
            }
        }
        Some(())
    }

    fn replayed(&self, id: &MemberId) -> ConsumerMember {
        match self.members.get(id) {
            Some(member) => (**member).clone(),
            None => ConsumerMember::new(id.clone()),
        }
    }

    fn replay_tombstone(&mut self, key: &ConsumerKey) {
        match key {
            ConsumerKey::Group(_) | ConsumerKey::Topics(_) | ConsumerKey::TargetEpoch(_) => {}
            ConsumerKey::Member(_, id) => {
                if let Some(instance) = self.members.remove(id).and_then(|member| member.instance.clone())
                    && self.statics.get(&instance) == Some(id)
                {
                    self.statics.remove(&instance);
                }
            }
            ConsumerKey::Target(_, id) => {
                self.target.remove(id);
            }
            // The member's own tombstone follows, or it comes again with nothing.
            ConsumerKey::Current(_, id) => {
                if let Some(member) = self.members.get(id) {
                    let mut member = (**member).clone();
                    member.assigned = Partitions::default();
                    member.revoking = Partitions::default();
                    self.insert(member);
                }
            }
            ConsumerKey::Pattern(_, pattern) => {
                self.matches.remove(pattern);
            }
        }
    }
}

fn read_member(reader: &mut Reader<'_>, member: &mut ConsumerMember) -> Option<()> {
    member.instance = nullable(reader)?.map(InstanceId::from);
    member.rack = nullable(reader)?.map(str::to_owned);
    member.client_id = reader.compact_text()?.to_owned();
    member.client_host = reader.compact_text()?.to_owned();
    member.names = names(reader)?;
    member.pattern = nullable(reader)?.map(str::to_owned);
    member.rebalance_timeout_ms = reader.i32()?;
    member.assignor = nullable(reader)?.map(str::to_owned);
    member.classic = None;
    each_tag(reader, |tag, field| {
        if tag == 0 && field.i8()? == 1 {
            member.classic = Some(classic_part(field)?);
        }
        Some(())
    })
}

fn classic_part(reader: &mut Reader<'_>) -> Option<ClassicPart> {
    let session_timeout_ms = reader.i32()?;
    // The vectors grow as their elements are read: the counts alone could ask for anything.
    let mut protocols = Vec::new();
    for _ in 0..count(reader)? {
        let name = reader.compact_text()?.to_owned();
        let length = usize::try_from(count(reader)?).ok()?;
        let metadata = Bytes::copy_from_slice(reader.take(length)?);
        reader.skip_tags()?;
        protocols.push(Protocol { name, metadata });
    }
    Some(ClassicPart {
        session_timeout_ms,
        protocols,
    })
}

fn each_tag(reader: &mut Reader<'_>, mut take: impl FnMut(u32, &mut Reader<'_>) -> Option<()>) -> Option<()> {
    for _ in 0..reader.unsigned_varint()? {
        let tag = reader.unsigned_varint()?;
        let length = usize::try_from(reader.unsigned_varint()?).ok()?;
        take(tag, &mut Reader::new(reader.take(length)?))?;
    }
    Some(())
}

fn count(reader: &mut Reader<'_>) -> Option<u32> {
    Some(reader.unsigned_varint()?.saturating_sub(1))
}

/// Text, or null.
fn nullable<'a>(reader: &mut Reader<'a>) -> Option<Option<&'a str>> {
    match reader.unsigned_varint()?.checked_sub(1) {
        None => Some(None),
        Some(length) => {
            let text = reader.take(usize::try_from(length).ok()?)?;
            std::str::from_utf8(text).ok().map(Some)
        }
    }
}

fn names(reader: &mut Reader<'_>) -> Option<BTreeSet<TopicName>> {
    let mut names = BTreeSet::new();
    for _ in 0..count(reader)? {
        names.insert(reader.compact_text()?.into());
    }
    Some(names)
}

fn partitions(reader: &mut Reader<'_>) -> Option<Partitions> {
    let mut all = Partitions::default();
    for _ in 0..count(reader)? {
        let topic = TopicId(reader.u128()?);
        for _ in 0..count(reader)? {
            all.insert(topic, reader.i32()?);
        }
        reader.skip_tags()?;
    }
    Some(all)
}
