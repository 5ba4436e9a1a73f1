//! `by_foreign_key`: joins a table with the rows of another that its rows refer to.
//!
//! ```text
//!  this table ─▶ subscribe ──registration topic──▶ receive ─▶ join ──┐
//!                                                     │ subscriptions │
//!  the other table ─────────────────────────────────▶ tell ──────────┤
//!  result ◀─ resolve ◀──────────response topic───────────────────────┘
//! ```
//! A row subscribes to the row it refers to, in the task where that one lives; what it is, and each change of it, comes
//! back as a response. A response carries the hash of the row that asked, so that answers to what is past are dropped.

mod foreign;
mod messages;
mod murmur3;
mod primary;

use std::sync::Arc;

use tidemill_data::{BoxError, Data, StoreName, Wire};
use tidemill_store::{StoreKind, StoreSpec};

use crate::{
    Change, KTable, Materialized, TopicIndex, TopicRole,
    builder::Builder,
    edge::{Edge, Outlet},
    graph::{Graph, NodeId, NodeKind, StoreDecl, StoreIndex},
};

use super::{
    source::{NullKeys, read, source},
    table_source::{Kept, nullable},
};
use foreign::{Foreign, Receive, Tell};
use messages::{ResponseFormat, Subscription, SubscriptionFormat};
use primary::{Resolve, Subscribe};

impl<K: Data + Clone, V: Data + Clone> KTable<K, V> {
    /// The table by a key of another table that each row holds, to be joined with that table. A row that holds none
    /// gives `None`.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const ORDERS: Topic<i64, String> = Topic::new("orders");
    /// # const CUSTOMERS: Topic<String, String> = Topic::new("customers");
    /// # let app = App::new("docs");
    /// let orders = app.table(&ORDERS);
    /// let customers = app.table(&CUSTOMERS);
    /// let billed = orders
    ///     .by_foreign_key(|_, order| order.split(':').next().map(str::to_owned))
    ///     .named("billed-orders")
    ///     .join(&customers, |id, order, customer| format!("{id} {order} to {customer}"));
    /// # app.topology().unwrap();
    /// ```
    pub fn by_foreign_key<L: 'static, E: Into<Option<L>>>(
        &self,
        extract: impl Fn(&K, &V) -> E + Send + Sync + 'static,
    ) -> ForeignKeyed<K, V, L> {
        ForeignKeyed {
            table: self.clone(),
            extract: Arc::new(move |key, value| extract(key, value).into()),
            name: None,
        }
    }
}

type Extract<K, V, L> = Arc<dyn Fn(&K, &V) -> Option<L> + Send + Sync>;

/// A table whose rows refer to rows of another: see [`KTable::by_foreign_key`].
#[must_use = "a foreign key that nothing joins on does nothing"]
pub struct ForeignKeyed<K, V, L> {
    table: KTable<K, V>,
    extract: Extract<K, V, L>,
    name: Option<String>,
}

impl<K: Data + Clone, V: Data + Clone, L: Data + Clone> ForeignKeyed<K, V, L> {
    /// Names the operators, topics and store of the join, which else have names from their place in the program.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # const LANDS: Topic<String, String> = Topic::new("lands");
    /// # let app = App::new("docs");
    /// let lands = app.table(&LANDS);
    /// let _ = app
    ///     .table(&CITIES)
    ///     .by_foreign_key(|_, land: &String| land.clone())
    ///     .named("places")
    ///     .join(&lands, |city, _, land| format!("{city} in {land}"));
    /// assert!(app.describe()?.contains("places"));
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn named(self, name: impl Into<String>) -> Self {
        let name = Some(name.into());
        Self { name, ..self }
    }

    /// The rows that refer to a row that is there, joined with it. A change of either table changes the result.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # const LANDS: Topic<String, String> = Topic::new("lands");
    /// # let app = App::new("docs");
    /// let lands_of_cities = app
    ///     .table(&CITIES)
    ///     .by_foreign_key(|_, land: &String| land.clone())
    ///     .join(&app.table(&LANDS), |city, _, land| format!("{city} in {land}"));
    /// # app.topology().unwrap();
    /// ```
    pub fn join<T: Data + Clone, W: Data>(
        self,
        other: &KTable<L, T>,
        join: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_join(other, move |key, left, right| Ok(Some(join(key, left, right))))
    }

    /// As [`join`](Self::join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # const LANDS: Topic<String, String> = Topic::new("lands");
    /// const PLACES: StoreName<String, String> = StoreName::new("places");
    /// # let app = App::new("docs");
    /// app.table(&CITIES)
    ///     .by_foreign_key(|_, land: &String| land.clone())
    ///     .join_as(&app.table(&LANDS), &PLACES, |city, _, land| format!("{city} in {land}"));
    /// # app.topology().unwrap();
    /// ```
    pub fn join_as<T: Data + Clone, W: Data>(
        self,
        other: &KTable<L, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_join_as(other, store, move |key, left, right| {
            Ok(Some(join(key, left, right)))
        })
    }

    /// As [`join`](Self::join), with a closure that may fail, or give `None` for no row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const SOLD: Topic<i64, String> = Topic::new("sold");
    /// # const PRICES: Topic<String, String> = Topic::new("prices");
    /// # let app = App::new("docs");
    /// let paid = app
    ///     .table(&SOLD)
    ///     .by_foreign_key(|_, article: &String| article.clone())
    ///     .try_join(&app.table(&PRICES), |_, _, price| Ok(Some(price.parse::<i64>()?).filter(|cents| *cents > 0)));
    /// # app.topology().unwrap();
    /// ```
    pub fn try_join<T: Data + Clone, W: Data>(
        self,
        other: &KTable<L, T>,
        join: impl Fn(&K, V, T) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        let kept = self.unnamed();
        self.joined_foreign(other, kept, Kind::Inner, inner(join))
    }

    /// As [`try_join`](Self::try_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const SOLD: Topic<i64, String> = Topic::new("sold");
    /// # const PRICES: Topic<String, String> = Topic::new("prices");
    /// const PAID: StoreName<i64, i64> = StoreName::new("paid");
    /// # let app = App::new("docs");
    /// app.table(&SOLD)
    ///     .by_foreign_key(|_, article: &String| article.clone())
    ///     .try_join_as(&app.table(&PRICES), &PAID, |_, _, price| Ok(Some(price.parse()?)));
    /// # app.topology().unwrap();
    /// ```
    pub fn try_join_as<T: Data + Clone, W: Data>(
        self,
        other: &KTable<L, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, T) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_foreign(other, store.into(), Kind::Inner, inner(join))
    }

    /// All rows, each joined with the row it refers to if there is one.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # const LANDS: Topic<String, String> = Topic::new("lands");
    /// # let app = App::new("docs");
    /// let lands_of_cities = app
    ///     .table(&CITIES)
    ///     .by_foreign_key(|_, land: &String| land.clone())
    ///     .left_join(&app.table(&LANDS), |city, code, land| format!("{city} in {}", land.unwrap_or(code)));
    /// # app.topology().unwrap();
    /// ```
    pub fn left_join<T: Data + Clone, W: Data>(
        self,
        other: &KTable<L, T>,
        join: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_left_join(other, move |key, left, right| Ok(Some(join(key, left, right))))
    }

    /// As [`left_join`](Self::left_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # const LANDS: Topic<String, String> = Topic::new("lands");
    /// const PLACES: StoreName<String, String> = StoreName::new("places");
    /// # let app = App::new("docs");
    /// app.table(&CITIES)
    ///     .by_foreign_key(|_, land: &String| land.clone())
    ///     .left_join_as(&app.table(&LANDS), &PLACES, |city, code, land| {
    ///         format!("{city} in {}", land.unwrap_or(code))
    ///     });
    /// # app.topology().unwrap();
    /// ```
    pub fn left_join_as<T: Data + Clone, W: Data>(
        self,
        other: &KTable<L, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.try_left_join_as(other, store, move |key, left, right| {
            Ok(Some(join(key, left, right)))
        })
    }

    /// As [`left_join`](Self::left_join), with a closure that may fail, or give `None` for no row.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const SOLD: Topic<i64, String> = Topic::new("sold");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # let app = App::new("docs");
    /// let unknown = app
    ///     .table(&SOLD)
    ///     .by_foreign_key(|_, article: &String| article.clone())
    ///     .try_left_join(&app.table(&PRICES), |_, article, price| match price {
    ///         Some(cents) if cents < 0 => Err(format!("{article} costs less than nothing").into()),
    ///         Some(_) => Ok(None),
    ///         None => Ok(Some(article)),
    ///     });
    /// # app.topology().unwrap();
    /// ```
    pub fn try_left_join<T: Data + Clone, W: Data>(
        self,
        other: &KTable<L, T>,
        join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        let kept = self.unnamed();
        self.joined_foreign(other, kept, Kind::Left, join)
    }

    /// As [`try_left_join`](Self::try_left_join), with rows kept in a store of this name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const SOLD: Topic<i64, String> = Topic::new("sold");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// const UNKNOWN: StoreName<i64, String> = StoreName::new("unknown");
    /// # let app = App::new("docs");
    /// app.table(&SOLD)
    ///     .by_foreign_key(|_, article: &String| article.clone())
    ///     .try_left_join_as(&app.table(&PRICES), &UNKNOWN, |_, article, price| {
    ///         Ok(price.is_none().then_some(article))
    ///     });
    /// # app.topology().unwrap();
    /// ```
    pub fn try_left_join_as<T: Data + Clone, W: Data>(
        self,
        other: &KTable<L, T>,
        store: &StoreName<K, W>,
        join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.joined_foreign(other, store.into(), Kind::Left, join)
    }

    fn unnamed<W: Data>(&self) -> Materialized<K, W> {
        let materialized = Materialized::unnamed();
        let key = wire_of(&self.table.key);
        Materialized { key, ..materialized }
    }

    fn joined_foreign<T: Data + Clone, W: Data>(
        self,
        other: &KTable<L, T>,
        materialized: Materialized<K, W>,
        kind: Kind,
        join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        let builder = self.table.builder.clone();
        self.table.outlet.fan_out();
        other.outlet.fan_out();
        other.rows.send_old(&builder, true);
        self.table.rows.send_old(&builder, true);
        let rows = self.table.rows.lookup(&builder);
        let foreign_rows = other.rows.lookup(&builder);
        let wires = Wires {
            key: wire_of(&self.table.key),
            value: wire_of(&self.table.value),
            foreign_key: wire_of(&other.key),
            foreign_value: wire_of(&other.value),
        };
        let names = Names {
            builder: &builder,
            join: self.name.as_deref(),
        };
        let registration = self.subscribe(&names, &wires, kind);
        let foreign = ForeignSide {
            names: &names,
            wires: &wires,
            other,
        };
        let response = foreign.answer(&registration, foreign_rows);
        let (node, responses) = names.read_topic(
            &response,
            self.table.node,
            &wires.key,
            &Wire::given(ResponseFormat(wires.foreign_value.clone())),
        );
        let resolver = names.processor(
            "-subscription-response-resolver",
            "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-",
            &[node],
        );
        builder.lock().connect(resolver, &rows.stores);
        let results = Outlet::new();
        let resolve = Resolve {
            node: resolver,
            kind,
            rows: rows.getter,
            value: wires.value.clone(),
            topic: registration.value_topic(),
            join,
            out: Arc::clone(&results),
        };
        responses.attach(resolver.0, Arc::new(resolve));
        let name = names.name("-result", "KTABLE-FK-JOIN-OUTPUT-");
        let kept = Kept::declare(&builder, "KTABLE-FK-JOIN-OUTPUT-", materialized);
        kept.table(&builder, name, resolver, &results, |row| row)
    }

    /// The operator that sends subscriptions, and the topic it sends them to.
    fn subscribe<T>(&self, names: &Names<'_>, wires: &Wires<K, V, L, T>, kind: Kind) -> Between {
        let topic = names.topic(
            "-subscription-registration",
            "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-",
        );
        let node = names.processor(
            "-subscription-registration-processor",
            "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-",
            &[self.table.node],
        );
        let sink = names.sink("-subscription-registration-sink", &topic, &[node]);
        let value = Wire::given(SubscriptionFormat {
            key: wires.key.clone(),
            topic: format!("{}-pk", topic.cluster_name),
        });
        let subscribe = Subscribe {
            node,
            kind,
            extract: Arc::clone(&self.extract),
            value: wires.value.clone(),
            value_topic: topic.value_topic(),
            foreign_key: wires.foreign_key.clone(),
            foreign_key_topic: format!("{}-fk", topic.cluster_name),
            out: super::sink::Writer {
                node: sink,
                topic: topic.index,
                name: topic.cluster_name.clone(),
                key: nullable(&wires.foreign_key),
                value,
                choose: None::<fn(&Option<L>, &Subscription<K>) -> i32>,
            },
        };
        let edge: Arc<dyn Edge<K, Change<V>>> = Arc::new(subscribe);
        self.table.outlet.attach(node.0, edge);
        topic
    }
}

fn wire_of<T: Data>(known: &Option<Wire<T>>) -> Wire<T> {
    known.clone().unwrap_or_else(Wire::own)
}

fn inner<K, V, T, W>(
    join: impl Fn(&K, V, T) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
) -> impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static {
    move |key, left, right| right.map_or(Ok(None), |right| join(key, left, right))
}

/// Which rows a join has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
}

struct Wires<K, V, L, T> {
    key: Wire<K>,
    value: Wire<V>,
    foreign_key: Wire<L>,
    foreign_value: Wire<T>,
}

/// A topic between the two sides.
struct Between {
    index: TopicIndex,
    name: String,
    cluster_name: String,
}

impl Between {
    /// What the format of the values that are hashed sees as its topic.
    fn value_topic(&self) -> String {
        format!("{}-vh", self.cluster_name)
    }
}

const ROLE: TopicRole = TopicRole::Repartition { partitions: None };

/// Names as Kafka Streams makes them: a name by place is used up even where the join has one of its own.
struct Names<'a> {
    builder: &'a Builder,
    join: Option<&'a str>,
}

impl Names<'_> {
    fn name(&self, suffix: &str, prefix: &str) -> String {
        let made = self.builder.lock().name(prefix);
        self.join.map_or(made, |join| format!("{join}{suffix}"))
    }

    fn topic(&self, suffix: &str, prefix: &str) -> Between {
        let name = format!("{}-topic", self.name(suffix, prefix));
        let mut graph = self.builder.lock();
        Between {
            index: graph.topic(&name, ROLE),
            cluster_name: format!("{}-{name}", graph.app),
            name,
        }
    }

    fn processor(&self, suffix: &str, prefix: &str, parents: &[NodeId]) -> NodeId {
        let name = self.name(suffix, prefix);
        self.builder.lock().add(name, NodeKind::Processor, parents)
    }

    fn sink(&self, suffix: &str, topic: &Between, parents: &[NodeId]) -> NodeId {
        let name = self.name(suffix, "KTABLE-SINK-");
        let kind = NodeKind::Sink(Some(topic.index));
        self.builder.lock().add(name, kind, parents)
    }

    /// A source of a topic between the sides, which must match what `beside` reads.
    fn read_topic<K: 'static, V: 'static>(
        &self,
        topic: &Between,
        beside: NodeId,
        key: &Wire<K>,
        value: &Wire<V>,
    ) -> (NodeId, Arc<Outlet<K, V>>) {
        let suffix = topic.name.strip_suffix("-topic").unwrap_or(&topic.name);
        let suffix = self
            .join
            .and_then(|join| suffix.strip_prefix(join))
            .unwrap_or_default();
        let name = self.name(&format!("{suffix}-source"), "KTABLE-SOURCE-");
        let node = source(self.builder, Some(name), &[(&topic.name, ROLE)]);
        let outlet = Outlet::new();
        read(self.builder, node, key, value, &outlet, NullKeys::Decode);
        let mut graph = self.builder.lock();
        let mut sources = graph.sources_of(beside);
        sources.push(node);
        graph.copartitioned.push((node, sources));
        (node, outlet)
    }
}

/// The side of the table that is referred to.
struct ForeignSide<'a, K, V, L, T> {
    names: &'a Names<'a>,
    wires: &'a Wires<K, V, L, T>,
    other: &'a KTable<L, T>,
}

impl<K: Data + Clone, V, L: Data, T: Data + Clone> ForeignSide<'_, K, V, L, T> {
    /// The operators that take up subscriptions and answer them, and the topic of the answers.
    fn answer(&self, registration: &Between, rows: crate::table::Lookup<L, T>) -> Between {
        let Self { names, wires, other } = self;
        let subscriptions = Wire::given(SubscriptionFormat {
            key: wires.key.clone(),
            topic: format!("{}-pk", registration.cluster_name),
        });
        let keys = nullable(&wires.foreign_key);
        let (source, records) = names.read_topic(registration, other.node, &keys, &subscriptions);
        let prefix = "KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-";
        let store_name = names.name("-subscription-store", prefix);
        let named = names.join.is_some();
        let store = subscription_store(&mut names.builder.lock(), &store_name, named);
        let prefix = "KTABLE-FK-JOIN-SUBSCRIPTION-PROCESSOR-";
        let receive = names.processor("-subscription-receive", prefix, &[source]);
        let join = names.processor("-subscription-join-foreign", prefix, &[receive]);
        let tell = names.processor("-foreign-join-subscription", prefix, &[other.node]);
        let mut graph = names.builder.lock();
        graph.connect(receive, &[store]);
        graph.connect(join, &rows.stores);
        graph.connect(tell, &[store]);
        drop(graph);
        let response = names.topic("-subscription-response", "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-");
        let sink = names.sink("-subscription-response-sink", &response, &[join, tell]);
        let foreign = Arc::new(Foreign {
            store,
            store_name,
            primary_key: wires.key.clone(),
            foreign_key: wires.foreign_key.clone(),
            topics: [
                format!("{}-pk", registration.cluster_name),
                format!("{}-fk", registration.cluster_name),
            ],
            subscriptions,
            rows: rows.getter,
            sink,
            response: response.index,
            response_topic: response.cluster_name.clone(),
            response_value: Wire::given(ResponseFormat(wires.foreign_value.clone())),
        });
        let receiver = Receive {
            node: receive,
            foreign: Arc::clone(&foreign),
        };
        records.attach(receive.0, Arc::new(receiver));
        let teller: Arc<dyn Edge<L, Change<T>>> = Arc::new(Tell { node: tell, foreign });
        other.outlet.attach(tell.0, teller);
        response
    }
}

fn subscription_store(graph: &mut Graph, name: &str, named: bool) -> StoreIndex {
    graph.store(StoreDecl {
        spec: StoreSpec::new(name, StoreKind::Timestamped),
        active: true,
        named,
        changelog: true,
        global_topic: None,
        windows: None,
        headers_beside: true,
    })
}
