//! The rows of a task's windowed tables, typed, uncommitted writes included.

use std::{any::Any, ops::RangeInclusive};

use bytes::Bytes;
use tidemill_data::{Headers, Place, Presence, Stamped, StoreName, Timestamp, Windowed, Wire};
use tidemill_store::{Direction, StateStores, StoreId, StoreKind};

use super::Task;
use crate::{StoreReader, TaskError, Topology};

/// A row of a windowed table.
pub type WindowedRow<K, V> = (Windowed<K>, Stamped<V>);

impl Task {
    /// One window's row of a windowed table, uncommitted writes included; `None` also when the task has no such store.
    /// A session has no timestamp of its own: its end stands for it.
    ///
    /// # Errors
    /// When the key cannot be encoded, the row not decoded, or the database not read.
    pub fn window<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<Windowed<K>, V>,
        key: &Windowed<K>,
    ) -> Result<Option<Stamped<V>>, TaskError> {
        self.reader().window(store, key)
    }

    /// All rows of a windowed table, uncommitted writes included, of one key or of all; none when the task has no such
    /// store. They come by time segment, key and window.
    ///
    /// # Errors
    /// When a row cannot be decoded or the database not read.
    pub fn windows<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<Windowed<K>, V>,
        key: Option<&K>,
    ) -> Result<Vec<WindowedRow<K, V>>, TaskError> {
        self.reader().windows(store, key, 0..=i64::MAX)
    }
}

impl StoreReader<'_> {
    /// One window's row of a windowed table. A session has no timestamp of its own: its end stands for it.
    ///
    /// # Errors
    /// When the key cannot be encoded, the row not decoded, or the database not read.
    pub fn window<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<Windowed<K>, V>,
        key: &Windowed<K>,
    ) -> Result<Option<Stamped<V>>, TaskError> {
        let Some((place, stores)) = self.window_place::<K, V>(store) else {
            return Ok(None);
        };
        let bytes = place.key_bytes(store, &key.key)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let row = if place.size_ms.is_some() {
            stores.window(place.id).get(&bytes, key.start_ms)?
        } else {
            let end = Timestamp::from_millis(key.end_ms);
            let session = stores.session(place.id).get(&bytes, key.start_ms, key.end_ms)?;
            session.map(|value| (value, end))
        };
        row.map(|(value, at)| Ok(Stamped::new(place.value(store, value)?, at)))
            .transpose()
    }

    /// The rows of a windowed table, of one key or of all, in windows that start within these times, or sessions that
    /// overlap them. They come by time segment, key and window.
    ///
    /// # Errors
    /// When a row cannot be decoded or the database not read.
    pub fn windows<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<Windowed<K>, V>,
        key: Option<&K>,
        times_ms: RangeInclusive<i64>,
    ) -> Result<Vec<WindowedRow<K, V>>, TaskError> {
        let Some((place, stores)) = self.window_place::<K, V>(store) else {
            return Ok(Vec::new());
        };
        let bytes = match key {
            Some(key) => match place.key_bytes(store, key)? {
                Some(bytes) => Some(bytes),
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let mut found = Vec::new();
        let mut keep = |key: &[u8], (start_ms, end_ms), value: &[u8], at| -> Result<(), TaskError> {
            let key = Windowed::new(place.key(store, key)?, start_ms, end_ms);
            found.push((key, Stamped::new(place.value(store, value)?, at)));
            Ok(())
        };
        let (forward, bounds) = (Direction::Forward, (bytes.as_deref(), bytes.as_deref()));
        let (from_ms, to_ms) = times_ms.into_inner();
        if let Some(size_ms) = place.size_ms {
            let windows = stores.window(place.id);
            let mut rows = windows.fetch_range(bounds, from_ms, to_ms, forward)?;
            while let Some(row) = rows.entry() {
                let span = (row.start_ms, row.start_ms.saturating_add(size_ms));
                keep(row.key, span, row.value, row.timestamp)?;
                rows.advance()?;
            }
        } else {
            let sessions = stores.session(place.id);
            let mut rows = sessions.find_sessions_range(bounds, from_ms, to_ms, forward)?;
            while let Some(row) = rows.entry() {
                let at = Timestamp::from_millis(row.end_ms);
                keep(row.key, (row.start_ms, row.end_ms), row.value, at)?;
                rows.advance()?;
            }
        }
        Ok(found)
    }

    fn window_place<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<Windowed<K>, V>,
    ) -> Option<(WindowPlace<K>, &mut StateStores)> {
        let (_, decl) = self.topology.store(store.name())?;
        let windows = decl.windows.as_ref()?;
        if !matches!(
            decl.spec.kind,
            StoreKind::Window { .. } | StoreKind::Session { .. }
        ) {
            return None;
        }
        let changelog = format!("{}-{}-changelog", self.topology.app, store.name());
        let stores = self.stores.as_deref_mut()?;
        let place = WindowPlace {
            id: stores.find(store.name())?,
            key: wire(&*windows.key)?,
            size_ms: windows.size_ms,
            changelog,
        };
        Some((place, stores))
    }
}

impl Topology {
    /// How the keys of a windowed store are written; `None` where it has no windows, or keys of another type. Of every
    /// windowed store they are bytes, too.
    #[must_use]
    pub fn window_keys<K: 'static>(&self, store: &str) -> Option<Wire<K>> {
        let (_, decl) = self.store(store)?;
        wire(&*decl.windows.as_ref()?.key)
    }
}

fn wire<K: 'static>(key: &dyn Any) -> Option<Wire<K>> {
    let as_bytes = Wire::<Bytes>::own();
    let as_bytes: &dyn Any = &as_bytes;
    let known = key.downcast_ref::<Wire<K>>().or_else(|| as_bytes.downcast_ref());
    known.cloned()
}

/// Where a windowed table's rows are, and how their keys are written.
struct WindowPlace<K> {
    id: StoreId,
    key: Wire<K>,
    // Without one the windows are sessions.
    size_ms: Option<i64>,
    changelog: String,
}

impl<K: 'static> WindowPlace<K> {
    fn key_bytes<V: 'static>(
        &self,
        store: &StoreName<Windowed<K>, V>,
        key: &K,
    ) -> Result<Option<Vec<u8>>, TaskError> {
        let (mut bytes, none) = (Vec::new(), Headers::new());
        let place = Place::key(&self.changelog, &none);
        let presence = self.key.encode(place, key, &mut bytes);
        let presence = presence.map_err(|error| unreadable(store, error))?;
        Ok((presence == Presence::Value).then_some(bytes))
    }

    fn key<V: 'static>(&self, store: &StoreName<Windowed<K>, V>, bytes: &[u8]) -> Result<K, TaskError> {
        let none = Headers::new();
        let decoded = self.key.decode(Place::key(&self.changelog, &none), Some(bytes));
        decoded.map_err(|error| unreadable(store, error))
    }

    fn value<V: 'static>(&self, store: &StoreName<Windowed<K>, V>, bytes: &[u8]) -> Result<V, TaskError> {
        let none = Headers::new();
        let place = Place::value(&self.changelog, &none);
        let decoded = store.value().decode(place, Some(bytes));
        decoded.map_err(|error| unreadable(store, error))
    }
}

fn unreadable<K: 'static, V: 'static>(
    store: &StoreName<Windowed<K>, V>,
    error: impl std::error::Error + Send + Sync + 'static,
) -> TaskError {
    TaskError::State {
        store: store.name().to_owned(),
        error: error.into(),
    }
}
