//! Where the state of a case's task lives.

use std::sync::Arc;

use anyhow::Result;
use tempfile::TempDir;
use tidemill_store::{ByteStore, MemoryByteStore};

#[cfg(feature = "rocksdb")]
#[path = "database/enabled.rs"]
mod rocksdb;
#[cfg(not(feature = "rocksdb"))]
#[path = "database/disabled.rs"]
mod rocksdb;

pub use rocksdb::in_rocksdb;

/// The database of a case's task, and the folder it lies in, if any, which goes with it.
pub struct Database {
    base: Arc<dyn ByteStore>,
    _folder: Option<TempDir>,
}

impl Database {
    pub(super) fn base(&self) -> Arc<dyn ByteStore> {
        Arc::clone(&self.base)
    }
}

/// Opens the database of a case's task, given the names of its stores.
pub type OpenStore<'a> = &'a dyn Fn(&[&str]) -> Result<Database>;

/// Keeps a case's state in memory.
///
/// # Errors
/// Never; the signature is that of [`OpenStore`].
pub fn in_memory(names: &[&str]) -> Result<Database> {
    Ok(Database {
        base: Arc::new(MemoryByteStore::new(names)),
        _folder: None,
    })
}
