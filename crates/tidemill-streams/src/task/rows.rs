//! The rows of a task's table stores, typed, uncommitted writes included.

use tidemill_data::{Headers, Place, Stamped, StoreName};
use tidemill_store::{Direction, StoreId, StoreKind};

use super::Task;
use crate::TaskError;

impl Task {
    /// One row of a table's store, uncommitted writes included; `None` also when the task has no such store.
    ///
    /// # Errors
    /// When the key cannot be encoded, the row not decoded, or the database not read.
    pub fn row<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
        key: &K,
    ) -> Result<Option<Stamped<V>>, TaskError> {
        let none = Headers::new();
        let Some((id, topic)) = self.table_store(store.name()) else {
            return Ok(None);
        };
        let state = |error| TaskError::State {
            store: store.name().to_owned(),
            error,
        };
        let mut bytes = Vec::new();
        let _ = store
            .key()
            .encode(Place::key(&topic, &none), key, &mut bytes)
            .map_err(|e| state(e.into()))?;
        let Some((value, timestamp)) = self.ctx.stores.timestamped(id).get(&bytes)? else {
            return Ok(None);
        };
        let value = store.value().decode(Place::value(&topic, &none), Some(value));
        Ok(Some(Stamped::new(value.map_err(|e| state(e.into()))?, timestamp)))
    }

    /// All rows of a table's store in the order of their keys' bytes, uncommitted writes included; none when the task
    /// has no such store.
    ///
    /// # Errors
    /// When a row cannot be decoded or the database not read.
    pub fn rows<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
    ) -> Result<Vec<(K, Stamped<V>)>, TaskError> {
        let none = Headers::new();
        let Some((id, topic)) = self.table_store(store.name()) else {
            return Ok(Vec::new());
        };
        let state = |error| TaskError::State {
            store: store.name().to_owned(),
            error,
        };
        let mut found = Vec::new();
        let mut rows = self.ctx.stores.timestamped(id).all(Direction::Forward)?;
        while let Some((key, value, timestamp)) = rows.entry() {
            let key = store
                .key()
                .decode(Place::key(&topic, &none), Some(key))
                .map_err(|e| state(e.into()))?;
            let value = store.value().decode(Place::value(&topic, &none), Some(value));
            found.push((key, Stamped::new(value.map_err(|e| state(e.into()))?, timestamp)));
            rows.advance()?;
        }
        Ok(found)
    }

    fn table_store(&self, name: &str) -> Option<(StoreId, String)> {
        let (_, decl) = self.ctx.topology.store(name)?;
        let id = self
            .ctx
            .stores
            .find(name)
            .filter(|_| decl.spec.kind == StoreKind::Timestamped)?;
        Some((id, format!("{}-{name}-changelog", self.ctx.topology.app)))
    }
}
