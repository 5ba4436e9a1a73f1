//! Our own client, over Kafka's protocol. Layers, from the socket up; each knows only those above it in this list.
//!
//! ```text
//! connection   frames, numbering, versions, timeouts, reconnecting          over anything that dials
//! cluster      who leads what, coordinators, controller
//! coordinator  a group's or a transaction's, wherever it moves
//! producer     batches by partition, sequence numbers, retries in order     accumulator: pure
//! fetcher      sessions, positions, read-ahead within a budget              core, session, chunk: pure
//! group        membership, assignor, committed offsets                      membership, assignor: pure
//! transport    all of it as the runtime's `Transport`
//! ```

mod cluster;
mod connection;
mod coordinator;
mod delete_records;
mod engine;
mod fetcher;
mod group;
#[cfg(feature = "broker")]
mod local;
mod offsets;
mod producer;
mod settings;
mod topics;
mod transport;

pub use connection::{Address, Dial, FrameSink, FrameSource, Wire};
pub use transport::NativeTransport;
