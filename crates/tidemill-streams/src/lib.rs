//! The streams DSL, the topology it makes, and the tasks that run it.
//!
//! ```text
//!   App ─▶ KStream, KTable ─▶ operators ─▶ logical graph ─▶ Topology (subtopologies, internal topics, stores)
//!                                                              │
//!   records ─▶ Task: one or more subtopologies for one partition ─▶ Outputs, changelog records, offsets
//! ```
//!
//! A program composes typed handles; every operator is one file in `operators/`. The topology is immutable and shared
//! by all its tasks. A [`Task`] is a state machine: records, times and the end of a commit go in, records to write come
//! out. This crate knows nothing of brokers, threads, clocks or files.

mod app;
mod builder;
mod calls;
mod clocks;
mod context;
mod dead_letter;
mod describe;
mod edge;
mod expiring;
mod failure;
mod global_store;
mod global_table;
mod global_task;
mod graph;
mod grouped;
mod heap;
mod input;
mod join_window;
mod materialized;
mod operators;
mod outputs;
mod physical;
mod processor;
mod punctuation;
mod queues;
mod reader;
mod record;
mod retry;
mod row_format;
mod stream;
mod table;
mod table_store;
mod task;
mod topology;
mod window_rows;
mod windows;

pub use app::App;
pub use dead_letter::DeadLetter;
pub use failure::{Failure, Policy, SourceRecord, Step, TaskError};
pub use global_table::GlobalKTable;
pub use global_task::{GlobalInput, GlobalTask};
pub use graph::TopicRole;
pub use grouped::{KGroupedStream, KGroupedTable};
pub use input::Reset;
pub use join_window::JoinWindow;
pub use materialized::Materialized;
pub use operators::*;
pub use outputs::{OutputRecord, OutputTopic, Outputs, PartitionChoice, TopicIndex};
pub use processor::{
    Child, FixedKeyProcessor, FixedKeyRecord, Forward, ForwardValues, GlobalStoreRows, KeyTimers, KeyValues,
    Processor, ProcessorContext, ReadOnlyKeyValues, RecordMetadata, Sessions, StoreRows, Stores, TableRows,
    Timers, ValueTransformer, Versioned, Versions, Windows,
};
pub use punctuation::{Clock, ScheduleId};
pub use reader::{Row, RowRange, StoreReader};
pub(crate) use record::Change;
pub use record::{RawRecord, Record};
pub use retry::Retry;
pub use stream::KStream;
pub use table::KTable;
pub use task::{
    Changelog, Commit, Committed, Globals, Pause, Processed, Task, TaskConfig, TaskId, WindowedRow,
};
pub use tidemill_store::Direction;
pub use topology::{
    GlobalStore, InternalTopic, Lint, ReadOnlyStore, StoreView, Subtopology, Topology, TopologyError,
};
pub use windows::{CogroupWindowKind, Counted, Hopping, Session, Sliding, Tumbling, WindowKind};
