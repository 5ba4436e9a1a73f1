//! The rows of a task's table stores, typed, uncommitted writes included.

use tidemill_data::{Headers, Place, Stamped, StoreName, Timestamp};
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
        let Some(place) = self.table_place(store.name()) else {
            return Ok(None);
        };
        let key = place.key_bytes(store, key)?;
        let row = if place.versioned {
            let version = self.ctx.stores.versioned(place.id).get(&key)?;
            version.map(|version| (version.value, version.valid_from))
        } else {
            self.ctx.stores.timestamped(place.id).get(&key)?
        };
        row.map(|(value, at)| Ok(Stamped::new(place.value(store, value)?, at)))
            .transpose()
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
        let Some(place) = self.table_place(store.name()).filter(|place| place.versioned) else {
            return Ok(None);
        };
        let key = place.key_bytes(store, key)?;
        let Some(version) = self.ctx.stores.versioned(place.id).get_as_of(&key, at)? else {
            return Ok(None);
        };
        let value = place.value(store, version.value)?;
        Ok(Some(Stamped::new(value, version.valid_from)))
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
        let Some(place) = self.table_place(store.name()) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut keep = |key: &[u8], value: &[u8], at| -> Result<(), TaskError> {
            found.push((
                place.key(store, key)?,
                Stamped::new(place.value(store, value)?, at),
            ));
            Ok(())
        };
        let forward = Direction::Forward;
        if place.versioned {
            let mut rows = self.ctx.stores.versioned(place.id).range(None, None, forward)?;
            while let Some((key, value, at)) = rows.entry() {
                keep(key, value, at)?;
                rows.advance()?;
            }
        } else {
            let mut rows = self.ctx.stores.timestamped(place.id).all(forward)?;
            while let Some((key, value, at)) = rows.entry() {
                keep(key, value, at)?;
                rows.advance()?;
            }
        }
        Ok(found)
    }

    fn table_place(&self, name: &str) -> Option<TablePlace> {
        let (_, decl) = self.ctx.topology.store(name)?;
        let versioned = match decl.spec.kind {
            StoreKind::Timestamped => false,
            StoreKind::Versioned { .. } => true,
            _ => return None,
        };
        Some(TablePlace {
            id: self.ctx.stores.find(name)?,
            versioned,
            changelog: format!("{}-{name}-changelog", self.ctx.topology.app),
        })
    }
}

/// Where a table's rows are, and the topic that their formats see.
struct TablePlace {
    id: StoreId,
    versioned: bool,
    changelog: String,
}

impl TablePlace {
    fn key_bytes<K: 'static, V: 'static>(
        &self,
        store: &StoreName<K, V>,
        key: &K,
    ) -> Result<Vec<u8>, TaskError> {
        let mut bytes = Vec::new();
        let none = Headers::new();
        let encoded = store
            .key()
            .encode(Place::key(&self.changelog, &none), key, &mut bytes);
        let _ = encoded.map_err(|error| unreadable(store, error))?;
        Ok(bytes)
    }

    fn key<K: 'static, V: 'static>(&self, store: &StoreName<K, V>, bytes: &[u8]) -> Result<K, TaskError> {
        let none = Headers::new();
        let decoded = store
            .key()
            .decode(Place::key(&self.changelog, &none), Some(bytes));
        decoded.map_err(|error| unreadable(store, error))
    }

    fn value<K: 'static, V: 'static>(&self, store: &StoreName<K, V>, bytes: &[u8]) -> Result<V, TaskError> {
        let none = Headers::new();
        let decoded = store
            .value()
            .decode(Place::value(&self.changelog, &none), Some(bytes));
        decoded.map_err(|error| unreadable(store, error))
    }
}

fn unreadable<K: 'static, V: 'static>(
    store: &StoreName<K, V>,
    error: impl std::error::Error + Send + Sync + 'static,
) -> TaskError {
    TaskError::State {
        store: store.name().to_owned(),
        error: error.into(),
    }
}
