//! How one store's keys and values become bytes, with failures dealt with as the policy of an operator says.

use std::mem::take;

use tidemill_data::{BoxError, Headers, Place, Presence, Wire};

use crate::{
    Record,
    context::Context,
    failure::{Halt, Step, TaskError, guard},
    graph::{Graph, NodeId, StoreIndex},
};

/// The formats of a store, and the names that its formats and errors see.
pub(crate) struct RowFormat<K, V> {
    pub(crate) name: String,
    changelog: String,
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
}

impl<K, V> Clone for RowFormat<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            changelog: self.changelog.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
        }
    }
}

/// A value on its way into a store.
pub(crate) enum EncodedValue {
    /// Bytes in the task's buffer, to be given back.
    Row(Vec<u8>),
    /// It is, or encodes to, null.
    Null,
    /// It could not be encoded, which the policy dealt with.
    Failed,
}

impl<K: 'static, V: 'static> RowFormat<K, V> {
    pub(crate) fn new(graph: &Graph, index: StoreIndex, key: Wire<K>, value: Wire<V>) -> Self {
        let decl = graph
            .stores
            .get(index.0)
            .expect("store indexes come from this graph");
        let name = decl.spec.name.clone();
        Self {
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

    pub(crate) fn encode_key(
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

    pub(crate) fn decode_key(&self, key: &[u8]) -> Result<K, Halt> {
        let none = Headers::new();
        let place = Place::key(&self.changelog, &none);
        let decoded = guard(|| self.key.decode(place, Some(key)));
        self.unreadable(decoded.and_then(|decoded| decoded.map_err(BoxError::from)))
    }

    pub(crate) fn decode(&self, value: &[u8]) -> Result<V, Halt> {
        let none = Headers::new();
        let place = Place::value(&self.changelog, &none);
        let decoded = guard(|| self.value.decode(place, Some(value)));
        self.unreadable(decoded.and_then(|decoded| decoded.map_err(BoxError::from)))
    }

    pub(crate) fn unreadable<T>(&self, decoded: Result<T, BoxError>) -> Result<T, Halt> {
        decoded.map_err(|error| {
            TaskError::State {
                store: self.name.clone(),
                error,
            }
            .into()
        })
    }

    pub(crate) fn encode_value(
        &self,
        ctx: &mut Context,
        node: NodeId,
        value: Option<&V>,
    ) -> Result<EncodedValue, Halt> {
        let Some(value) = value else {
            return Ok(EncodedValue::Null);
        };
        let mut bytes = take(&mut ctx.value);
        bytes.clear();
        let none = Headers::new();
        let place = Place::value(&self.changelog, &none);
        let encoded = guard(|| self.value.encode(place, value, &mut bytes));
        let failed = match encoded.and_then(|encoded| encoded.map_err(BoxError::from)) {
            Ok(Presence::Value) => return Ok(EncodedValue::Row(bytes)),
            Ok(Presence::Null) => EncodedValue::Null,
            Err(error) => {
                ctx.failed(node, Step::Encode, error)?;
                EncodedValue::Failed
            }
        };
        ctx.value = bytes;
        Ok(failed)
    }
}
