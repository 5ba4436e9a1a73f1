//! `App`: where a program begins.

use std::{sync::Arc, time::Duration};

use tidemill_data::StoreName;

use crate::{
    Policy, Topology, TopologyError, builder::Builder, graph::ChangelogSetting, windows::Forgetting,
};

/// A program under composition: streams and tables are made from it, and operators from those.
///
/// ```
/// use tidemill_data::{StoreName, Topic};
/// use tidemill_streams::App;
///
/// const LINES: Topic<String, String> = Topic::new("lines");
/// const COUNTS: StoreName<String, i64> = StoreName::new("counts");
/// const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
///
/// let app = App::new("word-count");
/// app.stream(&LINES)
///     .flat_map_values(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
///     .group_by(|_, word| word.clone())
///     .count(&COUNTS)
///     .to_stream()
///     .to(&TOTALS);
/// assert!(app.describe()?.contains("Source: counts-repartition-source (topics: [counts-repartition])"));
/// # Ok::<(), tidemill_streams::TopologyError>(())
/// ```
#[derive(Clone)]
pub struct App {
    pub(crate) builder: Builder,
}

impl App {
    /// A program without operators. The name stands in front of its internal topics and is its consumer group.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// let app = App::new("articles");
    /// assert_eq!(app.name(), "articles");
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            builder: Builder::new(name.into()),
        }
    }

    /// The name.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// let app = App::new("articles");
    /// app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let changelog = format!("{}-counts-changelog", app.name());
    /// assert_eq!(app.topology()?.subtopologies()[0].changelogs[0].name, changelog);
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> String {
        self.builder.lock().app.clone()
    }

    /// What happens to records that fail, unless an operator says otherwise. The default is [`Policy::Fail`].
    ///
    /// ```
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::{App, Policy};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const TEXTS: Topic<String, String> = Topic::new("texts");
    /// # const NUMBERS: Topic<String, i64> = Topic::new("numbers");
    /// let app = App::new("docs");
    /// app.on_error(Policy::Skip);
    /// app.stream(&TEXTS).try_map_values(|text| Ok(text.parse::<i64>()?)).to(&NUMBERS);
    ///
    /// let mut test = TestDriver::new(&app);
    /// test.pipe(&TEXTS, "a", "no number", ms(1));
    /// test.pipe(&TEXTS, "a", "7", ms(2));
    /// assert_eq!(test.read(&NUMBERS).len(), 1);
    /// assert_eq!(test.take_failures().len(), 1);
    /// ```
    pub fn on_error(&self, policy: Policy) {
        self.builder.lock().policy = policy;
    }

    /// The least advance of the wall clock between two emissions of what waited for its window to close, such as a
    /// left join's record without a partner. The default is zero: it is emitted with the first record that allows it.
    ///
    /// ```
    /// # use tidemill_data::{MILLISECOND, SECOND, Topic};
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PAYMENTS: Topic<String, i64> = Topic::new("payments");
    /// # const OPEN: Topic<String, i64> = Topic::new("open");
    /// let app = App::new("docs");
    /// app.emit_interval(SECOND);
    /// let payments = app.stream(&PAYMENTS);
    /// app.stream(&ORDERS)
    ///     .left_join(payments, JoinWindow::within(10 * MILLISECOND), |_, due, paid| due - paid.unwrap_or(&0))
    ///     .to(&OPEN);
    ///
    /// let mut test = TestDriver::new(&app);
    /// test.pipe(&ORDERS, "a", 5, ms(1));
    /// test.advance(SECOND);
    /// test.pipe(&ORDERS, "b", 6, ms(100)); // a's window closes
    /// test.pipe(&ORDERS, "c", 7, ms(200)); // b's does, less than a second later
    /// assert_eq!(test.read(&OPEN).len(), 1);
    /// test.advance(SECOND);
    /// test.pipe(&ORDERS, "d", 8, ms(200));
    /// assert_eq!(test.read(&OPEN).len(), 1);
    /// ```
    pub fn emit_interval(&self, interval: Duration) {
        self.builder.lock().emit_interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
    }

    /// Lets windowed stores forget as early as Kafka Streams' do, for programs that must agree with it in that too. To be
    /// said before the windows are composed.
    ///
    /// Kafka Streams keeps windows and sessions no longer, by default, than they take records themselves: a window can be
    /// forgotten before `emit_on_close` has emitted it, and a session, or what a sliding window is made of, before a
    /// record joins it that is not late. Here both are kept as long as they are needed, unless this says otherwise.
    ///
    /// ```
    /// # use tidemill_streams::{App, Session};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const VISITS: StoreName<Windowed<String>, i64> = StoreName::new("visits");
    /// let app = App::new("docs");
    /// app.forget_as_kafka_streams();
    /// app.stream(&IN).group_by_key().window(Session::gap(30 * MINUTE)).count(&VISITS);
    /// # app.topology().unwrap();
    /// ```
    pub fn forget_as_kafka_streams(&self) {
        self.builder.lock().forgetting = Forgetting::AsKafkaStreams;
    }

    /// Keeps headers wherever records are kept, as `headers.preserve=true` does for a program that is started: in tables,
    /// windows, sessions, joins, and in what processors put. So a trace goes on through all of them.
    ///
    /// Without it a result has the headers of the record that led to it, and nothing of the rows that record met, as in
    /// Kafka Streams. With it
    /// - a join's result has the headers of the record that led to it, then those of the row or record it met, except
    ///   where a name is there already;
    /// - a row of a table or an aggregation has the headers of the record that changed it last;
    /// - what a join of streams gives for a record that met none, and what `emit_on_close` gives for a window, has the
    ///   headers of that record and of that window's row, not of the record whose time let them go;
    /// - the rows of sessions have headers at all;
    /// - a row that a processor puts has the headers of the record being processed, or those it is given.
    ///
    /// Headers stand beside the values in the database and are headers in the changelog, whose keys and values stay the
    /// same. A store that begins or ceases to keep them is restored from its changelog once.
    ///
    /// ```
    /// # use tidemill_data::{Headers, Topic};
    /// # use tidemill_streams::{App, Record};
    /// const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// const NAMES: Topic<String, String> = Topic::new("names");
    /// const NAMED: Topic<String, String> = Topic::new("named");
    ///
    /// let app = App::new("docs");
    /// app.preserve_headers();
    /// let names = app.table(&NAMES);
    /// app.stream(&CLICKS).join_table(&names, |_, click, name| format!("{name}: {click}")).to(&NAMED);
    /// # app.topology().unwrap();
    /// ```
    pub fn preserve_headers(&self) {
        self.builder.lock().preserves_headers = true;
    }

    /// Sets what a store's changelog topic has when it is made, by Kafka's names, instead of what the store asks for. A
    /// topic that is there already keeps its settings. Of a store that has no changelog nothing can be set: the program is
    /// refused.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    ///
    /// let app = App::new("docs");
    /// app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// app.changelog_setting(&COUNTS, "segment.bytes", "16777216");
    /// let topology = app.topology()?;
    /// assert_eq!(topology.subtopologies()[0].changelogs[0].config["segment.bytes"], "16777216");
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn changelog_setting<K: 'static, V: 'static>(
        &self,
        store: &StoreName<K, V>,
        name: impl Into<String>,
        value: impl Into<String>,
    ) {
        self.builder.lock().changelog_settings.push(ChangelogSetting {
            store: store.name().to_owned(),
            name: name.into(),
            value: value.into(),
        });
    }

    /// The topology composed so far. No operator can be added after this.
    ///
    /// # Errors
    /// When the program cannot run: two stores of one name, two sources that share only some of their topics.
    ///
    /// ```
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::App;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const READ: Topic<String, String> = Topic::new("read");
    /// let app = App::new("docs");
    /// app.stream(&CLICKS).to(&READ);
    /// let topology = app.topology()?;
    /// assert_eq!(topology.subtopologies()[0].source_topics, ["clicks"]);
    /// assert_eq!(topology.subtopologies()[0].sink_topics, ["read"]);
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn topology(&self) -> Result<Arc<Topology>, TopologyError> {
        Topology::build(&mut self.builder.lock()).map(Arc::new)
    }

    /// Kafka Streams' text for the topology.
    ///
    /// # Errors
    /// As [`topology`](Self::topology).
    ///
    /// ```
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::App;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const READ: Topic<String, String> = Topic::new("read");
    /// let app = App::new("docs");
    /// app.stream(&CLICKS).to(&READ);
    /// let text = app.describe()?;
    /// assert!(text.contains("Source: KSTREAM-SOURCE-0000000000 (topics: [clicks])"), "{text}");
    /// assert!(text.contains("Sink: KSTREAM-SINK-0000000001 (topic: read)"), "{text}");
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn describe(&self) -> Result<String, TopologyError> {
        Ok(self.topology()?.describe())
    }
}
