//! `JoinWindow`: which records of two streams meet.

use std::time::Duration;

/// How far apart in event time two records may be to meet in a join of streams, and how the join keeps them.
///
/// ```
/// use tidemill_data::{MINUTE, SECOND};
/// use tidemill_streams::JoinWindow;
///
/// // A payment up to an hour after its order, or a little before it, since clocks differ.
/// let window = JoinWindow::within(60 * MINUTE).before(5 * SECOND).grace(10 * MINUTE).stores_named("paid-orders");
/// # let _ = window;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a window does nothing until a join is given it"]
pub struct JoinWindow {
    pub(crate) before_ms: i64,
    pub(crate) after_ms: i64,
    pub(crate) grace_ms: i64,
    pub(crate) name: Option<String>,
    pub(crate) stores: Option<String>,
    pub(crate) changelog: bool,
}

impl JoinWindow {
    /// Records of the right stream meet those of the left up to `span` before and after.
    ///
    /// ```
    /// # use tidemill_data::{MILLISECOND, Topic};
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const LEFT: Topic<String, i64> = Topic::new("left");
    /// # const RIGHT: Topic<String, i64> = Topic::new("right");
    /// # const MET: Topic<String, String> = Topic::new("met");
    /// # let app = App::new("docs");
    /// # let right = app.stream(&RIGHT);
    /// let window = JoinWindow::within(10 * MILLISECOND);
    /// app.stream(&LEFT).join(right, window, |_, left, right| format!("{left} {right}")).to(&MET);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&LEFT, "a", 100, ms(100));
    /// test.pipe(&RIGHT, "a", 89, ms(89));
    /// test.pipe(&RIGHT, "a", 95, ms(95));
    /// test.pipe(&RIGHT, "a", 110, ms(110));
    /// test.pipe(&RIGHT, "a", 111, ms(111));
    /// let met: Vec<String> = test.read(&MET).into_iter().map(|record| record.value).collect();
    /// assert_eq!(met, ["100 95", "100 110"]);
    /// ```
    pub fn within(span: Duration) -> Self {
        Self {
            before_ms: millis(span),
            after_ms: millis(span),
            grace_ms: 0,
            name: None,
            stores: None,
            changelog: true,
        }
    }

    /// Right records may be this much earlier than left ones.
    ///
    /// ```
    /// # use tidemill_data::{MILLISECOND, Topic};
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const LEFT: Topic<String, i64> = Topic::new("left");
    /// # const RIGHT: Topic<String, i64> = Topic::new("right");
    /// # const MET: Topic<String, String> = Topic::new("met");
    /// # let app = App::new("docs");
    /// # let right = app.stream(&RIGHT);
    /// let window = JoinWindow::within(10 * MILLISECOND).before(MILLISECOND);
    /// app.stream(&LEFT).join(right, window, |_, left, right| format!("{left} {right}")).to(&MET);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&LEFT, "a", 100, ms(100));
    /// test.pipe(&RIGHT, "a", 95, ms(95));
    /// test.pipe(&RIGHT, "a", 99, ms(99));
    /// test.pipe(&RIGHT, "a", 110, ms(110));
    /// let met: Vec<String> = test.read(&MET).into_iter().map(|record| record.value).collect();
    /// assert_eq!(met, ["100 99", "100 110"]);
    /// ```
    pub fn before(self, span: Duration) -> Self {
        let before_ms = millis(span);
        Self { before_ms, ..self }
    }

    /// Right records may be this much later than left ones.
    ///
    /// ```
    /// # use tidemill_data::{MILLISECOND, Topic};
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const LEFT: Topic<String, i64> = Topic::new("left");
    /// # const RIGHT: Topic<String, i64> = Topic::new("right");
    /// # const MET: Topic<String, String> = Topic::new("met");
    /// # let app = App::new("docs");
    /// # let right = app.stream(&RIGHT);
    /// let window = JoinWindow::within(10 * MILLISECOND).after(MILLISECOND);
    /// app.stream(&LEFT).join(right, window, |_, left, right| format!("{left} {right}")).to(&MET);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&LEFT, "a", 100, ms(100));
    /// test.pipe(&RIGHT, "a", 95, ms(95));
    /// test.pipe(&RIGHT, "a", 101, ms(101));
    /// test.pipe(&RIGHT, "a", 110, ms(110));
    /// let met: Vec<String> = test.read(&MET).into_iter().map(|record| record.value).collect();
    /// assert_eq!(met, ["100 95", "100 101"]);
    /// ```
    pub fn after(self, span: Duration) -> Self {
        let after_ms = millis(span);
        Self { after_ms, ..self }
    }

    /// Right records must be at least this much later than left ones.
    ///
    /// ```
    /// # use tidemill_data::{MILLISECOND, Topic};
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const LEFT: Topic<String, i64> = Topic::new("left");
    /// # const RIGHT: Topic<String, i64> = Topic::new("right");
    /// # const MET: Topic<String, String> = Topic::new("met");
    /// # let app = App::new("docs");
    /// # let right = app.stream(&RIGHT);
    /// let window = JoinWindow::within(10 * MILLISECOND).later_by_at_least(5 * MILLISECOND);
    /// app.stream(&LEFT).join(right, window, |_, left, right| format!("{left} {right}")).to(&MET);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&LEFT, "a", 100, ms(100));
    /// test.pipe(&RIGHT, "a", 100, ms(100));
    /// test.pipe(&RIGHT, "a", 104, ms(104));
    /// test.pipe(&RIGHT, "a", 105, ms(105));
    /// let met: Vec<String> = test.read(&MET).into_iter().map(|record| record.value).collect();
    /// assert_eq!(met, ["100 105"]);
    /// ```
    pub fn later_by_at_least(self, span: Duration) -> Self {
        let before_ms = -millis(span);
        Self { before_ms, ..self }
    }

    /// Right records must be at least this much earlier than left ones.
    ///
    /// ```
    /// # use tidemill_data::{MILLISECOND, Topic};
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const LEFT: Topic<String, i64> = Topic::new("left");
    /// # const RIGHT: Topic<String, i64> = Topic::new("right");
    /// # const MET: Topic<String, String> = Topic::new("met");
    /// # let app = App::new("docs");
    /// # let right = app.stream(&RIGHT);
    /// let window = JoinWindow::within(10 * MILLISECOND).earlier_by_at_least(5 * MILLISECOND);
    /// app.stream(&LEFT).join(right, window, |_, left, right| format!("{left} {right}")).to(&MET);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&LEFT, "a", 100, ms(100));
    /// test.pipe(&RIGHT, "a", 95, ms(95));
    /// test.pipe(&RIGHT, "a", 96, ms(96));
    /// test.pipe(&RIGHT, "a", 100, ms(100));
    /// let met: Vec<String> = test.read(&MET).into_iter().map(|record| record.value).collect();
    /// assert_eq!(met, ["100 95"]);
    /// ```
    pub fn earlier_by_at_least(self, span: Duration) -> Self {
        let after_ms = -millis(span);
        Self { after_ms, ..self }
    }

    /// How long after a window's end, in stream time, records that come late still meet others; before that no record
    /// is taken to be without a partner. The default is not at all.
    ///
    /// ```
    /// # use tidemill_data::{MILLISECOND, Topic};
    /// # use tidemill_streams::{App, JoinWindow};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const LEFT: Topic<String, i64> = Topic::new("left");
    /// # const RIGHT: Topic<String, i64> = Topic::new("right");
    /// # const MET: Topic<String, String> = Topic::new("met");
    /// # let app = App::new("docs");
    /// # let right = app.stream(&RIGHT);
    /// let window = JoinWindow::within(10 * MILLISECOND).grace(100 * MILLISECOND);
    /// app.stream(&LEFT).join(right, window, |_, left, right| format!("{left} {right}")).to(&MET);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&LEFT, "a", 50, ms(50));
    /// test.pipe(&LEFT, "b", 150, ms(150));
    /// test.pipe(&RIGHT, "a", 55, ms(55)); // late, but within the grace
    /// let met: Vec<String> = test.read(&MET).into_iter().map(|record| record.value).collect();
    /// assert_eq!(met, ["50 55"]);
    /// ```
    pub fn grace(self, span: Duration) -> Self {
        let grace_ms = millis(span);
        Self { grace_ms, ..self }
    }

    /// Names the join's operators and repartition topics, which else have names from their place in the program.
    ///
    /// ```
    /// # use tidemill_data::{MILLISECOND, Topic};
    /// # use tidemill_streams::{App, JoinWindow};
    /// # const LEFT: Topic<String, i64> = Topic::new("left");
    /// # const RIGHT: Topic<String, i64> = Topic::new("right");
    /// # const MET: Topic<String, i64> = Topic::new("met");
    /// # let app = App::new("docs");
    /// # let right = app.stream(&RIGHT);
    /// let window = JoinWindow::within(10 * MILLISECOND).named("paid");
    /// app.stream(&LEFT).join(right, window, |_, left, right| left + right).to(&MET);
    /// assert!(app.describe()?.contains("Processor: paid-this-join"));
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn named(self, name: impl Into<String>) -> Self {
        let name = Some(name.into());
        Self { name, ..self }
    }

    /// Names the join's stores, which else have names from their place in the program: adding an operator before the
    /// join would then lose the records that wait.
    ///
    /// ```
    /// # use tidemill_data::{MILLISECOND, Topic};
    /// # use tidemill_streams::{App, JoinWindow};
    /// # const LEFT: Topic<String, i64> = Topic::new("left");
    /// # const RIGHT: Topic<String, i64> = Topic::new("right");
    /// # const MET: Topic<String, i64> = Topic::new("met");
    /// # let app = App::new("docs");
    /// # let right = app.stream(&RIGHT);
    /// let window = JoinWindow::within(10 * MILLISECOND).stores_named("paid");
    /// app.stream(&LEFT).join(right, window, |_, left, right| left + right).to(&MET);
    /// let stores = app.topology()?.subtopologies()[0].stores.clone();
    /// assert_eq!(stores, ["paid-this-join-store", "paid-other-join-store"]);
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn stores_named(self, name: impl Into<String>) -> Self {
        let stores = Some(name.into());
        Self { stores, ..self }
    }

    /// Keeps no changelogs: the records that wait are lost with the machine.
    ///
    /// ```
    /// # use tidemill_data::{MILLISECOND, Topic};
    /// # use tidemill_streams::{App, JoinWindow};
    /// # const LEFT: Topic<String, i64> = Topic::new("left");
    /// # const RIGHT: Topic<String, i64> = Topic::new("right");
    /// # const MET: Topic<String, i64> = Topic::new("met");
    /// # let app = App::new("docs");
    /// # let right = app.stream(&RIGHT);
    /// let window = JoinWindow::within(10 * MILLISECOND).without_changelog();
    /// app.stream(&LEFT).join(right, window, |_, left, right| left + right).to(&MET);
    /// assert!(app.topology()?.subtopologies()[0].changelogs.is_empty());
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn without_changelog(self) -> Self {
        Self {
            changelog: false,
            ..self
        }
    }

    /// How long a record has to be kept to meet all that it may.
    pub(crate) fn retention_ms(&self) -> i64 {
        let span = self.before_ms.saturating_add(self.after_ms);
        span.saturating_add(self.grace_ms)
    }

    /// What is wrong with the window, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        (self.before_ms.saturating_add(self.after_ms) < 0)
            .then(|| "a join window ends before it starts: no record could meet another".to_owned())
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
