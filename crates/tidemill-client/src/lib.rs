//! What programs and the streams runtime need of a cluster.
//!
//! Two layers live here. [`Transport`] is the seam below the streams runtime: it moves batches, never single records,
//! tells which partitions a member of a group owns, and has three implementations: our own client over Kafka's protocol
//! and librdkafka, between which [`connect`] chooses, and [`MemoryCluster`] for tests. Above it, for programs that only
//! read or write a log, stand `Producer`, `Consumer` and `Admin` (feature `kafka`).
//!
//! ```text
//!   tidemill-runtime                               your program
//!        │ Transport                                   │ Producer, Consumer, Admin
//!   ┌────┴──────────┬──────────┬──────────────────┐    │
//!   │ MemoryCluster │  native  │ kafka (librdkafka) ───┘
//! ```
//!
//! ```
//! use tidemill_client::{MemoryCluster, Outgoing, TopicPartition, Transport};
//! use tidemill_data::{Headers, Timestamp};
//!
//! let cluster = MemoryCluster::new();
//! cluster.topic("clicks", 1);
//! let mut writer = cluster.writer("demo")?;
//! let (topic, headers) = (writer.topic("clicks")?, Headers::default());
//! let click = Outgoing {
//!     topic,
//!     partition: 0,
//!     timestamp: Timestamp::from_millis(0),
//!     key: Some(b"u1"),
//!     value: Some(b"home"),
//!     headers: &headers,
//! };
//! writer.send(&[click])?;
//! writer.flush()?;
//! assert_eq!(cluster.end_offsets(&[TopicPartition::new("clicks", 0)])?, vec![1]);
//! # Ok::<(), tidemill_client::TransportError>(())
//! ```
//!
//! What this crate refuses to know: keys' and values' types, stores, and operators.

mod record;
mod transaction;
mod transport;

mod connect;
mod memory;
mod native;

#[cfg_attr(feature = "kafka", path = "kafka/mod.rs")]
#[cfg_attr(not(feature = "kafka"), path = "without_kafka.rs")]
mod kafka;

pub use connect::{Library, connect};
#[allow(
    unused_imports,
    unreachable_pub,
    reason = "without its feature there is nothing in it for programs"
)]
pub use kafka::*;
pub use memory::MemoryCluster;
pub use native::{Address, Dial, FrameSink, FrameSource, NativeTransport, Wire};
pub use record::{Batch, Outgoing, Record, TopicPartition, WriterTopic};
pub use transaction::{TransactionError, TransactionalWriter};
pub use transport::{
    CommitError, Committed, Event, GroupMetadata, Isolation, Member, Reader, Settings, Start, Subscription,
    TopicDescription, TopicSpec, TransactionSettings, Transport, TransportError, Wake, Writer,
};
