//! `GlobalKTable`: a table that every instance keeps whole, to look rows up by any key.

use std::sync::Arc;

use tidemill_data::{BoxError, Headers, Place, Presence, Stamped, StoreName, Topic, Wire};
use tidemill_store::{StoreId, StoreKind};

use crate::{
    App, Materialized, RawRecord, TopicRole,
    builder::Builder,
    context::Context,
    failure::{Halt, Step, TaskError, guard},
    graph::{GlobalCheck, GlobalDecl, GlobalFill, NodeId, NodeKind, StoreIndex},
    table::{Getter, LookedUp},
};

/// A table that every instance keeps whole, whatever partitions its tasks have: see [`App::global_table`].
///
/// A stream may look its rows up by any key, without a repartition: see
/// [`KStream::join_global`](crate::KStream::join_global). Its changes lead to nothing by themselves.
pub struct GlobalKTable<K, V> {
    pub(crate) builder: Builder,
    pub(crate) rows: Arc<GlobalRows<K, V>>,
}

impl<K, V> Clone for GlobalKTable<K, V> {
    fn clone(&self) -> Self {
        Self {
            builder: self.builder.clone(),
            rows: Arc::clone(&self.rows),
        }
    }
}

impl App {
    /// A topic as a table that every instance keeps whole: all its partitions are read, before any task works and from
    /// then on.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// const COUNTRIES: Topic<String, String> = Topic::new("countries");
    ///
    /// let app = App::new("docs");
    /// let countries = app.global_table(&COUNTRIES);
    /// app.stream(&CLICKS)
    ///     .join_global(&countries, |_, code| code.clone(), |_, _, country| country)
    ///     .to(&CLICKS);
    /// # app.topology().unwrap();
    /// ```
    pub fn global_table<K: 'static, V: 'static>(&self, topic: &Topic<K, V>) -> GlobalKTable<K, V> {
        let (key, value) = (topic.key().clone(), topic.value().clone());
        self.global_table_of(topic, Materialized::of(None, key, value))
    }

    /// As [`global_table`](Self::global_table), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const COUNTRIES: Topic<String, String> = Topic::new("countries");
    /// const KNOWN: StoreName<String, String> = StoreName::new("known-countries");
    /// # let app = App::new("docs");
    /// let countries = app.global_table_as(&COUNTRIES, &KNOWN);
    /// # app.topology().unwrap();
    /// ```
    pub fn global_table_as<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        store: &StoreName<K, V>,
    ) -> GlobalKTable<K, V> {
        self.global_table_of(topic, store.into())
    }

    fn global_table_of<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        materialized: Materialized<K, V>,
    ) -> GlobalKTable<K, V> {
        let formats = topic.name().to_owned();
        // The rows have the topic's own bytes, whatever formats the store's name has.
        let materialized = Materialized {
            key: topic.key().clone(),
            value: topic.value().clone(),
            ..materialized
        };
        self.global_of(topic.name(), formats, &materialized, |_, rows| {
            GlobalFill::Rows(Arc::<GlobalRows<K, V>>::clone(rows))
        })
    }

    /// A store that every instance keeps whole. `formats` is the topic that the formats of its rows see.
    pub(crate) fn global_of<K: 'static, V: 'static>(
        &self,
        topic: &str,
        formats: String,
        materialized: &Materialized<K, V>,
        fill: impl FnOnce(StoreIndex, &Arc<GlobalRows<K, V>>) -> GlobalFill,
    ) -> GlobalKTable<K, V> {
        let mut graph = self.builder.lock();
        let index = graph.topic(topic, TopicRole::External);
        let prefix = format!("{topic}-");
        let store = materialized.declare(&mut graph, &prefix, StoreKind::Timestamped, true);
        let mut name = String::new();
        if let Some(decl) = graph.stores.get_mut(store.0) {
            decl.global_topic = Some(index);
            decl.changelog = false;
            name.clone_from(&decl.spec.name);
        }
        let source_name = graph.name("KSTREAM-SOURCE-");
        let source = graph.add(source_name, NodeKind::Source(vec![index]), &[]);
        let node = graph.processor("KTABLE-SOURCE-", &[source]);
        graph.connect(node, &[store]);
        let rows = Arc::new(GlobalRows {
            place: StoreId::new(graph.globals.len()),
            store: name,
            topic: formats,
            key: materialized.key.clone(),
            value: materialized.value.clone(),
        });
        graph.globals.push(GlobalDecl {
            source,
            node,
            topic: index,
            store,
            fill: fill(store, &rows),
        });
        drop(graph);
        GlobalKTable {
            builder: self.builder.clone(),
            rows,
        }
    }
}

/// A typed view of a global store. Its bytes are the topic's own.
pub(crate) struct GlobalRows<K, V> {
    place: StoreId,
    store: String,
    topic: String,
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
}

impl<K: 'static, V: 'static> GlobalRows<K, V> {
    pub(crate) fn name(&self) -> &str {
        &self.store
    }

    /// The row of a key; `None` also for a null key, and when the policy dealt with a failure.
    pub(crate) fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<LookedUp<V>>, Halt> {
        let none = Headers::new();
        let mut bytes = std::mem::take(&mut ctx.key);
        bytes.clear();
        let encoded = guard(|| self.key.encode(Place::key(&self.topic, &none), key, &mut bytes));
        let found = match encoded.and_then(|encoded| encoded.map_err(BoxError::from)) {
            Ok(Presence::Value) => self.find(ctx, &bytes),
            Ok(Presence::Null) => Ok(None),
            Err(error) => ctx.failed(node, Step::Encode, error).map(|()| None),
        };
        ctx.key = bytes;
        found
    }

    fn find(&self, ctx: &mut Context, key: &[u8]) -> Result<Option<LookedUp<V>>, Halt> {
        let globals = ctx.globals.as_mut().ok_or(TaskError::NoGlobals)?;
        let headers = globals.timestamped(self.place).headers(key)?;
        let Some((value, timestamp)) = globals.timestamped(self.place).get(key)? else {
            return Ok(None);
        };
        let none = Headers::new();
        let decoded = guard(|| self.value.decode(Place::value(&self.topic, &none), Some(value)));
        let value = decoded.and_then(|decoded| decoded.map_err(BoxError::from));
        let value = value.map_err(|error| TaskError::State {
            store: self.store.clone(),
            error,
        })?;
        Ok(Some(LookedUp::new(Stamped::new(value, timestamp), headers)))
    }
}

impl<K: 'static, V: 'static> Getter<K, V> for GlobalRows<K, V> {
    fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<LookedUp<V>>, Halt> {
        Self::get(self, ctx, node, key)
    }
}

impl<K: 'static, V: 'static> GlobalCheck for GlobalRows<K, V> {
    fn check(&self, record: &RawRecord) -> Result<(), BoxError> {
        guard(|| {
            let key = Place::key(&self.topic, &record.headers);
            let _ = self.key.decode(key, record.key.as_deref())?;
            let value = Place::value(&self.topic, &record.headers);
            if let Some(bytes) = &record.value {
                let _ = self.value.decode(value, Some(bytes))?;
            }
            Ok::<_, BoxError>(())
        })
        .and_then(|checked| checked)
    }
}
