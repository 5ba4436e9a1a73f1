//! The rows of a task's table stores, typed, uncommitted writes included.

use std::sync::Arc;

use tidemill_data::{Stamped, StoreName, Timestamp};

use tidemill_store::{StateStores, StoreOptions, StoreSpec};

use super::Task;
use crate::{RowRange, StoreReader, TaskError, Topology, reader::Row};

/// The stores of a task as its last commit left them: see [`Task::last_commit`]. Where commits are held back from the
/// database, it is the last one written.
pub struct Committed {
    topology: Arc<Topology>,
    stores: StateStores,
}

impl Committed {
    /// Reads them.
    pub fn reader(&mut self) -> StoreReader<'_> {
        StoreReader::new(&self.topology, &mut self.stores)
    }
}

impl Task {
    /// Reads the task's stores, uncommitted writes included, and the instance's global ones.
    pub fn reader(&mut self) -> StoreReader<'_> {
        let ctx = &mut self.ctx;
        StoreReader::new(&ctx.topology, &mut ctx.stores).with_globals(ctx.globals.as_mut())
    }

    /// Reads the task's stores as its last commit left them, in a view of its own.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_commit(&self) -> Result<Committed, TaskError> {
        let topology = Arc::clone(&self.ctx.topology);
        let names = self.ctx.stores.names();
        let specs: Vec<StoreSpec> = topology
            .stores
            .iter()
            .filter(|store| names.contains(&store.spec.name.as_str()))
            .map(|store| store.spec.clone())
            .collect();
        let options = StoreOptions {
            cache_bytes_max: 0,
            ..StoreOptions::default()
        };
        let stores = StateStores::open(Arc::clone(self.ctx.stores.base()), &specs, &options)?;
        Ok(Committed { topology, stores })
    }

    /// One row of a table's store, uncommitted writes included; `None` also when the task has no such store.
    ///
    /// # Errors
    /// When the key cannot be encoded, the row not decoded, or the database not read.
    pub fn row<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
        key: &K,
    ) -> Result<Option<Stamped<V>>, TaskError> {
        self.reader().row(store, key)
    }

    /// One row of a versioned table's store as it was at a time, with the time since when it was so; `None` also
    /// beyond the store's history, and when the task has no such store or it keeps no versions.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub fn row_as_of<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
        key: &K,
        at: Timestamp,
    ) -> Result<Option<Stamped<V>>, TaskError> {
        self.reader().row_as_of(store, key, at)
    }

    /// All rows of a table's store in the order of their keys' bytes, uncommitted writes included; none when the task
    /// has no such store.
    ///
    /// # Errors
    /// When a row cannot be decoded or the database not read.
    pub fn rows<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
    ) -> Result<Vec<Row<K, V>>, TaskError> {
        self.reader().rows(store, &RowRange::ALL)
    }
}
