//! `stream`: records of a topic.

use std::sync::Arc;

use tidemill_data::{Data, Topic, Wire};

use crate::{
    App, KStream, Record, TopicRole,
    builder::Builder,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::Step,
    graph::{Entry, NodeId, NodeKind, Reader, Source},
};

impl App {
    /// The records of a topic.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// const CLICKS: Topic<String, String> = Topic::new("clicks");
    ///
    /// let app = App::new("docs");
    /// app.stream(&CLICKS).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn stream<K: 'static, V: 'static>(&self, topic: &Topic<K, V>) -> KStream<K, V> {
        self.stream_of(&[topic])
    }

    /// The records of several topics of the same types and formats, as one stream.
    ///
    /// # Panics
    /// Without topics.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// const WEB: Topic<String, String> = Topic::new("web");
    /// const PHONE: Topic<String, String> = Topic::new("phone");
    /// # let app = App::new("docs");
    /// app.stream_of(&[&WEB, &PHONE]).to(&OUT);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&WEB, "ada", "click", ms(1));
    /// test.pipe(&PHONE, "bob", "tap", ms(2));
    /// assert_eq!(test.read(&OUT).len(), 2);
    /// ```
    pub fn stream_of<K: 'static, V: 'static>(&self, topics: &[&Topic<K, V>]) -> KStream<K, V> {
        let first = topics.first().expect("a stream has at least one topic");
        let outlet = Outlet::new();
        let names: Vec<(&str, TopicRole)> = topics
            .iter()
            .map(|topic| (topic.name(), TopicRole::External))
            .collect();
        let node = source(&self.builder, None, &names);
        let (key, value) = (first.key().clone(), first.value().clone());
        read(&self.builder, node, &key, &value, &outlet, NullKeys::Decode);
        let stream = KStream::new(self.builder.clone(), node, outlet);
        KStream {
            key: Some(key),
            value: Some(value),
            ..stream
        }
    }

    /// The records of all topics whose names `wants` is true for, as one stream in the types' own formats.
    ///
    /// Which topics there are is asked when the program starts, and again as often as `metadata.max.age.ms` says: the
    /// program then reads topics that have come, and no longer those that have gone. A test says it by
    /// [`resolve`](Self::resolve). Without any such topic the program does not start. The app's own topics are never
    /// asked about.
    ///
    /// Where a topic that comes has more partitions than those before, a store that is not behind a repartition would need
    /// a larger changelog; the program then goes on without that topic, and the log says so.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const ALL: Topic<String, String> = Topic::new("all-orders");
    /// let app = App::new("docs");
    /// app.stream_matching::<String, String>(|topic| topic.starts_with("orders-")).to(&ALL);
    /// app.resolve(&["orders-eu", "orders-us", "payments"]);
    /// assert!(app.describe()?.contains("(topics: [orders-eu, orders-us])"));
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn stream_matching<K: Data, V: Data>(
        &self,
        wants: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> KStream<K, V> {
        let outlet = Outlet::new();
        let node = source(&self.builder, None, &[]);
        self.builder.lock().patterns.push((node, Arc::new(wants)));
        read(
            &self.builder,
            node,
            &Wire::own(),
            &Wire::own(),
            &outlet,
            NullKeys::Decode,
        );
        KStream::new(self.builder.clone(), node, outlet)
    }

    /// Says which topics there are, for [`stream_matching`](Self::stream_matching). The runtime does it when a program
    /// starts, and from time to time after that. Said again, it holds for the topology that is built next.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const ALL: Topic<String, String> = Topic::new("all");
    /// # let app = App::new("docs");
    /// app.stream_matching::<String, String>(|topic| topic.ends_with("-orders")).to(&ALL);
    /// app.resolve(&["eu-orders", "us-orders", "payments", "docs-own-orders"]);
    /// assert_eq!(app.topology()?.subtopologies()[0].source_topics, ["eu-orders", "us-orders"]);
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn resolve(&self, topics: &[impl AsRef<str>]) {
        let mut graph = self.builder.lock();
        let own = format!("{}-", graph.app);
        let others = topics.iter().map(AsRef::as_ref);
        let mut others: Vec<&str> = others.filter(|topic| !topic.starts_with(&own)).collect();
        others.sort_unstable();
        for (node, wants) in graph.patterns.clone() {
            let wanted = others.iter().filter(|topic| wants(topic));
            let wanted = wanted
                .map(|topic| graph.topic(topic, TopicRole::External))
                .collect();
            graph.node(node).kind = NodeKind::Source(wanted);
        }
    }

    /// Whether the program has to be told which topics there are.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const ALL: Topic<String, String> = Topic::new("all");
    /// # let app = App::new("docs");
    /// assert!(!app.needs_resolving());
    /// app.stream_matching::<String, String>(|topic| topic.ends_with("-orders")).to(&ALL);
    /// assert!(app.needs_resolving());
    /// ```
    #[must_use]
    pub fn needs_resolving(&self) -> bool {
        !self.builder.lock().patterns.is_empty()
    }
}

/// Declares a source operator.
pub(crate) fn source(builder: &Builder, name: Option<String>, topics: &[(&str, TopicRole)]) -> NodeId {
    let mut graph = builder.lock();
    let name = name.unwrap_or_else(|| graph.name("KSTREAM-SOURCE-"));
    let topics = topics
        .iter()
        .map(|(name, role)| graph.topic(name, *role))
        .collect();
    graph.add(name, NodeKind::Source(topics), &[])
}

/// What happens to records without a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NullKeys {
    /// The format decides.
    Decode,
    /// They are dropped and counted: no row of a table has a null key.
    Drop,
}

/// Lets a source operator decode records to an outlet.
pub(crate) fn read<K: 'static, V: 'static>(
    builder: &Builder,
    node: NodeId,
    key: &Wire<K>,
    value: &Wire<V>,
    outlet: &Arc<Outlet<K, V>>,
    null_keys: NullKeys,
) {
    let outlet = Arc::clone(outlet);
    let reader = TopicReader {
        node,
        key: key.clone(),
        value: value.clone(),
        null_keys,
        outlet,
    };
    builder.lock().sources.push(Source {
        node,
        reader: Arc::new(reader),
    });
}

struct TopicReader<K, V> {
    node: NodeId,
    key: Wire<K>,
    value: Wire<V>,
    null_keys: NullKeys,
    outlet: Arc<Outlet<K, V>>,
}

impl<K: 'static, V: 'static> Reader for TopicReader<K, V> {
    fn orders(&self) -> Vec<usize> {
        self.outlet.orders()
    }

    fn fans_out(&self) -> bool {
        self.outlet.fans_out()
    }

    fn part(&self, orders: &[usize]) -> Arc<dyn Entry> {
        Arc::new(TopicEntry {
            node: self.node,
            key: self.key.clone(),
            value: self.value.clone(),
            null_keys: self.null_keys,
            out: self.outlet.part(orders),
        })
    }
}

struct TopicEntry<K, V> {
    node: NodeId,
    key: Wire<K>,
    value: Wire<V>,
    null_keys: NullKeys,
    out: Arc<dyn Edge<K, V>>,
}

impl<K: 'static, V: 'static> Entry for TopicEntry<K, V> {
    fn enter(&self, ctx: &mut Context) -> Flow {
        ctx.reach(self.node);
        let Some(current) = &ctx.current else {
            return Ok(());
        };
        if self.null_keys == NullKeys::Drop && current.record.key.is_none() {
            ctx.drop_record();
            return Ok(());
        }
        let (timestamp, headers) = (current.record.timestamp, current.record.headers.clone());
        let decoded = ctx.attempt(self.node, |ctx| {
            Ok((ctx.decode_key(&self.key)?, ctx.decode_value(&self.value)?))
        });
        match decoded {
            Ok((key, value)) => self.out.send(
                ctx,
                Record {
                    key,
                    value,
                    timestamp,
                    headers,
                },
            ),
            Err(error) => ctx.failed(self.node, Step::Decode, error),
        }
    }
}
