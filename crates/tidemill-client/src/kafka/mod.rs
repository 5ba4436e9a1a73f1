//! Everything on librdkafka. No type of it leaves this module.

mod client;
mod describe_topics;
mod group;
mod list;
mod member;
mod messages;
mod queue;
mod transaction;
mod transport;
mod writer;
mod young_topic;

mod admin;
mod consumer;
mod partitioner;
mod producer;

pub use admin::{Admin, GroupDescription, GroupListing, PartitionReplicas, TopicPartitions};
pub use consumer::{Commit, Consumer, ConsumerBuilder, From, Received};
pub use partitioner::{HashKey, Partitioner, Random, Sticky};
pub use producer::{Acks, Delivery, Produced, Producer, ProducerBuilder, Sent};
pub(crate) use transport::connect_librdkafka;
