//! `transform_values`: a table's values made anew by an operator of the user's own, with state.

use std::sync::Arc;

use tidemill_data::{Data, Wire};
use tidemill_store::StoreKind;

use crate::{
    Change, KStream, KTable, Materialized, Record, Stores, ValueTransformer,
    builder::Builder,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::NodeId,
    processor::Transforming,
    table::{Getter, Lookup, Rows},
    table_store::TableStore,
};

use super::{row_wise::write_through, table_source::Kept};

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// Makes each row's value anew with a transformer of the user's own. It sees the key and the value, or that the row
    /// was deleted, and may read and write the stores whose handles `make` is given.
    ///
    /// Rows are kept, in a store without a name, if something behind needs them: joins, aggregations, lookups. They are
    /// never made a second time, since the stores may have changed meanwhile.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, KeyValues, ProcessorContext, ValueTransformer};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const RISES: Topic<String, Option<i64>> = Topic::new("rises");
    /// const FIRST: StoreName<String, i64> = StoreName::new("first");
    ///
    /// /// How much a price has risen since it was first heard of, deleted or not.
    /// struct Rise(KeyValues<String, i64>);
    ///
    /// impl ValueTransformer<String, i64, i64> for Rise {
    ///     fn transform(
    ///         &mut self,
    ///         key: &String,
    ///         price: Option<i64>,
    ///         at: &mut ProcessorContext<'_>,
    ///     ) -> Result<Option<i64>, BoxError> {
    ///         let Some(price) = price else { return Ok(None) };
    ///         let first = self.0.put_if_absent(at, key, &price)?.unwrap_or(price);
    ///         Ok(Some(price - first))
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let first = app.key_values(&FIRST);
    /// app.table(&PRICES).transform_values(first, Rise).to_stream().to(&RISES);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "tea", 5, ms(1));
    /// test.pipe(&PRICES, "tea", 8, ms(2));
    /// assert_eq!(test.read(&RISES)[1].value, Some(3));
    /// ```
    #[must_use]
    pub fn transform_values<S: Stores, W: Data, P: ValueTransformer<K, V, W>>(
        &self,
        stores: S,
        make: impl Fn(S) -> P + Send + Sync + 'static,
    ) -> KTable<K, W>
    where
        K: Data,
    {
        let key = self.key.clone().unwrap_or_else(Wire::own);
        self.transformed(Materialized::of(None, key, Wire::own()), stores, make)
    }

    /// As [`transform_values`](Self::transform_values), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, ProcessorContext, ValueTransformer};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// const CHANGED: StoreName<String, i64> = StoreName::new("changed");
    ///
    /// /// When a price changed last.
    /// struct Changed;
    ///
    /// impl ValueTransformer<String, i64, i64> for Changed {
    ///     fn transform(
    ///         &mut self,
    ///         _: &String,
    ///         price: Option<i64>,
    ///         at: &mut ProcessorContext<'_>,
    ///     ) -> Result<Option<i64>, BoxError> {
    ///         Ok(price.map(|_| at.timestamp().millis()))
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let changed = app.table(&PRICES).transform_values_as(&CHANGED, (), |()| Changed);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "tea", 5, ms(30));
    /// assert_eq!(test.row(&CHANGED, "tea").map(|row| row.value), Some(30));
    /// ```
    #[must_use]
    pub fn transform_values_as<S: Stores, W: 'static, P: ValueTransformer<K, V, W>>(
        &self,
        store: impl Into<Materialized<K, W>>,
        stores: S,
        make: impl Fn(S) -> P + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.transformed(store.into(), stores, make)
    }
}

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    fn transformed<S: Stores, W: 'static, P: ValueTransformer<K, V, W>>(
        &self,
        mut materialized: Materialized<K, W>,
        stores: S,
        make: impl Fn(S) -> P + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.outlet.fan_out();
        let changes = KStream::new(self.builder.clone(), self.node, Arc::clone(&self.outlet));
        let made = changes.processed("KTABLE-TRANSFORMVALUES-", stores, move |stores| {
            Transforming(make(stores))
        });
        let node = made.node;
        let mut graph = self.builder.lock();
        let named = materialized.name.is_some();
        if !named {
            // Not numbered as others are: the operators that follow have the names they have in Kafka Streams.
            materialized.name = Some(format!("KTABLE-TRANSFORMVALUES-STATE-STORE-{:010}", node.0));
        }
        let index = materialized.declare(&mut graph, "", StoreKind::Timestamped, named);
        graph.say_named(index, named);
        graph.connect(node, &[index]);
        let (key, value) = (materialized.key.clone(), materialized.value.clone());
        let kept = Kept::of(
            TableStore::new(&graph, index, materialized.key, materialized.value),
            named,
        );
        drop(graph);
        let outlet = Outlet::new();
        let keep = Keep {
            node,
            rows: kept.clone(),
            out: Arc::clone(&outlet),
        };
        made.outlet.attach(node.0, Arc::new(keep));
        KTable {
            builder: self.builder.clone(),
            node,
            outlet,
            rows: Arc::new(TransformedRows {
                kept,
                parent: Arc::clone(&self.rows),
            }),
            key: Some(key),
            value: Some(value),
        }
    }
}

/// Keeps the rows that were made, if they are kept, and adds the old ones to the changes, if they are wanted.
struct Keep<K, W> {
    node: NodeId,
    rows: Kept<K, W>,
    out: Arc<Outlet<K, Change<W>>>,
}

impl<K: 'static, W: 'static> Edge<K, Change<W>> for Keep<K, W> {
    fn send(&self, ctx: &mut Context, mut record: Record<K, Change<W>>) -> Flow {
        let store = &self.rows.store;
        // A change of the past does not touch rows of which only the latest is kept.
        let is_past = !record.value.latest && !store.versioned();
        if !self.rows.kept.is_set() || is_past {
            return self.out.send(ctx, record);
        }
        if self.rows.old.is_set() {
            let old = Getter::get(store, ctx, self.node, &record.key)?;
            record.value.old = old.map(|row| row.value);
        }
        write_through(ctx, self.node, Some(store), &self.out, record)
    }
}

/// What is kept of a table made of another.
struct TransformedRows<K, V, W> {
    kept: Kept<K, W>,
    parent: Arc<dyn Rows<K, V>>,
}

impl<K: 'static, V: 'static, W: 'static> Rows<K, W> for TransformedRows<K, V, W> {
    fn send_old(&self, builder: &Builder, force: bool) -> bool {
        self.kept.send_old(builder, force)
    }

    fn versioned(&self) -> bool {
        self.kept.versioned() || self.parent.versioned()
    }

    fn lookup(&self, builder: &Builder) -> Lookup<K, W> {
        self.kept.lookup(builder)
    }
}
