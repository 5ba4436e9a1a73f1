//! Programs that run: on the cluster in memory, with their state in RocksDB or in memory.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, of which clippy sees only those marked"
)]

mod calls;
mod dead_letters;
#[cfg(feature = "http")]
mod everywhere;
#[cfg(feature = "http")]
mod http;
mod joins;
mod patterns;
mod queries;
mod restoring;
#[cfg(feature = "rocksdb")]
mod state_dir;
mod threads;
