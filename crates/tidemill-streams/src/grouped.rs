//! Grouped streams and tables: what aggregations are made from.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tidemill_data::Wire;

use crate::{
    Change, KStream, KTable,
    builder::Builder,
    edge::Outlet,
    graph::{NodeId, StoreIndex},
    table::{Lookup, Rows},
    table_store::TableStore,
};

/// A stream whose records are together by key: see [`KStream::group_by`] and [`KStream::group_by_key`].
#[must_use = "a grouping that nothing aggregates does nothing"]
pub struct KGroupedStream<K, V> {
    pub(crate) stream: KStream<K, V>,
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
}

impl<K: Clone + 'static, V: Clone + 'static> Clone for KGroupedStream<K, V> {
    fn clone(&self) -> Self {
        Self {
            stream: self.stream.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
        }
    }
}

/// A table whose rows are grouped by another key: see [`KTable::group_by`].
#[must_use = "a grouping that nothing aggregates does nothing"]
pub struct KGroupedTable<K, V> {
    pub(crate) builder: Builder,
    pub(crate) node: NodeId,
    pub(crate) outlet: Arc<Outlet<K, Change<V>>>,
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
}

/// A request for old values that is made while the program is composed and read while it runs.
#[derive(Clone, Default)]
pub(crate) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The rows of a table that is kept in a store from the start.
pub(crate) struct StoredRows<K, V> {
    pub(crate) store: TableStore<K, V>,
    pub(crate) old: Wanted,
}

impl<K: 'static, V: 'static> Rows<K, V> for StoredRows<K, V> {
    fn send_old(&self, _: &Builder, _: bool) -> bool {
        self.old.set();
        true
    }

    fn versioned(&self) -> bool {
        self.store.versioned()
    }

    fn lookup(&self, _: &Builder) -> Lookup<K, V> {
        Lookup {
            getter: Arc::new(self.store.clone()),
            stores: vec![self.store.index],
        }
    }
}

/// A table kept in a store.
pub(crate) fn stored_table<K: 'static, V: 'static>(
    builder: Builder,
    node: NodeId,
    outlet: Arc<Outlet<K, Change<V>>>,
    store: TableStore<K, V>,
    old: Wanted,
) -> KTable<K, V> {
    connect(&builder, node, &[store.index]);
    let (key, value) = (Some(store.format.key.clone()), Some(store.format.value.clone()));
    KTable {
        builder,
        node,
        outlet,
        rows: Arc::new(StoredRows { store, old }),
        key,
        value,
    }
}

pub(crate) fn connect(builder: &Builder, node: NodeId, stores: &[StoreIndex]) {
    builder.lock().connect(node, stores);
}
