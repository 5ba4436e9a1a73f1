//! What `filter` and `map_values` of a table share: a row is made of the row of the same key, or of none.

use std::sync::Arc;

use tidemill_data::{BoxError, Timestamp};
use tidemill_store::StoreKind;

use crate::{
    Change, KTable, Materialized, Record,
    builder::Builder,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::Halt,
    graph::{NodeId, NodeKind},
    grouped::Wanted,
    table::{Getter, LookedUp, Lookup, Rows},
    table_store::TableStore,
};

/// What goes downstream when there is no row now and, as far as old values tell, was none before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// A delete, once more.
    Told,
    /// Nothing, where old values are to hand: a filter's rejected rows.
    Silent,
}

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// Attaches an operator that makes each row of one.
    pub(super) fn row_wise<W: 'static>(
        &self,
        prefix: &str,
        absent: Absent,
        materialized: Option<Materialized<K, W>>,
        make: impl Fn(&K, V) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.outlet.fan_out();
        let mut graph = self.builder.lock();
        let name = graph.name(prefix);
        let node = graph.add(name, NodeKind::Processor, &[self.node]);
        let value = materialized.as_ref().map(|kept| kept.value.clone());
        let store = materialized.map(|kept| {
            let index = kept.declare(&mut graph, "", StoreKind::Timestamped, true);
            graph.connect(node, &[index]);
            TableStore::new(&graph, index, kept.key, kept.value)
        });
        drop(graph);
        let old = Wanted::default();
        if absent == Absent::Silent && self.rows.send_old(&self.builder, false) {
            old.set();
        }
        // Of versions of the past nobody can tell whether a row was there before.
        let absent = if self.rows.versioned() {
            Absent::Told
        } else {
            absent
        };
        let outlet = Outlet::new();
        let operator = Arc::new(RowWise {
            node,
            absent,
            make,
            store,
            old,
            parent: Arc::clone(&self.rows),
            out: Arc::clone(&outlet),
        });
        let edge: Arc<dyn Edge<K, Change<V>>> = Arc::<RowWise<K, V, W, _>>::clone(&operator);
        self.outlet.attach(node.0, edge);
        KTable {
            builder: self.builder.clone(),
            node,
            outlet,
            rows: Arc::new(MadeRows(operator)),
            key: self.key.clone(),
            value,
        }
    }
}

struct RowWise<K, V, W, F> {
    node: NodeId,
    absent: Absent,
    make: F,
    store: Option<TableStore<K, W>>,
    old: Wanted,
    parent: Arc<dyn Rows<K, V>>,
    out: Arc<Outlet<K, Change<W>>>,
}

impl<K: 'static, V: 'static, W: 'static, F> RowWise<K, V, W, F>
where
    F: Fn(&K, V) -> Result<Option<W>, BoxError> + Send + Sync,
{
    /// The row made anew; the outer `None` says that the policy dealt with a failure.
    fn made(&self, ctx: &mut Context, key: &K, value: Option<V>) -> Result<Option<Option<W>>, Halt> {
        match value {
            Some(value) => ctx.try_call(self.node, || (self.make)(key, value)),
            None => Ok(Some(None)),
        }
    }
}

impl<K: 'static, V: 'static, W: 'static, F> Edge<K, Change<V>> for RowWise<K, V, W, F>
where
    F: Fn(&K, V) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, Change<V>>) -> Flow {
        let Record {
            key,
            value: change,
            timestamp,
            headers,
        } = record;
        let Some(new) = self.made(ctx, &key, change.new)? else {
            return Ok(());
        };
        let old = match (&self.store, self.old.is_set()) {
            (_, false) => Some(None),
            (Some(store), true) => Some(Getter::get(store, ctx, self.node, &key)?.map(|row| row.value)),
            (None, true) => self.made(ctx, &key, change.old)?,
        };
        let Some(old) = old else { return Ok(()) };
        if self.absent == Absent::Silent && self.old.is_set() && old.is_none() && new.is_none() {
            return Ok(());
        }
        let record = Record {
            key,
            value: Change {
                new,
                old,
                latest: change.latest,
            },
            timestamp,
            headers,
        };
        write_through(ctx, self.node, self.store.as_ref(), &self.out, record)
    }
}

/// Writes a row that was made to its store, if it has one, and hands it on.
pub(super) fn write_through<K: 'static, V: 'static>(
    ctx: &mut Context,
    node: NodeId,
    store: Option<&TableStore<K, V>>,
    out: &Outlet<K, Change<V>>,
    mut record: Record<K, Change<V>>,
) -> Flow {
    if let Some(store) = store {
        let Some(bytes) = store.key_bytes(ctx, node, &record)? else {
            return Ok(());
        };
        let at = (record.timestamp, &record.headers);
        let written = store.put(ctx, node, &bytes, record.value.new.as_ref(), at);
        ctx.key = bytes;
        let Change { new, old, .. } = record.value;
        let Some(change) = written?.change(new, old) else {
            return Ok(());
        };
        record.value = change;
    }
    out.send(ctx, record)
}

struct MadeRows<K, V, W, F>(Arc<RowWise<K, V, W, F>>);

impl<K: 'static, V: 'static, W: 'static, F> Rows<K, W> for MadeRows<K, V, W, F>
where
    F: Fn(&K, V) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
{
    fn send_old(&self, builder: &Builder, force: bool) -> bool {
        if self.0.store.is_some() || self.0.parent.send_old(builder, force) {
            self.0.old.set();
        }
        self.0.old.is_set()
    }

    fn versioned(&self) -> bool {
        match &self.0.store {
            Some(store) => store.versioned(),
            None => self.0.parent.versioned(),
        }
    }

    fn lookup(&self, builder: &Builder) -> Lookup<K, W> {
        if let Some(store) = &self.0.store {
            return Lookup {
                getter: Arc::new(store.clone()),
                stores: vec![store.index],
            };
        }
        let parent = self.0.parent.lookup(builder);
        let getter = MadeGetter {
            operator: Arc::clone(&self.0),
            parent: parent.getter,
        };
        Lookup {
            getter: Arc::new(getter),
            stores: parent.stores,
        }
    }
}

/// Makes a row when it is asked for, of the row of the table before.
struct MadeGetter<K, V, W, F> {
    operator: Arc<RowWise<K, V, W, F>>,
    parent: Arc<dyn Getter<K, V>>,
}

impl<K: 'static, V: 'static, W: 'static, F> Getter<K, W> for MadeGetter<K, V, W, F>
where
    F: Fn(&K, V) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<LookedUp<W>>, Halt> {
        match self.parent.get(ctx, node, key)? {
            Some(row) => self.made(ctx, key, row),
            None => Ok(None),
        }
    }

    fn get_as_of(
        &self,
        ctx: &mut Context,
        node: NodeId,
        key: &K,
        at: Timestamp,
    ) -> Result<Option<LookedUp<W>>, Halt> {
        match self.parent.get_as_of(ctx, node, key, at)? {
            Some(row) => self.made(ctx, key, row),
            None => Ok(None),
        }
    }
}

impl<K: 'static, V: 'static, W: 'static, F> MadeGetter<K, V, W, F>
where
    F: Fn(&K, V) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn made(&self, ctx: &mut Context, key: &K, row: LookedUp<V>) -> Result<Option<LookedUp<W>>, Halt> {
        let made = self.operator.made(ctx, key, Some(row.value))?.flatten();
        Ok(made.map(|value| LookedUp {
            value,
            timestamp: row.timestamp,
            headers: row.headers,
        }))
    }
}
