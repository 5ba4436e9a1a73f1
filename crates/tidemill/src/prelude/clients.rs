//! The clients for programs that only read or write a log.

pub use crate::client::{
    Admin, Commit, Consumer, From as ReadFrom, Produced, Producer, TopicPartition, TopicSpec,
};
