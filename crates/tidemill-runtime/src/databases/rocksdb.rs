//! Databases on RocksDB, under one memory budget.

use std::path::Path;
use std::sync::Arc;

use tidemill_rocksdb::{MemoryBudget, OpenError, RocksDb};
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
        let failed = |reason: String| RunError::State {
            task: task.to_string(),
            reason,
        };
        let opened = match RocksDb::open(path, stores, &self.budget) {
            Err(error @ OpenError::Corrupt { .. }) => {
                tracing::warn!("{error}: that is done now, and task {task} restored from its changelogs");
                empty(path).map_err(|e| failed(format!("{}: {e}", path.display())))?;
                RocksDb::open(path, stores, &self.budget)
            }
            opened => opened,
        };
        Ok(Arc::new(opened.map_err(|error| failed(error.to_string()))?))
    }
}

/// Deletes what RocksDB wrote. The folder stays, and with it the mark of whose it is.
fn empty(path: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file.file_name().is_none_or(|name| name != "owner") {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidemill_store::{Family, WriteOp};

    use super::*;

    #[test]
    fn a_corrupt_database_is_deleted_and_starts_empty_for_its_changelogs() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(Some(16 << 20));
        let task = TaskId {
            subtopology: 0,
            partition: 1,
        };
        let names = ["counts".to_owned()];
        let (family, key) = (Family::of_store(0), &b"k"[..]);
        let database = engine.open(dir.path(), task, &names).unwrap();
        let put = WriteOp::Put {
            family,
            key,
            value: b"v",
        };
        database.write(&mut [put].into_iter()).unwrap();
        drop(database);
        std::fs::write(dir.path().join("CURRENT"), "no manifest\n").unwrap();
        let database = engine.open(dir.path(), task, &names).unwrap();
        assert!(!database.get(family, key, &mut Vec::new()).unwrap());
    }
}
