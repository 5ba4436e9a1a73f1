//! `ByteStore` on RocksDB, and the one memory budget of all databases in a process.
//!
//! ```no_run
//! use tidemill_rocksdb::{MemoryBudget, RocksDb};
//!
//! let memory = MemoryBudget::of_this_machine();            // once a process
//! let task = RocksDb::open("state/articles/0_1".as_ref(), &["counts"], &memory)?;
//! # Ok::<(), tidemill_rocksdb::OpenError>(())
//! ```
//!
//! One database holds the state of one task: a column family a store, and RocksDB's own default family for what the
//! stores keep of themselves. A commit is one write batch. The write-ahead log is on, so that a commit survives the
//! process, and is not synced, so that it may not survive the machine: the changelog covers that.
//!
//! This crate knows nothing of what the bytes mean.

mod budget;
mod cursor;
mod database;
mod error;

pub use budget::MemoryBudget;
pub use database::RocksDb;
pub use error::OpenError;
