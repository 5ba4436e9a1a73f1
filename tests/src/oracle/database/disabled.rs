//! Without RocksDB.

use anyhow::{Result, bail};

use super::Database;

/// Refuses.
///
/// # Errors
/// Always: RocksDB is not built in.
pub fn in_rocksdb(_names: &[&str]) -> Result<Database> {
    bail!("RocksDB is not built in: enable the feature `rocksdb`")
}
