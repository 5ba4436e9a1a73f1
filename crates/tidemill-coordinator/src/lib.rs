//! Consumer groups as state machines: an event and the time go in, actions come out.
//!
//! ```text
//!  request ──▶ Coordinator ──▶ Group::handle(now, Event) ──▶ [Append(records), Reply, Note]
//!  written ──▶      │  one for every partition of                  │
//!  tick    ──▶      │  __consumer_offsets                         the caller appends, answers, logs,
//!                   ▼                                              and reports Written or WriteFailed
//!            replay(record) rebuilds it after a restart
//! ```
//!
//! It follows Kafka's coordinator for the classic protocol (`JoinGroup`, `SyncGroup`, `Heartbeat`, `LeaveGroup`,
//! `OffsetCommit` and their kin) state by state and code by code, and writes Kafka's record formats.
//!
//! ```
//! use tidemill_coordinator::*;
//! let mut groups = Coordinator::new(GroupSettings::embedded());
//! let join = JoinRequest::consumer("app", "member-1", vec![Protocol::new("range", &b"\0\0"[..])]);
//! let mut actions = Vec::new();
//! groups.handle(Timestamp(0), GroupId::from("words"), Event::Join { request: join, to: ReplyTo(7) }, &mut actions);
//! let reply = actions.iter().find_map(|action| match action {
//!     Action::Reply { to: ReplyTo(7), reply: Reply::Join(answer) } => Some(answer),
//!     _ => None,
//! });
//! assert_eq!(reply.unwrap().as_ref().unwrap().generation, 1);
//! ```
//!
//! It refuses to know: the wire's messages, the log, clocks, random numbers (a new member's id comes in with its
//! request), and threads. The transaction coordinator, [`TransactionCoordinator`], stands beside it and works the same way.

mod error;
mod id;
mod settings;

mod action;
mod event;

mod member;
mod phase;
mod subscription;

mod group;
mod join;
mod leave;
mod rebalance;
mod static_member;
mod sync;

mod commit;
mod describe;
mod expiry;
mod offsets;

mod consumer;

mod coordinator;
mod record;
#[cfg(test)]
mod reloaded;

mod transactions;

pub use action::{Action, Assigned, CommitAnswers, Joined, JoinedMember, LeaveAnswer, Note, Reply};
pub use consumer::{
    AssignorName, ConsumerBeat, ConsumerDescription, ConsumerHeartbeat, ConsumerMemberDescription,
    MemberEpoch, Partitions, TopicId, TopicImage, TopicShape,
};
pub use coordinator::{Coordinator, GroupFilter, answer_without_group, partition_of_group};
pub use describe::{GroupDescription, GroupListing, MemberDescription};
pub use error::{GroupError, JoinRefused, RecordError, WriteFailure};
pub use event::{
    CommitRequest, Event, HeartbeatRequest, JoinRequest, LeavingMember, OffsetToCommit, Protocol, SyncRequest,
};
pub use group::Group;
pub use id::{
    AppendNumber, GroupId, InstanceId, MemberId, Producer, ProducerId, ReplyTo, Timestamp, TopicName,
    TransactionalId,
};
pub use offsets::{CommittedOffset, FetchedOffset};
pub use phase::PhaseName;
pub use record::{GroupMetadata, Record, StoredMember};
pub use settings::GroupSettings;
pub use transactions::{
    ClientProtocol, InitRequest, Outcome, TransactionAction, TransactionCoordinator, TransactionError,
    TransactionEvent, TransactionMetadata, TransactionNote, TransactionPartition, TransactionPhase,
    TransactionReply, TransactionSettings,
};
