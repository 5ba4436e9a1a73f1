//! Where a table's rows are kept.

use std::time::Duration;

use tidemill_data::{Data, StoreName, Wire};
use tidemill_store::{StoreKind, StoreSpec};

use crate::{
    Clock,
    expiring::Ttl,
    graph::{Graph, StoreDecl, StoreIndex},
    windows::ms,
};

/// How an operator keeps its rows: under which name, in which formats.
///
/// A `&StoreName` is one; [`Materialized::unnamed`] lets the operator's place in the program name the store, which
/// then changes its name when operators are added before it.
pub struct Materialized<K, V> {
    pub(crate) name: Option<String>,
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
    pub(crate) changelog: bool,
    /// How long versions before the latest are kept; `None` keeps only the latest row.
    pub(crate) history_ms: Option<i64>,
    /// How long windows are kept; `None` keeps them as long as they are open.
    pub(crate) retention_ms: Option<i64>,
    /// How long a row is kept after it was last put, by which clock; `None` keeps rows until they are deleted.
    pub(crate) ttl: Option<(Duration, Clock)>,
}

impl<K: Data, V: Data> Materialized<K, V> {
    /// A store named by its place in the program, with the types' own formats.
    ///
    /// ```
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::{App, Materialized};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # let app = App::new("docs");
    /// app.stream(&CLICKS).group_by_key().count(Materialized::unnamed());
    /// assert_eq!(app.topology()?.subtopologies()[0].stores, ["KSTREAM-AGGREGATE-STATE-STORE-0000000001"]);
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    #[must_use]
    pub fn unnamed() -> Self {
        Self::of(None, Wire::own(), Wire::own())
    }
}

impl<K, V> Materialized<K, V> {
    pub(crate) fn of(name: Option<String>, key: Wire<K>, value: Wire<V>) -> Self {
        Self {
            name,
            key,
            value,
            changelog: true,
            history_ms: None,
            retention_ms: None,
            ttl: None,
        }
    }
}

impl<K, V> Materialized<K, V> {
    /// Keeps no changelog: the rows are lost with the machine.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::{App, Materialized};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// app.stream(&CLICKS).group_by_key().count(Materialized::from(&COUNTS).without_changelog());
    /// assert!(app.topology()?.subtopologies()[0].changelogs.is_empty());
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    #[must_use]
    pub fn without_changelog(self) -> Self {
        Self {
            changelog: false,
            ..self
        }
    }

    /// Keeps what rows were before, for as long as `history` after the newest one: they can be asked for as of a time.
    ///
    /// ```
    /// # use tidemill_data::{HOUR, StoreName, Topic};
    /// # use tidemill_streams::{App, Materialized};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const ASKED: Topic<String, String> = Topic::new("asked");
    /// # const ANSWERS: Topic<String, i64> = Topic::new("answers");
    /// const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// let counts = app.stream(&CLICKS).group_by_key().count(Materialized::from(&COUNTS).versioned(HOUR));
    /// app.stream(&ASKED).join_table(&counts, |_, _, count| count).to(&ANSWERS);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&CLICKS, "a", "x", ms(10));
    /// test.pipe(&CLICKS, "a", "y", ms(20));
    /// test.pipe(&ASKED, "a", "how many?", ms(15)); // as of then
    /// assert_eq!(test.read(&ANSWERS)[0].value, 1);
    /// ```
    #[must_use]
    pub fn versioned(self, history: Duration) -> Self {
        let history_ms = Some(i64::try_from(history.as_millis()).unwrap_or(i64::MAX));
        Self { history_ms, ..self }
    }

    /// Keeps windows and sessions for this long in stream time, instead of only as long as they are open.
    ///
    /// ```
    /// # use tidemill_streams::{App, Materialized, Tumbling};
    /// # use tidemill_data::{DAY, MINUTE, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// const PER_MINUTE: StoreName<Windowed<String>, i64> = StoreName::new("per-minute");
    /// # let app = App::new("docs");
    /// let grouped = app.stream(&IN).group_by_key();
    /// grouped.window(Tumbling::of(MINUTE)).count(Materialized::from(&PER_MINUTE).retention(DAY));
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn retention(self, retention: Duration) -> Self {
        Self {
            retention_ms: Some(ms(retention)),
            ..self
        }
    }

    /// Lets a row go by itself once it was not put for `ttl`, by stream time or by the wall clock: from the store and its
    /// changelog, and as a deletion for everything that reads the table.
    ///
    /// For tables of a topic or a stream and for aggregations without windows, versioned or not; windows go by their
    /// [`retention`](Self::retention). By stream time a row is gone before the operator takes up a record of the time of
    /// its end. A store beside it, `NAME-expiry`, knows what is due when.
    ///
    /// ```
    /// # use tidemill_streams::{App, Clock, Materialized};
    /// # use tidemill_data::{HOUR, StoreName, Topic};
    /// # const LOGINS: Topic<String, String> = Topic::new("logins");
    /// # const OUT: Topic<String, Option<i64>> = Topic::new("out");
    /// const RECENT: StoreName<String, i64> = StoreName::new("recent");
    /// # let app = App::new("docs");
    /// let recent = Materialized::from(&RECENT).ttl(24 * HOUR, Clock::StreamTime);
    /// app.stream(&LOGINS).group_by_key().count(recent).to_stream().to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn ttl(self, ttl: Duration, clock: Clock) -> Self {
        Self {
            ttl: Some((ttl, clock)),
            ..self
        }
    }

    /// How long windows are kept: `unsaid` if the program does not say. Less than `least` is a problem.
    pub(crate) fn window_retention_ms(&self, graph: &mut Graph, least: i64, unsaid: i64) -> i64 {
        let retention_ms = self.retention_ms.unwrap_or(unsaid);
        if retention_ms < least {
            let store = self.name.as_deref().unwrap_or("of no name");
            graph.problems.push(format!(
                "store {store:?} keeps windows for {retention_ms} ms, but they are open for {least} ms"
            ));
        }
        retention_ms
    }

    /// Declares the store, with a name as Kafka Streams makes it if none was given, for an operator whose rows do not
    /// expire.
    pub(crate) fn declare(
        &self,
        graph: &mut Graph,
        prefix: &str,
        kind: StoreKind,
        active: bool,
    ) -> StoreIndex {
        if self.ttl.is_some() {
            let store = self.name.as_deref().unwrap_or("of no name");
            graph.problems.push(format!(
                "store {store:?} cannot have a time to live: tables of topics and streams and aggregations without \
                 windows can; windows have a retention"
            ));
        }
        self.declare_rows(graph, prefix, kind, active)
    }

    /// Declares the store of an operator whose rows may expire, and what they need for that.
    pub(crate) fn declare_expiring(
        &self,
        graph: &mut Graph,
        prefix: &str,
        kind: StoreKind,
        active: bool,
    ) -> (StoreIndex, Option<Ttl>) {
        let index = self.declare_rows(graph, prefix, kind, active || self.ttl.is_some());
        (index, self.ttl.map(|ttl| Ttl::declare(graph, index, ttl)))
    }

    fn declare_rows(&self, graph: &mut Graph, prefix: &str, kind: StoreKind, active: bool) -> StoreIndex {
        let kind = match (kind, self.history_ms) {
            (StoreKind::Timestamped, Some(history_retention_ms)) => {
                StoreKind::Versioned { history_retention_ms }
            }
            (kind, _) => kind,
        };
        let name = self
            .name
            .clone()
            .unwrap_or_else(|| graph.name(&format!("{prefix}STATE-STORE-")));
        graph.store(StoreDecl {
            spec: StoreSpec::new(name, kind),
            active,
            named: self.name.is_some(),
            changelog: self.changelog,
            global_topic: None,
            windows: None,
            headers_beside: true,
        })
    }
}

impl<K: 'static, V: 'static> From<&StoreName<K, V>> for Materialized<K, V> {
    fn from(name: &StoreName<K, V>) -> Self {
        Self::of(
            Some(name.name().to_owned()),
            name.key().clone(),
            name.value().clone(),
        )
    }
}
