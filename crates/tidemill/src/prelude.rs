//! What most programs use: `use tidemill::prelude::*;`.

pub use crate::{
    App, BoxError, Config, Counted, DAY, Data, HOUR, Headers, Hopping, JoinWindow, KStream, KTable, MINUTE,
    Policy, Running, SECOND, Session, Sliding, Start, State, StoreName, Timestamp, Topic, Tumbling, Windowed,
};
pub use clients::*;

#[cfg_attr(feature = "kafka", path = "prelude/clients.rs")]
#[cfg_attr(not(feature = "kafka"), path = "prelude/without_clients.rs")]
mod clients;
