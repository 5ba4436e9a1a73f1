//! Drives topologies: threads poll, tasks process, outputs are sent, commits make it last, state is restored, and
//! queries are answered.
//!
//! ```text
//!   App ──start(Config)──▶ Running ──store(&NAME).get(&key)──▶ answer
//!                            │ threads
//!             ┌──────────────┴─────────────┐
//!   Member ──▶│ Worker: tasks, restorer     │──▶ Sender ──▶ Writer
//!             └──── databases ─────────────┘
//! ```
//!
//! All decisions about records are the tasks' ([`tidemill_streams`]); all I/O of clusters is the transport's
//! ([`tidemill_client`]). What this crate adds is the order of things: commit before release, nothing after a loss,
//! outputs and changelog before offsets, offsets before state.

mod config;
mod control;
mod databases;
mod dead_letters;
mod error;
mod failure;
mod globals;
mod iso_duration;
mod live_task;
mod metrics;
mod patterns;
mod plan;
mod pool;
mod producer;
mod query;
mod restore;
mod running;
mod sender;
mod settings;
mod start;
mod state;
mod state_dir;
mod upgrade;
mod worker;

#[cfg_attr(feature = "broker", path = "embedded/enabled.rs")]
#[cfg_attr(not(feature = "broker"), path = "embedded/disabled.rs")]
mod embedded;

pub use config::{Config, ConfigError};
pub use control::Owner;
pub use dead_letters::{
    Replayed, WhichLetters, list_dead_letters, replay_dead_letters, replay_some_dead_letters,
};
pub use error::{QueryError, RunError, StartError};
pub use failure::{Failure, FailureHandler, Response};
pub use metrics::{NodeSnapshot, Snapshot, TaskSnapshot, ThreadSnapshot};
#[cfg(feature = "http")]
pub use query::Everywhere;
pub use query::{Answer, Form, Position, PositionError, Rows, RowsAndPosition, StoreQuery};
pub use restore::{RestoreListener, RestoreProgress, RestoreStage};
pub use running::Running;
pub use start::{Launch, Start};
pub use state::{State, StateListener};
pub use state_dir::StateDirError;
