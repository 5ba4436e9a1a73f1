//! Without the feature `kafka` there are no clients for programs that only read or write a log.

pub use crate::client::{TopicPartition, TopicSpec};
