//! `to`: the end of a stream in a topic.

use tidemill_data::{Data, Topic, Wire};

use crate::{
    KStream, OutputTopic, PartitionChoice, Policy, Record, TopicIndex, TopicRole,
    context::{Context, Sink},
    edge::{Edge, Flow},
    graph::{NodeId, NodeKind},
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Writes the stream to a topic.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn to(self, topic: &Topic<K, V>) {
        self.write(topic, None::<fn(&K, &V) -> i32>);
    }

    /// As [`to`](Self::to), with what happens to records that cannot be encoded, instead of the app's policy.
    ///
    /// ```
    /// # use tidemill_streams::{App, Policy};
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).to_or(&OUT, Policy::DeadLetter("unwritten".into()));
    /// # app.topology().unwrap();
    /// ```
    pub fn to_or(self, topic: &Topic<K, V>, policy: Policy) {
        let builder = self.builder.clone();
        let node = self.write(topic, None::<fn(&K, &V) -> i32>);
        builder.lock().node(node).policy = Some(policy);
    }

    /// Writes the stream to a topic, each record to the partition that `choose` gives.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).to_partition(&OUT, |_, amount| if *amount > 100 { 0 } else { 1 });
    /// # app.topology().unwrap();
    /// ```
    pub fn to_partition(self, topic: &Topic<K, V>, choose: impl Fn(&K, &V) -> i32 + Send + Sync + 'static) {
        self.write(topic, Some(choose));
    }

    fn write(
        self,
        topic: &Topic<K, V>,
        choose: Option<impl Fn(&K, &V) -> i32 + Send + Sync + 'static>,
    ) -> NodeId {
        let mut graph = self.builder.lock();
        let index = graph.topic(topic.name(), TopicRole::External);
        let name = graph.name("KSTREAM-SINK-");
        let node = graph.add(name, NodeKind::Sink(Some(index)), &[self.node]);
        drop(graph);
        let writer = Writer {
            node,
            topic: index,
            name: topic.name().to_owned(),
            key: topic.key().clone(),
            value: topic.value().clone(),
            choose,
        };
        self.outlet.attach(node.0, std::sync::Arc::new(writer));
        node
    }

    /// Writes each record to the topic that `choose` names for it, in the types' own formats.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN).to_chosen(|record| format!("amounts-of-{}", record.key));
    /// # app.topology().unwrap();
    /// ```
    pub fn to_chosen(self, choose: impl Fn(&Record<K, V>) -> String + Send + Sync + 'static)
    where
        K: Data,
        V: Data,
    {
        let (key, value) = (self.key_wire(), self.value_wire());
        let mut graph = self.builder.lock();
        let name = graph.name("KSTREAM-SINK-");
        let node = graph.add(name, NodeKind::Sink(None), &[self.node]);
        drop(graph);
        self.outlet.attach(
            node.0,
            std::sync::Arc::new(Chosen {
                node,
                key,
                value,
                choose,
            }),
        );
    }
}

pub(super) struct Writer<K, V, F> {
    pub(super) node: NodeId,
    pub(super) topic: TopicIndex,
    pub(super) name: String,
    pub(super) key: Wire<K>,
    pub(super) value: Wire<V>,
    pub(super) choose: Option<F>,
}

impl<K: 'static, V: 'static, F: Fn(&K, &V) -> i32 + Send + Sync> Edge<K, V> for Writer<K, V, F> {
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let partition = match &self.choose {
            None => PartitionChoice::ByKey,
            Some(choose) => match ctx.call(self.node, || choose(&record.key, &record.value))? {
                Some(partition) => PartitionChoice::Fixed(partition),
                None => return Ok(()),
            },
        };
        let sink = Sink {
            node: self.node,
            target: OutputTopic::Known(self.topic),
            topic_name: &self.name,
            partition,
            key: &self.key,
            value: &self.value,
        };
        ctx.emit(&sink, record)
    }
}

struct Chosen<K, V, F> {
    node: NodeId,
    key: Wire<K>,
    value: Wire<V>,
    choose: F,
}

impl<K: 'static, V: 'static, F: Fn(&Record<K, V>) -> String + Send + Sync> Edge<K, V> for Chosen<K, V, F> {
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let Some(topic) = ctx.call(self.node, || (self.choose)(&record))? else {
            return Ok(());
        };
        let sink = Sink {
            node: self.node,
            target: OutputTopic::Named(&topic),
            topic_name: &topic,
            partition: PartitionChoice::ByKey,
            key: &self.key,
            value: &self.value,
        };
        ctx.emit(&sink, record)
    }
}
