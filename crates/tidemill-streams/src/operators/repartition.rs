//! `repartition`, and the implied one: through a topic of the app, so that equal keys meet in one task.

use std::sync::Arc;

use tidemill_data::{Data, Headers, Place, Wire};

use crate::{
    KStream, Record, TopicRole,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::{NodeId, NodeKind},
    stream::Repartitioned,
};

use super::{
    named_by_place,
    sink::Writer,
    source::{NullKeys, read, source},
};

impl<K: Data, V: Data> KStream<K, V> {
    /// Sends the stream through a topic of the app, so that records of equal keys meet in one task. Grouping, tables
    /// and joins do this by themselves after a change of key.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN).repartition("by-user").to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn repartition(self, name: &str) -> Self {
        self.repartition_as(Some(name), None)
    }

    /// As [`repartition`](Self::repartition), with a number of partitions that differs from that of the topics read.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).repartition_into("by-user", 12).to(&OUT);
    /// let topic = app.topology()?.subtopologies()[0].repartition_sinks[0].clone();
    /// assert_eq!((topic.name.as_str(), topic.partitions), ("docs-by-user-repartition", Some(12)));
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn repartition_into(self, name: &str, partitions: u32) -> Self {
        self.repartition_as(Some(name), Some(partitions))
    }

    /// As [`repartition`](Self::repartition), with a name made from the place in the program, which changes when
    /// operators are added before it.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).repartition_unnamed().to(&OUT);
    /// let topic = app.topology()?.subtopologies()[0].repartition_sinks[0].clone();
    /// assert_eq!(topic.name, "docs-KSTREAM-REPARTITION-0000000001-repartition");
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn repartition_unnamed(self) -> Self {
        self.repartition_as(None, None)
    }

    fn repartition_as(self, name: Option<&str>, partitions: Option<u32>) -> Self {
        let (key, value) = (self.key_wire(), self.value_wire());
        let name = match name {
            Some(name) => name.to_owned(),
            None => self.builder.lock().name("KSTREAM-REPARTITION-"),
        };
        self.through(&Through {
            name: &name,
            key,
            value,
            partitions,
        })
    }
}

/// A way through a repartition topic.
pub(crate) struct Through<'a, K, V> {
    pub(crate) name: &'a str,
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
    pub(crate) partitions: Option<u32>,
}

impl<K: 'static, V: 'static> KStream<K, V> {
    /// The stream behind a repartition topic.
    pub(crate) fn through(self, way: &Through<'_, K, V>) -> Self {
        let name = if way.name.ends_with("-repartition") {
            way.name.to_owned()
        } else {
            format!("{}-repartition", way.name)
        };
        let mut graph = self.builder.lock();
        let made = [
            graph.name("KSTREAM-SINK-"),
            graph.name("KSTREAM-FILTER-"),
            graph.name("KSTREAM-SOURCE-"),
        ];
        let given = ["sink", "filter", "source"].map(|part| format!("{name}-{part}"));
        let [sink_name, filter_name, source_name] = if named_by_place(way.name) { made } else { given };
        let role = TopicRole::Repartition {
            partitions: way.partitions,
        };
        let topic = graph.topic(&name, role);
        let filter = graph.add(filter_name, NodeKind::Processor, &[self.node]);
        let sink = graph.add(sink_name, NodeKind::Sink(Some(topic)), &[filter]);
        let cluster_name = format!("{}-{name}", graph.app);
        drop(graph);
        let writer = Writer {
            node: sink,
            topic,
            name: cluster_name.clone(),
            key: way.key.clone(),
            value: way.value.clone(),
            choose: None::<fn(&K, &V) -> i32>,
        };
        let keys = WithKeys {
            node: filter,
            key: way.key.clone(),
            topic: cluster_name,
            writer,
        };
        self.outlet.attach(filter.0, Arc::new(keys));
        let outlet = Outlet::like(&self.outlet);
        let node = source(&self.builder, Some(source_name), &[(&name, role)]);
        read(
            &self.builder,
            node,
            &way.key,
            &way.value,
            &outlet,
            NullKeys::Decode,
        );
        let (key, value) = (Some(way.key.clone()), Some(way.value.clone()));
        KStream {
            key,
            value,
            ..KStream::new(self.builder, node, outlet)
        }
    }

    /// The stream with equal keys together, for a join: as it is, or behind a topic that joins on this stream share,
    /// unless the join names its own.
    pub(crate) fn together(self, key: Wire<K>, value: Wire<V>, name: Option<String>) -> Self {
        if !self.key_changed {
            return self;
        }
        let known = self.shared_repartition();
        if let Some(Repartitioned { node, outlet }) = known.filter(|_| name.is_none()) {
            let mut graph = self.builder.lock();
            (0..3).for_each(|_| graph.skip_name());
            drop(graph);
            return KStream {
                key: Some(key),
                value: Some(value),
                ..KStream::new(self.builder, node, outlet)
            };
        }
        let own = name.is_some();
        let name = name.unwrap_or_else(|| self.builder.lock().node(self.node).name.clone());
        let shared = Arc::clone(&self.repartitioned);
        let stream = self.through(&Through {
            name: &name,
            key,
            value,
            partitions: None,
        });
        let repartitioned = Repartitioned {
            node: stream.node,
            outlet: Arc::clone(&stream.outlet),
        };
        if own {
            return stream;
        }
        *shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(repartitioned);
        stream
    }
}

/// Drops records without a key, uncounted, since they would never match: unless a left or outer join lies behind the
/// topic, where they are results.
struct WithKeys<K, V> {
    node: NodeId,
    key: Wire<K>,
    topic: String,
    writer: Writer<K, V, fn(&K, &V) -> i32>,
}

impl<K: 'static, V: 'static> Edge<K, V> for WithKeys<K, V> {
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let none = Headers::new();
        if self.key.is_null(Place::key(&self.topic, &none), &record.key)
            && !ctx.topology.keeps_null_keys(self.node)
        {
            return Ok(());
        }
        self.writer.send(ctx, record)
    }
}
