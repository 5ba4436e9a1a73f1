//! A typed view of a timestamped store: the rows of a table.

use std::mem::take;

use tidemill_data::{BoxError, Headers, Place, Presence, Stamped, Timestamp, Wire};

use crate::{
    Record,
    context::Context,
    failure::{Halt, Step, TaskError, guard},
    graph::{Graph, NodeId, StoreIndex},
    table::Getter,
};

/// What became of a row that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is there.
    Row,
    /// It went: the value is, or encodes to, null.
    Removed,
    /// The value could not be encoded, which the policy dealt with.
    Failed,
}

/// The rows of a table in their store.
pub(crate) struct TableStore<K, V> {
    pub(crate) index: StoreIndex,
    pub(crate) name: String,
    changelog: String,
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
}

impl<K, V> Clone for TableStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            index: self.index,
            name: self.name.clone(),
            changelog: self.changelog.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
        }
    }
}

impl<K: 'static, V: 'static> TableStore<K, V> {
    pub(crate) fn new(graph: &Graph, index: StoreIndex, key: Wire<K>, value: Wire<V>) -> Self {
        let decl = graph
            .stores
            .get(index.0)
            .expect("store indexes come from this graph");
        let name = decl.spec.name.clone();
        Self {
            index,
            changelog: format!("{}-{name}-changelog", graph.app),
            name,
            key,
            value,
        }
    }

    /// The key's bytes in the task's buffer, to be given back; `None` for a record that is dropped for its key.
    pub(crate) fn key_bytes<W>(
        &self,
        ctx: &mut Context,
        node: NodeId,
        record: &Record<K, W>,
    ) -> Result<Option<Vec<u8>>, Halt> {
        let bytes = self.encode_key(ctx, node, &record.key, &record.headers)?;
        if bytes.is_none() {
            ctx.drop_record();
        }
        Ok(bytes)
    }

    fn encode_key(
        &self,
        ctx: &mut Context,
        node: NodeId,
        key: &K,
        headers: &Headers,
    ) -> Result<Option<Vec<u8>>, Halt> {
        let mut bytes = take(&mut ctx.key);
        bytes.clear();
        let place = Place::key(&self.changelog, headers);
        let encoded = guard(|| self.key.encode(place, key, &mut bytes));
        match encoded.and_then(|encoded| encoded.map_err(BoxError::from)) {
            Ok(Presence::Value) => return Ok(Some(bytes)),
            Ok(Presence::Null) => {}
            Err(error) => ctx.failed(node, Step::Encode, error)?,
        }
        ctx.key = bytes;
        Ok(None)
    }

    pub(crate) fn get(&self, ctx: &mut Context, key: &[u8]) -> Result<Option<Stamped<V>>, Halt> {
        let id = ctx.store_id(self.index);
        let Some((value, timestamp)) = ctx.stores.timestamped(id).get(key)? else {
            return Ok(None);
        };
        let value = self.decode(value)?;
        Ok(Some(Stamped::new(value, timestamp)))
    }

    pub(crate) fn decode(&self, value: &[u8]) -> Result<V, Halt> {
        let none = Headers::new();
        let place = Place::value(&self.changelog, &none);
        let decoded = guard(|| self.value.decode(place, Some(value)));
        decoded
            .and_then(|decoded| decoded.map_err(BoxError::from))
            .map_err(|error| {
                TaskError::State {
                    store: self.name.clone(),
                    error,
                }
                .into()
            })
    }

    /// Writes a row, or removes it when the value is or encodes to null.
    pub(crate) fn put(
        &self,
        ctx: &mut Context,
        node: NodeId,
        key: &[u8],
        value: Option<&V>,
        timestamp: Timestamp,
    ) -> Result<Written, Halt> {
        let id = ctx.store_id(self.index);
        let Some(value) = value else {
            ctx.stores.timestamped(id).delete(key, timestamp);
            return Ok(Written::Removed);
        };
        let mut bytes = take(&mut ctx.value);
        bytes.clear();
        let none = Headers::new();
        let encoded = guard(|| {
            self.value
                .encode(Place::value(&self.changelog, &none), value, &mut bytes)
        });
        let written = match encoded.and_then(|encoded| encoded.map_err(BoxError::from)) {
            Ok(Presence::Value) => {
                ctx.stores.timestamped(id).put(key, &bytes, timestamp);
                Written::Row
            }
            Ok(Presence::Null) => {
                ctx.stores.timestamped(id).delete(key, timestamp);
                Written::Removed
            }
            Err(error) => {
                ctx.failed(node, Step::Encode, error)?;
                Written::Failed
            }
        };
        ctx.value = bytes;
        Ok(written)
    }
}

impl<K: 'static, V: 'static> Getter<K, V> for TableStore<K, V> {
    fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<Stamped<V>>, Halt> {
        let Some(bytes) = self.encode_key(ctx, node, key, &Headers::new())? else {
            return Ok(None);
        };
        let row = Self::get(self, ctx, &bytes);
        ctx.key = bytes;
        row
    }
}
