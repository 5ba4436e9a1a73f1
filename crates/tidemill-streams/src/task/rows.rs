//! The rows of a task's table stores, typed, uncommitted writes included.

use tidemill_data::{Stamped, StoreName, Timestamp};

use super::Task;
use crate::{RowRange, StoreReader, TaskError, reader::Row};

impl Task {
    /// Reads the task's stores, uncommitted writes included, and the instance's global ones.
    pub fn reader(&mut self) -> StoreReader<'_> {
        let ctx = &mut self.ctx;
        StoreReader::new(&ctx.topology, &mut ctx.stores).with_globals(ctx.globals.as_mut())
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
