//! What most programs use: `use tidemill::prelude::*;`.

pub use crate::client::{
    Admin, Commit, Consumer, From as ReadFrom, Produced, Producer, TopicPartition, TopicSpec,
};
pub use crate::{
    App, BoxError, Config, Counted, DAY, Data, HOUR, Headers, Hopping, JoinWindow, KStream, KTable, MINUTE,
    Policy, Running, SECOND, Session, Sliding, Start, State, StoreName, Timestamp, Topic, Tumbling, Windowed,
};
