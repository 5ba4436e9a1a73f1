//! The databases of an instance's tasks. They stay open across rebalances: a task that comes back finds its state
//! where it was.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tidemill_store::ByteStore;
use tidemill_streams::TaskId;

use crate::config::Config;
use crate::error::RunError;
use crate::state_dir::StateDir;

#[cfg_attr(feature = "rocksdb", path = "rocksdb.rs")]
#[cfg_attr(not(feature = "rocksdb"), path = "memory.rs")]
mod engine;

pub(crate) struct Databases {
    dir: StateDir,
    engine: engine::Engine,
    // Guards the table; opening happens under it, so that no two threads open the same.
    open: Mutex<HashMap<TaskId, Arc<dyn ByteStore>>>,
}

impl Databases {
    pub(crate) fn new(dir: StateDir, config: &Config) -> Self {
        Self {
            dir,
            engine: engine::Engine::new(config.state_memory_bytes),
            open: Mutex::default(),
        }
    }

    /// What the caches above the databases may take together.
    pub(crate) fn cache_bytes(&self) -> usize {
        self.engine.cache_bytes()
    }

    /// A task's database, with a family for each store.
    pub(crate) fn open(&self, task: TaskId, stores: &[String]) -> Result<Arc<dyn ByteStore>, RunError> {
        let mut open = self.open.lock().expect("opening does not panic");
        if let Some(database) = open.get(&task) {
            return Ok(database.clone());
        }
        let path = self.dir.task(&task.to_string())?;
        let database = self.engine.open(&path, task, stores)?;
        open.insert(task, database.clone());
        Ok(database)
    }

    /// Lets a task have this database, whatever the engine is.
    #[cfg(test)]
    pub(crate) fn put(&self, task: TaskId, database: Arc<dyn ByteStore>) {
        let mut open = self.open.lock().expect("as above");
        open.insert(task, database);
    }

    /// Closes those that no task has. One that could not write may stay so (RocksDB reads on, and writes no more, until it
    /// is opened anew), and the next task is to find out whether there is room again.
    pub(crate) fn close_idle(&self) {
        let mut open = self.open.lock().expect("as above");
        open.retain(|_, database| Arc::strong_count(database) > 1);
    }

    /// Writes everything to disk, for a stop in good order.
    pub(crate) fn flush(&self) {
        for (task, database) in self.open.lock().expect("as above").iter() {
            if let Err(error) = database.flush() {
                tracing::warn!(
                    "state of task {task} was not flushed: {error}; the next start repeats from the log"
                );
            }
        }
    }

    pub(crate) fn dir(&self) -> &StateDir {
        &self.dir
    }
}
