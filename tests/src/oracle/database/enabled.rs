//! State in RocksDB.

use std::sync::Arc;

use anyhow::Result;
use tidemill_rocksdb::{MemoryBudget, RocksDb};

use super::Database;

/// Keeps a case's state in RocksDB, in a temporary folder.
///
/// # Errors
/// When the folder or the database cannot be opened.
pub fn in_rocksdb(names: &[&str]) -> Result<Database> {
    let folder = tempfile::tempdir()?;
    let base = RocksDb::open(folder.path(), names, &MemoryBudget::new(16 << 20))?;
    Ok(Database {
        base: Arc::new(base),
        _folder: Some(folder),
    })
}
