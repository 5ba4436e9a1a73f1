//! What the handles of all kinds of store share: which store it is, and how its keys and values become bytes.

use std::{
    ops::{Bound as End, RangeBounds},
    sync::Arc,
};

use tidemill_data::{BoxError, Data, Headers, Place as At, Presence, StoreName, Wire};
use tidemill_store::{StoreError, StoreKind};

use super::ProcessorContext;
use crate::{
    App, Materialized,
    failure::{Halt, TaskError, guard},
    graph::StoreIndex,
};

/// Which store.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) index: StoreIndex,
    pub(crate) name: String,
    changelog: String,
}

/// A store and its formats.
pub(crate) struct Bound<K, V> {
    pub(crate) place: Arc<Place>,
    key: Wire<K>,
    value: Wire<V>,
}

impl<K, V> Clone for Bound<K, V> {
    fn clone(&self) -> Self {
        Self {
            place: Arc::clone(&self.place),
            key: self.key.clone(),
            value: self.value.clone(),
        }
    }
}

/// The bytes of a key, or of the ends of a range of keys.
pub(crate) type KeyBytes = Vec<u8>;

/// A range of keys: both ends inclusive, `None` open; and the key at the end that is not meant, if there is one.
pub(crate) struct KeySpan {
    pub(crate) from: Option<KeyBytes>,
    pub(crate) to: Option<KeyBytes>,
    pub(crate) except: Option<KeyBytes>,
}

impl<K: 'static, V: 'static> Bound<K, V> {
    /// Declares a store of a processor.
    pub(crate) fn declare(app: &App, name: &StoreName<K, V>, kind: StoreKind) -> Self {
        let materialized = Materialized::from(name);
        let mut graph = app.builder.lock();
        let index = materialized.declare(&mut graph, "", kind, true);
        Self {
            place: Arc::new(Place {
                index,
                name: name.name().to_owned(),
                changelog: format!("{}-{}-changelog", graph.app, name.name()),
            }),
            key: materialized.key,
            value: materialized.value,
        }
    }

    /// A store whose rows have the bytes of a topic.
    pub(crate) fn of_topic(index: StoreIndex, name: &str, topic: &str, key: Wire<K>, value: Wire<V>) -> Self {
        let place = Place {
            index,
            name: name.to_owned(),
            changelog: topic.to_owned(),
        };
        Self {
            place: Arc::new(place),
            key,
            value,
        }
    }

    pub(crate) fn key(&self, key: &K) -> Result<KeyBytes, BoxError> {
        let (none, mut bytes) = (Headers::new(), Vec::new());
        let at = At::key(&self.place.changelog, &none);
        match self.key.encode(at, key, &mut bytes)? {
            Presence::Value => Ok(bytes),
            Presence::Null => Err(format!("a null is no key in store {:?}", self.place.name).into()),
        }
    }

    /// A value's bytes; `None` for a null, which deletes.
    pub(crate) fn value(&self, value: &V) -> Result<Option<Vec<u8>>, BoxError> {
        let (none, mut bytes) = (Headers::new(), Vec::new());
        let at = At::value(&self.place.changelog, &none);
        let presence = self.value.encode(at, value, &mut bytes)?;
        Ok((presence == Presence::Value).then_some(bytes))
    }

    pub(crate) fn decode_key(&self, bytes: &[u8]) -> Result<K, Halt> {
        let none = Headers::new();
        let at = At::key(&self.place.changelog, &none);
        self.decoded(guard(|| self.key.decode(at, Some(bytes))))
    }

    pub(crate) fn decode_value(&self, bytes: &[u8]) -> Result<V, Halt> {
        let none = Headers::new();
        let at = At::value(&self.place.changelog, &none);
        self.decoded(guard(|| self.value.decode(at, Some(bytes))))
    }

    fn decoded<T>(
        &self,
        decoded: Result<Result<T, tidemill_data::DecodeError>, BoxError>,
    ) -> Result<T, Halt> {
        let decoded = decoded.and_then(|decoded| decoded.map_err(BoxError::from));
        decoded.map_err(|error| {
            let store = self.place.name.clone();
            TaskError::State { store, error }.into()
        })
    }

    /// The value that a store gave.
    pub(crate) fn found(&self, found: Result<Option<&[u8]>, StoreError>) -> Result<Option<V>, Halt> {
        found?.map(|bytes| self.decode_value(bytes)).transpose()
    }

    pub(crate) fn span(&self, keys: &impl RangeBounds<K>) -> Result<KeySpan, BoxError> {
        let from = match keys.start_bound() {
            End::Included(key) => Some(self.key(key)?),
            // The next key there can be.
            End::Excluded(key) => Some([self.key(key)?, vec![0]].concat()),
            End::Unbounded => None,
        };
        let (to, except) = match keys.end_bound() {
            End::Included(key) => (Some(self.key(key)?), None),
            End::Excluded(key) => {
                let key = self.key(key)?;
                (Some(key.clone()), Some(key))
            }
            End::Unbounded => (None, None),
        };
        Ok(KeySpan { from, to, except })
    }
}

/// The bytes of a prefix, in its type's own format.
pub(crate) fn prefix_bytes<P: Data>(prefix: &P) -> Result<Vec<u8>, BoxError> {
    let mut bytes = Vec::new();
    let _ = prefix.encode(&mut bytes)?;
    Ok(bytes)
}

/// What a store gave, or the error that stops the task.
pub(crate) fn kept<T>(at: &mut ProcessorContext<'_>, result: Result<T, Halt>) -> Result<T, BoxError> {
    result.map_err(|halt| at.stop(halt))
}
