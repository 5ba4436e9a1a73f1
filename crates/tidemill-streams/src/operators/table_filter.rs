//! `filter`, `filter_not` of a table: a row that is not wanted is a row that went.

use std::sync::Arc;

use tidemill_data::{Stamped, StoreName};
use tidemill_store::StoreKind;

use crate::{
    Change, KTable, Materialized, Record,
    builder::Builder,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::Halt,
    graph::{NodeId, NodeKind},
    grouped::Wanted,
    table::{Getter, Lookup, Rows},
    table_store::{TableStore, Written},
};

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// The rows for which `keep` is true. A row that is no longer wanted is deleted downstream.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # let app = App::new("docs");
    /// let in_debt = app.table(&BALANCES).filter(|_, balance| *balance < 0);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filtered(None, keep)
    }

    /// As [`filter`](Self::filter), with rows kept in a store of this name.
    #[must_use]
    pub fn filter_as(
        &self,
        store: &StoreName<K, V>,
        keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.filtered(Some(store.into()), keep)
    }

    /// The rows for which `leave_out` is false.
    #[must_use]
    pub fn filter_not(&self, leave_out: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filtered(None, move |key, value| !leave_out(key, value))
    }

    /// As [`filter_not`](Self::filter_not), with rows kept in a store of this name.
    #[must_use]
    pub fn filter_not_as(
        &self,
        store: &StoreName<K, V>,
        leave_out: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.filtered(Some(store.into()), move |key, value| !leave_out(key, value))
    }

    fn filtered(
        &self,
        materialized: Option<Materialized<K, V>>,
        keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.outlet.fan_out();
        let mut graph = self.builder.lock();
        let name = graph.name("KTABLE-FILTER-");
        let node = graph.add(name, NodeKind::Processor, &[self.node]);
        let store = materialized.map(|kept| {
            let index = kept.declare(&mut graph, "", StoreKind::Timestamped, true);
            graph.connect(node, &[index]);
            TableStore::new(&graph, index, kept.key, kept.value)
        });
        drop(graph);
        let old = Wanted::default();
        // Where old values are to hand, rejected rows that were never there can stay silent.
        if self.rows.send_old(&self.builder, false) {
            old.set();
        }
        let outlet = Outlet::new();
        let filter = Arc::new(TableFilter {
            node,
            keep,
            store,
            old,
            parent: Arc::clone(&self.rows),
            out: outlet,
        });
        self.outlet.attach(
            node.0,
            Arc::<TableFilter<K, V, _>>::clone(&filter) as Arc<dyn Edge<K, Change<V>>>,
        );
        let outlet = Arc::clone(&filter.out);
        let (key, value) = (self.key.clone(), self.value.clone());
        KTable {
            builder: self.builder.clone(),
            node,
            outlet,
            rows: Arc::new(FilterRows(filter)),
            key,
            value,
        }
    }
}

struct TableFilter<K, V, F> {
    node: NodeId,
    keep: F,
    store: Option<TableStore<K, V>>,
    old: Wanted,
    parent: Arc<dyn Rows<K, V>>,
    out: Arc<Outlet<K, Change<V>>>,
}

impl<K: 'static, V: 'static, F: Fn(&K, &V) -> bool + Send + Sync> TableFilter<K, V, F> {
    /// The value if it is wanted; the outer `None` says that the policy dealt with a failure.
    fn wanted(&self, ctx: &mut Context, key: &K, value: Option<V>) -> Result<Option<Option<V>>, Halt> {
        let Some(value) = value else { return Ok(Some(None)) };
        let keep = ctx.call(self.node, || (self.keep)(key, &value))?;
        Ok(keep.map(|keep| keep.then_some(value)))
    }
}

impl<K: 'static, V: 'static, F: Fn(&K, &V) -> bool + Send + Sync> Edge<K, Change<V>>
    for TableFilter<K, V, F>
{
    fn send(&self, ctx: &mut Context, record: Record<K, Change<V>>) -> Flow {
        let Record {
            key,
            value: change,
            timestamp,
            headers,
        } = record;
        let Some(new) = self.wanted(ctx, &key, change.new)? else {
            return Ok(());
        };
        let old = match (&self.store, self.old.is_set()) {
            (_, false) => Some(None),
            (Some(store), true) => Some(Getter::get(store, ctx, self.node, &key)?.map(|row| row.value)),
            (None, true) => self.wanted(ctx, &key, change.old)?,
        };
        let Some(old) = old else { return Ok(()) };
        if self.old.is_set() && old.is_none() && new.is_none() {
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
        let written = store.put(ctx, node, &bytes, record.value.new.as_ref(), record.timestamp);
        ctx.key = bytes;
        match written? {
            Written::Row => {}
            Written::Removed => record.value.new = None,
            Written::Failed => return Ok(()),
        }
    }
    out.send(ctx, record)
}

struct FilterRows<K, V, F>(Arc<TableFilter<K, V, F>>);

impl<K: 'static, V: 'static, F> Rows<K, V> for FilterRows<K, V, F>
where
    F: Fn(&K, &V) -> bool + Send + Sync + 'static,
{
    fn send_old(&self, builder: &Builder, force: bool) -> bool {
        if self.0.store.is_some() || self.0.parent.send_old(builder, force) {
            self.0.old.set();
        }
        self.0.old.is_set()
    }

    fn lookup(&self, builder: &Builder) -> Lookup<K, V> {
        if let Some(store) = &self.0.store {
            return Lookup {
                getter: Arc::new(store.clone()),
                stores: vec![store.index],
            };
        }
        let parent = self.0.parent.lookup(builder);
        let getter = FilterGetter {
            filter: Arc::clone(&self.0),
            parent: parent.getter,
        };
        Lookup {
            getter: Arc::new(getter),
            stores: parent.stores,
        }
    }
}

struct FilterGetter<K, V, F> {
    filter: Arc<TableFilter<K, V, F>>,
    parent: Arc<dyn Getter<K, V>>,
}

impl<K: 'static, V: 'static, F: Fn(&K, &V) -> bool + Send + Sync> Getter<K, V> for FilterGetter<K, V, F> {
    fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<Stamped<V>>, Halt> {
        let Some(row) = self.parent.get(ctx, node, key)? else {
            return Ok(None);
        };
        let wanted = self.filter.wanted(ctx, key, Some(row.value))?.flatten();
        Ok(wanted.map(|value| Stamped::new(value, row.timestamp)))
    }
}
