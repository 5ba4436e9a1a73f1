//! Databases on RocksDB, under one memory budget.

use std::sync::Arc;

use tidemill_rocksdb::{MemoryBudget, RocksDb};
use tidemill_store::ByteStore;
use tidemill_streams::TaskId;

use crate::error::RunError;
use crate::state_dir::StateDir;

pub(super) struct Engine {
    budget: MemoryBudget,
}

impl Engine {
    pub(super) fn new(memory_bytes: Option<usize>) -> Self {
        Self { budget: memory_bytes.map_or_else(MemoryBudget::of_this_machine, MemoryBudget::new) }
    }

    pub(super) fn open(&self, dir: &StateDir, task: TaskId, stores: &[String]) -> Result<Arc<dyn ByteStore>, RunError> {
        let name = task.to_string();
        let path = dir.task(&name)?;
        let database = RocksDb::open(&path, stores, &self.budget);
        let database = database.map_err(|error| RunError::State { task: name, reason: error.to_string() })?;
        Ok(Arc::new(database))
    }
}
