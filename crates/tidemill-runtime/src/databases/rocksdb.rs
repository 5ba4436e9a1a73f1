//! Databases on RocksDB, under one memory budget.

use std::path::Path;
use std::sync::Arc;

use tidemill_rocksdb::{MemoryBudget, RocksDb};
use tidemill_store::ByteStore;
use tidemill_streams::TaskId;

use crate::error::RunError;

pub(super) struct Engine {
    budget: MemoryBudget,
}

impl Engine {
    pub(super) fn new(memory_bytes: Option<usize>) -> Self {
        Self {
            budget: memory_bytes.map_or_else(MemoryBudget::of_this_machine, MemoryBudget::new),
        }
    }

    /// What the caches above the databases may take together.
    pub(super) fn cache_bytes(&self) -> usize {
        self.budget.overlay_bytes()
    }

    pub(super) fn open(
        &self,
        path: &Path,
        task: TaskId,
        stores: &[String],
    ) -> Result<Arc<dyn ByteStore>, RunError> {
        let failed = |error: tidemill_rocksdb::OpenError| {
            let reason = error.to_string();
            RunError::State {
                task: task.to_string(),
                reason,
            }
        };
        Ok(Arc::new(
            RocksDb::open(path, stores, &self.budget).map_err(failed)?,
        ))
    }
}
