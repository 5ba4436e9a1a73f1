//! `StoreReader`: typed reads of stores, for queries.

use std::ops::Bound;

use tidemill_data::{Headers, Place, Presence, Stamped, StoreName, Timestamp};
use tidemill_store::{Direction, StateStores, StoreId, StoreKind};

use crate::{TaskError, Topology};

/// Reads the stores of a task, or the global ones of an instance, by their names and types.
///
/// A store that is not there, or is of another kind, has no rows: which stores are where, the topology tells.
pub struct StoreReader<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) stores: Option<&'a mut StateStores>,
    globals: Option<&'a mut StateStores>,
}

/// A row of a table: its key, its value, and since when it has it. A plain key-value store keeps no time: there it is
/// [`Timestamp::MIN`].
pub type Row<K, V> = (K, Stamped<V>);

/// Which rows of a table are wanted, by the bytes of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// The first key.
    pub from: Bound<Vec<u8>>,
    /// The last key.
    pub to: Bound<Vec<u8>>,
    /// In which order they come.
    pub direction: Direction,
    /// No more than so many.
    pub rows_max: usize,
}

impl RowRange {
    /// All rows in the order of their keys.
    pub const ALL: Self = Self {
        from: Bound::Unbounded,
        to: Bound::Unbounded,
        direction: Direction::Forward,
        rows_max: usize::MAX,
    };

    /// Rows whose keys' bytes begin with these.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let to = tidemill_store::prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Self {
            from: Bound::Included(prefix.to_vec()),
            to,
            ..Self::ALL
        }
    }

    fn holds(&self, key: &[u8]) -> bool {
        let after = match &self.from {
            Bound::Included(from) => key >= from.as_slice(),
            Bound::Excluded(from) => key > from.as_slice(),
            Bound::Unbounded => true,
        };
        let before = match &self.to {
            Bound::Included(to) => key <= to.as_slice(),
            Bound::Excluded(to) => key < to.as_slice(),
            Bound::Unbounded => true,
        };
        after && before
    }
}

fn inclusive(bound: &Bound<Vec<u8>>) -> Option<&[u8]> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

impl<'a> StoreReader<'a> {
    /// A reader of these stores, opened for the topology.
    pub fn new(topology: &'a Topology, stores: &'a mut StateStores) -> Self {
        Self {
            topology,
            stores: Some(stores),
            globals: None,
        }
    }

    pub(crate) fn of_globals(topology: &'a Topology, globals: &'a mut StateStores) -> Self {
        Self {
            topology,
            stores: None,
            globals: Some(globals),
        }
    }

    pub(crate) fn with_globals(self, globals: Option<&'a mut StateStores>) -> Self {
        Self { globals, ..self }
    }

    /// The row of a key.
    ///
    /// # Errors
    /// When the key cannot be encoded, the row not decoded, or the database not read.
    pub fn row<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
        key: &K,
    ) -> Result<Option<Stamped<V>>, TaskError> {
        let Some(place) = self.table(store.name()) else {
            return Ok(None);
        };
        let Some(key) = place.key_bytes(store, key)? else {
            return Ok(None);
        };
        let stores = self.holding(&place);
        let row = match place.kind {
            RowKind::Plain => {
                let value = stores.key_value(place.id).get(&key)?;
                value.map(|value| (value, Timestamp::MIN))
            }
            RowKind::Stamped => stores.timestamped(place.id).get(&key)?,
            RowKind::Versioned => {
                let version = stores.versioned(place.id).get(&key)?;
                version.map(|version| (version.value, version.valid_from))
            }
        };
        row.map(|(value, at)| Ok(Stamped::new(place.value(store, value)?, at)))
            .transpose()
    }

    /// The row that a key had at a time, with the time since when it had it, in a store that keeps versions; none before
    /// its history.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub fn row_as_of<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
        key: &K,
        at: Timestamp,
    ) -> Result<Option<Stamped<V>>, TaskError> {
        let versioned = |place: &TablePlace| place.kind == RowKind::Versioned;
        let Some(place) = self.table(store.name()).filter(versioned) else {
            return Ok(None);
        };
        let Some(key) = place.key_bytes(store, key)? else {
            return Ok(None);
        };
        let stores = self.holding(&place);
        let Some(version) = stores.versioned(place.id).get_as_of(&key, at)? else {
            return Ok(None);
        };
        let value = place.value(store, version.value)?;
        Ok(Some(Stamped::new(value, version.valid_from)))
    }

    /// The rows of a range, in the order of their keys' bytes.
    ///
    /// # Errors
    /// When a row cannot be decoded or the database not read.
    pub fn rows<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
        range: &RowRange,
    ) -> Result<Vec<Row<K, V>>, TaskError> {
        let Some(place) = self.table(store.name()) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        // Whether more is wanted.
        let mut keep = |key: &[u8], value: &[u8], at| -> Result<bool, TaskError> {
            if found.len() == range.rows_max {
                return Ok(false);
            }
            if range.holds(key) {
                let value = place.value(store, value)?;
                found.push((place.key(store, key)?, Stamped::new(value, at)));
            }
            Ok(true)
        };
        let (from, to) = (inclusive(&range.from), inclusive(&range.to));
        let stores = self.holding(&place);
        match place.kind {
            RowKind::Plain => {
                let mut rows = stores.key_value(place.id).range(from, to, range.direction)?;
                while let Some((key, value)) = rows.entry() {
                    if !keep(key, value, Timestamp::MIN)? {
                        break;
                    }
                    rows.advance()?;
                }
            }
            RowKind::Stamped => {
                let mut rows = stores.timestamped(place.id).range(from, to, range.direction)?;
                while let Some((key, value, at)) = rows.entry() {
                    if !keep(key, value, at)? {
                        break;
                    }
                    rows.advance()?;
                }
            }
            RowKind::Versioned => {
                let mut rows = stores.versioned(place.id).range(from, to, range.direction)?;
                while let Some((key, value, at)) = rows.entry() {
                    if !keep(key, value, at)? {
                        break;
                    }
                    rows.advance()?;
                }
            }
        }
        Ok(found)
    }

    /// A range of keys from `from` to `to`, both inclusive, `None` open.
    ///
    /// # Errors
    /// When a key cannot be encoded.
    pub fn range<K: 'static, V: 'static>(
        &self,
        store: &StoreName<K, V>,
        from: Option<&K>,
        to: Option<&K>,
    ) -> Result<RowRange, TaskError> {
        let Some(place) = self.table(store.name()) else {
            return Ok(RowRange::ALL);
        };
        let bound = |key: Option<&K>| -> Result<Bound<Vec<u8>>, TaskError> {
            let Some(key) = key else {
                return Ok(Bound::Unbounded);
            };
            Ok(place
                .key_bytes(store, key)?
                .map_or(Bound::Unbounded, Bound::Included))
        };
        Ok(RowRange {
            from: bound(from)?,
            to: bound(to)?,
            ..RowRange::ALL
        })
    }

    fn holding(&mut self, place: &TablePlace) -> &mut StateStores {
        let stores = if place.global {
            &mut self.globals
        } else {
            &mut self.stores
        };
        stores
            .as_mut()
            .expect("a place is that of a store that was found")
    }

    fn table(&self, name: &str) -> Option<TablePlace> {
        let (index, decl) = self.topology.store(name)?;
        let kind = match decl.spec.kind {
            StoreKind::KeyValue => RowKind::Plain,
            StoreKind::Timestamped => RowKind::Stamped,
            StoreKind::Versioned { .. } => RowKind::Versioned,
            _ => return None,
        };
        let (stores, topic) = match (decl.global_topic, self.topology.filled_from(index)) {
            (Some(topic), _) => (
                self.globals.as_deref()?,
                self.topology.global_formats(index, topic),
            ),
            (None, Some(filled)) => (self.stores.as_deref()?, self.topology.topic_name(filled.topic)),
            (None, None) => {
                let changelog = format!("{}-{name}-changelog", self.topology.app);
                (self.stores.as_deref()?, changelog)
            }
        };
        Some(TablePlace {
            id: stores.find(name)?,
            kind,
            global: decl.global_topic.is_some(),
            topic,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RowKind {
    Plain,
    Stamped,
    Versioned,
}

/// Where a table's rows are, and the topic that their formats see.
struct TablePlace {
    id: StoreId,
    kind: RowKind,
    global: bool,
    topic: String,
}

impl TablePlace {
    /// The bytes of a key; `None` for a null one, of which no table has a row.
    fn key_bytes<K: 'static, V: 'static>(
        &self,
        store: &StoreName<K, V>,
        key: &K,
    ) -> Result<Option<Vec<u8>>, TaskError> {
        let mut bytes = Vec::new();
        let none = Headers::new();
        let encoded = store
            .key()
            .encode(Place::key(&self.topic, &none), key, &mut bytes);
        let presence = encoded.map_err(|error| unreadable(store, error))?;
        Ok((presence == Presence::Value).then_some(bytes))
    }

    fn key<K: 'static, V: 'static>(&self, store: &StoreName<K, V>, bytes: &[u8]) -> Result<K, TaskError> {
        let none = Headers::new();
        let decoded = store.key().decode(Place::key(&self.topic, &none), Some(bytes));
        decoded.map_err(|error| unreadable(store, error))
    }

    fn value<K: 'static, V: 'static>(&self, store: &StoreName<K, V>, bytes: &[u8]) -> Result<V, TaskError> {
        let none = Headers::new();
        let decoded = store
            .value()
            .decode(Place::value(&self.topic, &none), Some(bytes));
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
