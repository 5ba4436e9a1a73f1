//! How much a suppression may hold back.

/// How much a suppression holds back, and what happens when it would be more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub(super) records_max: u64,
    pub(super) bytes_max: u64,
    pub(super) when_full: Option<WhenFull>,
    pub(super) name: Option<String>,
    pub(super) changelog: bool,
}

/// What happens when a suppression's buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// The oldest rows go on before their time.
    EmitEarly,
    /// The task stops with [`TaskError::BufferFull`](crate::TaskError::BufferFull).
    ShutDown,
}

impl Buffer {
    /// Holds back whatever comes.
    ///
    /// ```
    /// # use tidemill_streams::{Buffer, WhenFull};
    /// let bounded = Buffer::unbounded().records_max(10_000).bytes_max(64 << 20).when_full(WhenFull::ShutDown);
    /// # assert_ne!(bounded, Buffer::unbounded());
    /// ```
    #[must_use]
    pub fn unbounded() -> Self {
        Self {
            records_max: u64::MAX,
            bytes_max: u64::MAX,
            when_full: None,
            name: None,
            changelog: true,
        }
    }

    /// Holds back at most so many rows.
    ///
    /// ```
    /// # use tidemill_streams::{App, Buffer, WhenFull};
    /// # use tidemill_data::{MINUTE, Topic};
    /// # const ROWS: Topic<String, i64> = Topic::new("rows");
    /// # let app = App::new("docs");
    /// let buffer = Buffer::unbounded().records_max(10_000);
    /// let calm = app.table(&ROWS).suppress_until_time_limit(MINUTE, buffer);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn records_max(self, records_max: u64) -> Self {
        Self { records_max, ..self }
    }

    /// Holds back at most so many bytes, counted as Kafka Streams counts them.
    ///
    /// ```
    /// # use tidemill_streams::{App, Buffer, WhenFull};
    /// # use tidemill_data::{MINUTE, Topic};
    /// # const ROWS: Topic<String, i64> = Topic::new("rows");
    /// # let app = App::new("docs");
    /// let buffer = Buffer::unbounded().bytes_max(64 << 20);
    /// let calm = app.table(&ROWS).suppress_until_time_limit(MINUTE, buffer);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn bytes_max(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
    }

    /// What happens when it is full. Until a time limit the default is to emit early, until windows close to shut down.
    ///
    /// ```
    /// # use tidemill_streams::{App, Buffer, WhenFull};
    /// # use tidemill_data::{MINUTE, Topic};
    /// # const ROWS: Topic<String, i64> = Topic::new("rows");
    /// # let app = App::new("docs");
    /// let buffer = Buffer::unbounded().records_max(10_000).when_full(WhenFull::ShutDown);
    /// let calm = app.table(&ROWS).suppress_until_time_limit(MINUTE, buffer);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        Self {
            when_full: Some(when_full),
            ..self
        }
    }

    /// Names the operator; its store is then named `NAME-store`. Without a name both are named by their place in the
    /// program.
    ///
    /// ```
    /// # use tidemill_streams::{App, Buffer, WhenFull};
    /// # use tidemill_data::{MINUTE, Topic};
    /// # const ROWS: Topic<String, i64> = Topic::new("rows");
    /// # let app = App::new("docs");
    /// let buffer = Buffer::unbounded().named("calm");
    /// let calm = app.table(&ROWS).suppress_until_time_limit(MINUTE, buffer);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }

    /// Keeps no changelog: what is held back is lost with the machine.
    ///
    /// ```
    /// # use tidemill_streams::{App, Buffer, WhenFull};
    /// # use tidemill_data::{MINUTE, Topic};
    /// # const ROWS: Topic<String, i64> = Topic::new("rows");
    /// # let app = App::new("docs");
    /// let buffer = Buffer::unbounded().without_changelog();
    /// let calm = app.table(&ROWS).suppress_until_time_limit(MINUTE, buffer);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn without_changelog(self) -> Self {
        Self {
            changelog: false,
            ..self
        }
    }
}
