//! The rows of a join of tables, as who stands behind it looks them up.

use std::sync::Arc;

use tidemill_data::BoxError;

use super::joiner::Joiner;
use crate::{
    builder::Builder,
    context::Context,
    failure::Halt,
    graph::NodeId,
    grouped::Wanted,
    record::with_headers_of,
    table::{Getter, LookedUp, Lookup, Rows},
    table_store::TableStore,
};

/// The rows of a join, made when they are asked for unless they are kept.
pub(super) struct JoinedRows<K, V, T, W, F> {
    pub(super) node: NodeId,
    pub(super) left: (Arc<dyn Rows<K, V>>, Lookup<K, V>),
    pub(super) right: (Arc<dyn Rows<K, T>>, Lookup<K, T>),
    pub(super) joiner: Arc<Joiner<F>>,
    pub(super) store: Option<TableStore<K, W>>,
    pub(super) old: Wanted,
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> Rows<K, W> for JoinedRows<K, V, T, W, F>
where
    F: Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
{
    fn send_old(&self, builder: &Builder, _: bool) -> bool {
        self.left.0.send_old(builder, true);
        self.right.0.send_old(builder, true);
        self.old.set();
        true
    }

    fn versioned(&self) -> bool {
        self.store.as_ref().is_some_and(TableStore::versioned)
    }

    fn lookup(&self, _: &Builder) -> Lookup<K, W> {
        if let Some(store) = &self.store {
            return Lookup {
                getter: Arc::new(store.clone()),
                stores: vec![store.index],
            };
        }
        let getter = JoinedGetter {
            node: self.node,
            left: Arc::clone(&self.left.1.getter),
            right: Arc::clone(&self.right.1.getter),
            joiner: Arc::clone(&self.joiner),
        };
        let stores = self.left.1.stores.iter().chain(&self.right.1.stores);
        Lookup {
            getter: Arc::new(getter),
            stores: stores.copied().collect(),
        }
    }
}

struct JoinedGetter<K, V, T, F> {
    node: NodeId,
    left: Arc<dyn Getter<K, V>>,
    right: Arc<dyn Getter<K, T>>,
    joiner: Arc<Joiner<F>>,
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> Getter<K, W> for JoinedGetter<K, V, T, F>
where
    F: Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<LookedUp<W>>, Halt> {
        let left = self.left.get(ctx, node, key)?;
        let right = self.right.get(ctx, node, key)?;
        let times = (
            left.as_ref().map(|row| row.timestamp),
            right.as_ref().map(|row| row.timestamp),
        );
        let Some(timestamp) = times.0.max(times.1) else {
            return Ok(None);
        };
        let headers = match (&left, &right) {
            (Some(left), Some(right)) => with_headers_of(left.headers.clone(), &right.headers),
            (Some(row), None) => row.headers.clone(),
            (_, right) => right.as_ref().map(|row| row.headers.clone()).unwrap_or_default(),
        };
        let (left, right) = (left.map(|row| row.value), right.map(|row| row.value));
        let row = self.joiner.row(ctx, self.node, key, left, right)?.flatten();
        Ok(row.map(|value| LookedUp {
            value,
            timestamp,
            headers,
        }))
    }
}
