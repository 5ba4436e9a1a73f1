//! Databases in memory, where the program is built without RocksDB: state comes back from changelogs at every start.

use std::path::Path;
use std::sync::Arc;

use tidemill_store::{ByteStore, MemoryByteStore};
use tidemill_streams::TaskId;

use crate::error::RunError;

pub(super) struct Engine;

impl Engine {
    pub(super) fn new(_memory_bytes: Option<usize>) -> Self {
        Self
    }

    /// The rows are in memory anyway: no cache above them.
    pub(super) fn cache_bytes(&self) -> usize {
        0
    }

    pub(super) fn open(
        &self,
        _path: &Path,
        _task: TaskId,
        stores: &[String],
    ) -> Result<Arc<dyn ByteStore>, RunError> {
        let names: Vec<&str> = stores.iter().map(String::as_str).collect();
        Ok(Arc::new(MemoryByteStore::new(&names)))
    }
}
