//! `stream_matching`, `stream_of_pattern`: records of all topics whose names a program wants, those that come later too.

use std::sync::Arc;

use tidemill_data::{BoxError, Data, Format, Timestamp, Wire};

use super::source::{NullKeys, read, source};
use crate::{
    App, KStream, Record, Reset, TopicRole,
    edge::Outlet,
    graph::{ExtractOf, NodeKind, PatternDecl, Wants},
    input::{Extract, Extractor, RecordTime},
};

/// Which topics a stream reads, and how each of them is read.
///
/// ```
/// # use tidemill_streams::{App, Pattern, Reset};
/// # use tidemill_data::{Timestamp, Topic};
/// # use tidemill_testing::{TestDriver, ms};
/// # const ALL: Topic<String, String> = Topic::new("all-lines");
/// # const EU: Topic<String, String> = Topic::new("lines-eu");
/// // "1699999999000 the text"
/// let lines = Pattern::<String, String>::new(|topic| topic.starts_with("lines-"))
///     .timestamps(|line| {
///         let (ms, _) = line.value.split_once(' ')?;
///         Some(Timestamp::from_millis(ms.parse().ok()?))
///     })
///     .reset(Reset::Latest);
/// let app = App::new("docs");
/// app.stream_of_pattern(lines).to(&ALL);
/// app.resolve(&["lines-eu", "lines-us"]);
/// # let mut test = TestDriver::new(&app);
/// test.pipe(&EU, "k", "70 a line", ms(1));
/// assert_eq!(test.read(&ALL)[0].timestamp, ms(70));
/// ```
#[must_use = "a pattern is read by stream_of_pattern"]
pub struct Pattern<K, V> {
    wants: Wants,
    key: Wire<K>,
    value: Wire<V>,
    time: Option<Arc<RecordTime<K, V>>>,
    reset: Option<Reset>,
}

impl<K: 'static, V: 'static> Pattern<K, V> {
    /// All topics whose names `wants` is true for, in the types' own formats.
    ///
    /// ```
    /// # use tidemill_streams::{App, Pattern};
    /// # use tidemill_data::Topic;
    /// # const ALL: Topic<String, String> = Topic::new("all-orders");
    /// # let app = App::new("docs");
    /// app.stream_of_pattern(Pattern::<String, String>::new(|topic| topic.ends_with("-orders"))).to(&ALL);
    /// # app.resolve(&["eu-orders"]);
    /// # app.topology().unwrap();
    /// ```
    pub fn new(wants: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self
    where
        K: Data,
        V: Data,
    {
        Self {
            wants: Arc::new(wants),
            key: Wire::own(),
            value: Wire::own(),
            time: None,
            reset: None,
        }
    }

    /// All topics whose names `wants` is true for, in formats of your own, which see the name of each record's topic.
    ///
    /// ```
    /// # use tidemill_streams::{App, Pattern};
    /// # use tidemill_data::{HOUR, Own, TimeWindowed, Topic, Windowed};
    /// # const ALL: Topic<String, i64> = Topic::new("all-counts");
    /// # let app = App::new("docs");
    /// let hours = TimeWindowed::of_size(HOUR); // of Kafka Streams' keys the size is not in the bytes
    /// let counts = Pattern::<Windowed<String>, i64>::with_formats(|topic| topic.starts_with("counts-"), hours, Own);
    /// app.stream_of_pattern(counts).map(|hour, count| (hour.key, count)).to(&ALL);
    /// # app.resolve(&["counts-eu"]);
    /// # app.topology().unwrap();
    /// ```
    pub fn with_formats(
        wants: impl Fn(&str) -> bool + Send + Sync + 'static,
        key: impl Format<K>,
        value: impl Format<V>,
    ) -> Self {
        Self {
            wants: Arc::new(wants),
            key: Wire::given(key),
            value: Wire::given(value),
            time: None,
            reset: None,
        }
    }

    /// Takes the time of the topics' records from the records themselves, as [`App::timestamps_of`] does for one topic;
    /// a topic that has its own keeps it.
    ///
    /// ```
    /// # use tidemill_streams::{App, Pattern};
    /// # use tidemill_data::{Timestamp, Topic};
    /// # const ALL: Topic<String, i64> = Topic::new("all-times");
    /// # let app = App::new("docs");
    /// let times = Pattern::<String, i64>::new(|topic| topic.starts_with("times-"));
    /// let times = times.timestamps(|record| Some(Timestamp::from_millis(record.value)));
    /// app.stream_of_pattern(times).to(&ALL);
    /// # app.resolve(&["times-eu"]);
    /// # app.topology().unwrap();
    /// ```
    pub fn timestamps(
        self,
        time: impl Fn(&Record<K, V>) -> Option<Timestamp> + Send + Sync + 'static,
    ) -> Self {
        Self {
            time: Some(Arc::new(RecordTime::Given(Box::new(time)))),
            ..self
        }
    }

    /// As [`timestamps`](Self::timestamps), with a closure that may fail: see [`App::try_timestamps_of`].
    ///
    /// ```
    /// # use tidemill_streams::{App, Pattern};
    /// # use tidemill_data::{Timestamp, Topic};
    /// # const ALL: Topic<String, i64> = Topic::new("all-times");
    /// # let app = App::new("docs");
    /// let times = Pattern::<String, i64>::new(|topic| topic.starts_with("times-"));
    /// let times = times.try_timestamps(|record| match record.value {
    ///     0 => Err("it has no time".into()),
    ///     time => Ok(Timestamp::from_millis(time)),
    /// });
    /// app.stream_of_pattern(times).to(&ALL);
    /// # app.resolve(&["times-eu"]);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_timestamps(
        self,
        time: impl Fn(&Record<K, V>) -> Result<Timestamp, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            time: Some(Arc::new(RecordTime::Tried(Box::new(time)))),
            ..self
        }
    }

    /// Where to begin in the topics of which the app has committed nothing yet, instead of `auto.offset.reset`, and as
    /// [`App::reset_of`] says for one topic; a topic that has its own keeps it. It holds for topics that come while the
    /// program runs, too: of those [`Reset::Latest`] leaves out what was written before the program saw them.
    ///
    /// ```
    /// # use tidemill_streams::{App, Pattern, Reset};
    /// # use tidemill_data::{HOUR, Topic};
    /// # const ALL: Topic<String, String> = Topic::new("all-clicks");
    /// # let app = App::new("docs");
    /// let clicks = Pattern::<String, String>::new(|topic| topic.starts_with("clicks-"));
    /// app.stream_of_pattern(clicks.reset(Reset::Within(HOUR))).to(&ALL);
    /// app.resolve(&["clicks-eu"]);
    /// assert_eq!(app.topology()?.reset_of("clicks-eu"), Some(Reset::Within(HOUR)));
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn reset(self, reset: Reset) -> Self {
        Self {
            reset: Some(reset),
            ..self
        }
    }
}

impl App {
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
    /// [`stream_of_pattern`](Self::stream_of_pattern) takes other formats, times and places to begin, too.
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
        self.stream_of_pattern(Pattern::new(wants))
    }

    /// As [`stream_matching`](Self::stream_matching), with formats, times and a place to begin that hold for all topics of
    /// the pattern.
    ///
    /// ```
    /// # use tidemill_streams::{App, Pattern, Reset};
    /// # use tidemill_data::Topic;
    /// # const ALL: Topic<String, String> = Topic::new("all-orders");
    /// let app = App::new("docs");
    /// let orders = Pattern::<String, String>::new(|topic| topic.starts_with("orders-"));
    /// app.stream_of_pattern(orders.reset(Reset::Earliest)).to(&ALL);
    /// app.resolve(&["orders-eu", "payments"]);
    /// assert!(app.describe()?.contains("(topics: [orders-eu])"));
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn stream_of_pattern<K: 'static, V: 'static>(&self, pattern: Pattern<K, V>) -> KStream<K, V> {
        let Pattern {
            wants,
            key,
            value,
            time,
            reset,
        } = pattern;
        let outlet = Outlet::new();
        let node = source(&self.builder, None, &[]);
        let (key_of, value_of) = (key.clone(), value.clone());
        let extract = time.map(|time| {
            let of = move |topic: &str| {
                Arc::new(Extractor {
                    topic: topic.to_owned(),
                    key: key_of.clone(),
                    value: value_of.clone(),
                    time: Arc::clone(&time),
                }) as Arc<dyn Extract>
            };
            Arc::new(of) as ExtractOf
        });
        self.builder.lock().patterns.push(PatternDecl {
            node,
            wants,
            extract,
            reset,
        });
        read(&self.builder, node, &key, &value, &outlet, NullKeys::Decode);
        let stream = KStream::new(self.builder.clone(), node, outlet);
        KStream {
            key: Some(key),
            value: Some(value),
            ..stream
        }
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
        for pattern in graph.patterns.clone() {
            let wanted = others.iter().filter(|topic| (pattern.wants)(topic));
            let wanted = wanted.map(|topic| {
                let index = graph.topic(topic, TopicRole::External);
                pattern.say_how_to_read(topic, graph.input(index));
                index
            });
            let wanted = wanted.collect();
            graph.node(pattern.node).kind = NodeKind::Source(wanted);
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
