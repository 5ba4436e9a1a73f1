//! What most programs use: `use tidemill::prelude::*;`.

pub use crate::client::{
    Admin, Commit, Consumer, From as ReadFrom, Produced, Producer, TopicPartition, TopicSpec,
};
pub use crate::{
    App, Config, DAY, Data, HOUR, Headers, KStream, KTable, MINUTE, Policy, Running, SECOND, Start, State,
    StoreName, Timestamp, Topic, Windowed,
};
