//! `stream`: records of a topic.

use std::sync::Arc;

use tidemill_data::{Topic, Wire};

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
        if let Some(error) = ctx.refusal() {
            return ctx.failed(self.node, Step::Decode, error);
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
