//! `join`, `left_join`, `outer_join` of streams: records of equal keys that are close in event time.

mod side;
mod waiting;

use std::sync::Arc;

use tidemill_data::{BoxError, Data, Wire};
use tidemill_store::{StoreKind, StoreSpec, WindowValues};

use crate::{
    JoinWindow, KStream,
    clocks::ClockIndex,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::{Graph, NodeId, NodeKind, SlotIndex, StoreDecl, StoreIndex},
};

use side::{OtherSide, Side, ThisSide};
use waiting::Waiting;

impl<K: Data + Clone, V: Data> KStream<K, V> {
    /// Joins each record with those of the other stream that have the same key and lie in the window around it.
    /// Records without a key or value are dropped.
    ///
    /// Each pair gives one result, with the later of the two timestamps. A stream whose key was changed before is
    /// repartitioned first. A stream may be joined with a clone of itself.
    ///
    /// ```
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_data::{MINUTE, Topic};
    /// # const SHOWN: Topic<String, String> = Topic::new("shown");
    /// # const CLICKED: Topic<String, String> = Topic::new("clicked");
    /// # const SEEN: Topic<String, String> = Topic::new("seen");
    /// # let app = App::new("docs");
    /// app.stream(&SHOWN)
    ///     .join(app.stream(&CLICKED), JoinWindow::within(MINUTE), |_, advert, click| format!("{advert}: {click}"))
    ///     .to(&SEEN);
    /// # app.topology().unwrap();
    /// ```
    pub fn join<T: Data, W: 'static>(
        self,
        other: KStream<K, T>,
        window: JoinWindow,
        join: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_join(other, window, move |key, left, right| Ok(join(key, left, right)))
    }

    /// As [`join`](Self::join), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_data::{MINUTE, Topic};
    /// # const SHOWN: Topic<String, String> = Topic::new("shown");
    /// # const CLICKED: Topic<String, String> = Topic::new("clicked");
    /// # const SEEN: Topic<String, i64> = Topic::new("seen");
    /// # let app = App::new("docs");
    /// app.stream(&SHOWN)
    ///     .try_join(app.stream(&CLICKED), JoinWindow::within(MINUTE), |_, advert, place| {
    ///         Ok(advert.parse::<i64>()? * 100 + place.parse::<i64>()?)
    ///     })
    ///     .to(&SEEN);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_join<T: Data, W: 'static>(
        self,
        other: KStream<K, T>,
        window: JoinWindow,
        join: impl Fn(&K, &V, &T) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let join = move |key: &K, left: Option<&V>, right: Option<&T>| match (left, right) {
            (Some(left), Some(right)) => join(key, left, right),
            _ => Err("an inner join has both sides".into()),
        };
        self.joined_streams(other, Kind::Inner, window, join)
    }

    /// As [`join`](Self::join), and each record of this stream that meets none of the other gives a result by itself,
    /// once its window and the grace after it are over.
    ///
    /// ```
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_data::{HOUR, Topic};
    /// # const ORDERS: Topic<String, String> = Topic::new("orders");
    /// # const PAYMENTS: Topic<String, i64> = Topic::new("payments");
    /// # const REMINDERS: Topic<String, String> = Topic::new("reminders");
    /// # let app = App::new("docs");
    /// app.stream(&ORDERS)
    ///     .left_join(app.stream(&PAYMENTS), JoinWindow::within(HOUR), |_, order, paid| match paid {
    ///         Some(cents) => format!("{order}: {cents} paid"),
    ///         None => format!("{order}: not paid"),
    ///     })
    ///     .to(&REMINDERS);
    /// # app.topology().unwrap();
    /// ```
    pub fn left_join<T: Data, W: 'static>(
        self,
        other: KStream<K, T>,
        window: JoinWindow,
        join: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_left_join(other, window, move |key, left, right| Ok(join(key, left, right)))
    }

    /// As [`left_join`](Self::left_join), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_data::{HOUR, Topic};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PAYMENTS: Topic<String, i64> = Topic::new("payments");
    /// # const OWED: Topic<String, i64> = Topic::new("owed");
    /// # let app = App::new("docs");
    /// app.stream(&ORDERS)
    ///     .try_left_join(app.stream(&PAYMENTS), JoinWindow::within(HOUR), |_, price, paid| {
    ///         price.checked_sub(*paid.unwrap_or(&0)).ok_or_else(|| "a sum out of range".into())
    ///     })
    ///     .to(&OWED);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_left_join<T: Data, W: 'static>(
        self,
        other: KStream<K, T>,
        window: JoinWindow,
        join: impl Fn(&K, &V, Option<&T>) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let join = move |key: &K, left: Option<&V>, right: Option<&T>| match left {
            Some(left) => join(key, left, right),
            None => Err("a left join has a left side".into()),
        };
        self.joined_streams(other, Kind::Left, window, join)
    }

    /// As [`join`](Self::join), and each record of either stream that meets none of the other gives a result by
    /// itself, once its window and the grace after it are over.
    ///
    /// ```
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_data::{SECOND, Topic};
    /// # const SENT: Topic<String, String> = Topic::new("sent");
    /// # const RECEIVED: Topic<String, String> = Topic::new("received");
    /// # const AUDIT: Topic<String, String> = Topic::new("audit");
    /// # let app = App::new("docs");
    /// app.stream(&SENT)
    ///     .outer_join(app.stream(&RECEIVED), JoinWindow::within(5 * SECOND), |_, sent, received| {
    ///         match (sent, received) {
    ///             (Some(_), Some(_)) => "arrived".to_owned(),
    ///             (Some(sent), None) => format!("lost: {sent}"),
    ///             (None, received) => format!("from nowhere: {received:?}"),
    ///         }
    ///     })
    ///     .to(&AUDIT);
    /// # app.topology().unwrap();
    /// ```
    pub fn outer_join<T: Data, W: 'static>(
        self,
        other: KStream<K, T>,
        window: JoinWindow,
        join: impl Fn(&K, Option<&V>, Option<&T>) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_outer_join(other, window, move |key, left, right| Ok(join(key, left, right)))
    }

    /// As [`outer_join`](Self::outer_join), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_data::{SECOND, Topic};
    /// # const SENT: Topic<String, i64> = Topic::new("sent");
    /// # const RECEIVED: Topic<String, i64> = Topic::new("received");
    /// # const LOSSES: Topic<String, i64> = Topic::new("losses");
    /// # let app = App::new("docs");
    /// app.stream(&SENT)
    ///     .try_outer_join(app.stream(&RECEIVED), JoinWindow::within(5 * SECOND), |_, sent, received| {
    ///         sent.unwrap_or(&0).checked_sub(*received.unwrap_or(&0)).ok_or_else(|| "out of range".into())
    ///     })
    ///     .to(&LOSSES);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_outer_join<T: Data, W: 'static>(
        self,
        other: KStream<K, T>,
        window: JoinWindow,
        join: impl Fn(&K, Option<&V>, Option<&T>) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.joined_streams(other, Kind::Outer, window, join)
    }

    fn joined_streams<T: Data, W: 'static>(
        self,
        other: KStream<K, T>,
        kind: Kind,
        window: JoinWindow,
        join: impl Fn(&K, Option<&V>, Option<&T>) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let (key, left, right) = (self.key_wire(), self.value_wire(), other.value_wire());
        let other_key = other.key_wire();
        let named = |side: &str| window.name.as_ref().map(|name| format!("{name}-{side}"));
        let this = self.together(key.clone(), left.clone(), named("left"));
        let other = other.together(other_key, right.clone(), named("right"));
        let builder = this.builder.clone();
        let mut graph = builder.lock();
        graph.problems.extend(window.problem());
        let declared = declare(&mut graph, kind, &window, this.node, other.node);
        drop(graph);
        let Declared { nodes, stores } = declared;
        let out = Outlet::new();
        let operator = Arc::new(JoinStreams {
            node: nodes.merge,
            key: key.clone(),
            this: Side {
                value: left,
                store: stores.this,
                before_ms: window.before_ms,
                after_ms: window.after_ms,
                outer: kind != Kind::Inner,
            },
            // What is before a left record is after a right one.
            other: Side {
                value: right,
                store: stores.other,
                before_ms: window.after_ms,
                after_ms: window.before_ms,
                outer: kind == Kind::Outer,
            },
            waiting: stores.waiting,
            clock: stores.clock,
            grace_ms: window.grace_ms,
            join,
            out: Arc::clone(&out),
        });
        this.outlet
            .attach(nodes.this_windowed.0, Arc::new(ThisSide(Arc::clone(&operator))));
        other
            .outlet
            .attach(nodes.other_windowed.0, Arc::new(OtherSide(operator)));
        KStream {
            key: Some(key),
            ..KStream::new(builder, nodes.merge, out)
        }
    }
}

/// Which records give a result by themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Outer,
}

struct Nodes {
    this_windowed: NodeId,
    other_windowed: NodeId,
    merge: NodeId,
}

/// A store of the join, and the topic that formats see of it.
#[derive(Clone)]
struct Kept {
    index: StoreIndex,
    name: String,
    changelog: String,
}

struct Stores {
    this: Kept,
    other: Kept,
    waiting: Option<Waiting>,
    clock: ClockIndex,
}

struct Declared {
    nodes: Nodes,
    stores: Stores,
}

/// The operators and stores of a join, in the order in which Kafka Streams names them.
fn declare(graph: &mut Graph, kind: Kind, window: &JoinWindow, left: NodeId, right: NodeId) -> Declared {
    let (this, other) = match kind {
        Kind::Inner => (
            ("KSTREAM-JOINTHIS-", "-this-join"),
            ("KSTREAM-JOINOTHER-", "-other-join"),
        ),
        Kind::Left => (
            ("KSTREAM-JOINTHIS-", "-this-join"),
            ("KSTREAM-OUTEROTHER-", "-outer-other-join"),
        ),
        Kind::Outer => (
            ("KSTREAM-OUTERTHIS-", "-outer-this-join"),
            ("KSTREAM-OUTEROTHER-", "-outer-other-join"),
        ),
    };
    // A name by place is used up even where the join has one of its own.
    let windowed = [graph.name("KSTREAM-WINDOWED-"), graph.name("KSTREAM-WINDOWED-")];
    let (this_made, other_made) = (graph.name(this.0), graph.name(other.0));
    let merge_made = graph.name("KSTREAM-MERGE-");
    let name = |made: &str, suffix: &str| match &window.name {
        Some(name) => format!("{name}{suffix}"),
        None => made.to_owned(),
    };
    let [this_windowed, other_windowed] = [
        (&windowed[0], "-this-windowed", left),
        (&windowed[1], "-other-windowed", right),
    ]
    .map(|(made, suffix, parent)| graph.add(name(made, suffix), NodeKind::Processor, &[parent]));
    let join_this = graph.add(name(&this_made, this.1), NodeKind::Processor, &[this_windowed]);
    let join_other = graph.add(name(&other_made, other.1), NodeKind::Processor, &[other_windowed]);
    let both = [join_this, join_other];
    let merge = graph.add(name(&merge_made, "-merge"), NodeKind::Processor, &both);
    let stores = Stores {
        this: side_store(graph, window, &this_made, this.1),
        other: side_store(graph, window, &other_made, other.1),
        waiting: (kind != Kind::Inner).then(|| {
            let made = this_made.replacen(this.0, "KSTREAM-OUTERSHARED-", 1);
            let suffix = if kind == Kind::Outer {
                "-outer-shared-join"
            } else {
                "-left-shared-join"
            };
            let kept = store(graph, window, &made, suffix, StoreKind::KeyValue);
            Waiting::new(kept, next_emit(graph, merge))
        }),
        clock: graph.clock(merge),
    };
    graph.connect(this_windowed, &[stores.this.index]);
    graph.connect(other_windowed, &[stores.other.index]);
    graph.connect(join_this, &[stores.other.index]);
    graph.connect(join_other, &[stores.this.index]);
    if let Some(waiting) = &stores.waiting {
        graph.connect(join_this, &[waiting.store.index]);
        graph.connect(join_other, &[waiting.store.index]);
        graph.wants_null_keys.push(merge);
    }
    let mut sources = graph.sources_of(left);
    sources.extend(graph.sources_of(right));
    graph.copartitioned.push((merge, sources));
    let nodes = Nodes {
        this_windowed,
        other_windowed,
        merge,
    };
    Declared { nodes, stores }
}

fn side_store(graph: &mut Graph, window: &JoinWindow, made: &str, suffix: &str) -> Kept {
    let kind = StoreKind::Window {
        retention_ms: window.retention_ms(),
        values: WindowValues::Duplicates,
    };
    store(graph, window, made, suffix, kind)
}

fn store(graph: &mut Graph, window: &JoinWindow, made: &str, suffix: &str, kind: StoreKind) -> Kept {
    let name = match &window.stores {
        Some(stores) => format!("{stores}{suffix}-store"),
        None => format!("{made}-store"),
    };
    let changelog = format!("{}-{name}-changelog", graph.app);
    let index = graph.store(StoreDecl {
        spec: StoreSpec::new(name.clone(), kind),
        active: true,
        named: window.stores.is_some(),
        changelog: window.changelog,
        global_topic: None,
        windows: None,
        headers_beside: true,
    });
    Kept {
        index,
        name,
        changelog,
    }
}

/// When what waits may be emitted next, by the wall clock, in milliseconds.
fn next_emit(graph: &mut Graph, node: NodeId) -> SlotIndex {
    graph.slot(node, Arc::new(|| Box::new(0_i64)))
}

struct JoinStreams<K, V, T, W, F> {
    node: NodeId,
    key: Wire<K>,
    this: Side<V>,
    other: Side<T>,
    // Left and outer joins: records that have met none so far.
    waiting: Option<Waiting>,
    clock: ClockIndex,
    grace_ms: i64,
    join: F,
    out: Arc<Outlet<K, W>>,
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> JoinStreams<K, V, T, W, F>
where
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<W, BoxError> + Send + Sync,
{
    /// Sends the result of two records, or of one alone.
    fn meet(&self, ctx: &mut Context, record: crate::Record<K, (Option<&V>, Option<&T>)>) -> Flow {
        let (left, right) = record.value;
        match ctx.try_call(self.node, || (self.join)(&record.key, left, right))? {
            Some(value) => self.out.send(ctx, record.with_value(value)),
            None => Ok(()),
        }
    }
}
