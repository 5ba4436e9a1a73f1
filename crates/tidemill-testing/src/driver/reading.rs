//! What a test looks at: records that were written, rows of stores, and what went wrong.

use tidemill_data::{Place, Stamped, StoreName, Topic, Windowed};
use tidemill_streams::{Failure, RawRecord, Record, RowRange, StoreReader, Task, WindowedRow};

use super::{TestDriver, pass};
use crate::{TestError, global::Global};

impl TestDriver {
    /// The records of a topic that were not read yet, partition by partition.
    ///
    /// ```
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const LOUD: Topic<String, String> = Topic::new("loud");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).map_values(|page| page.to_uppercase()).to(&LOUD);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// let loud: Vec<String> = t.read(&LOUD).into_iter().map(|record| record.value).collect();
    /// assert_eq!(loud, ["HOME"]);
    /// assert!(t.read(&LOUD).is_empty()); // each record once
    /// ```
    ///
    /// # Panics
    /// When a record cannot be read as these types.
    #[track_caller]
    pub fn read<K: 'static, V: 'static>(&mut self, topic: &Topic<K, V>) -> Vec<Record<K, V>> {
        let decode = |record: RawRecord| {
            let headers = record.headers;
            let key = topic
                .key()
                .decode(Place::key(topic.name(), &headers), record.key.as_deref())?;
            let value = topic
                .value()
                .decode(Place::value(topic.name(), &headers), record.value.as_deref())?;
            Ok(Record {
                key,
                value,
                timestamp: record.timestamp,
                headers,
            })
        };
        self.read_raw(topic.name())
            .into_iter()
            .map(|record| pass(decode(record)))
            .collect()
    }

    /// As [`read`](Self::read), as bytes.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.commit();
    /// let changes = t.read_raw("docs-counts-changelog");
    /// assert_eq!(changes.first().and_then(|change| change.key.as_deref()), Some(&b"u1"[..]));
    /// ```
    pub fn read_raw(&mut self, topic: &str) -> Vec<RawRecord> {
        let mut unread = Vec::new();
        for partition in 0..self.cluster.partitions(topic) {
            let records = self.cluster.records(topic, partition);
            let from = self.read.entry((topic.to_owned(), partition)).or_default();
            unread.extend(records.get(*from..).unwrap_or_default().iter().cloned());
            *from = records.len();
        }
        unread
    }

    /// All topics that have records, changelogs included.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.commit();
    /// assert_eq!(t.topics(), ["clicks", "docs-counts-changelog"]);
    /// ```
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.cluster.topics().cloned().collect()
    }

    /// A row of a table's store.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(7));
    /// assert_eq!(t.row(&COUNTS, "u1").map(|row| (row.value, row.timestamp)), Some((1, ms(7))));
    /// assert_eq!(t.row(&COUNTS, "u2"), None);
    /// ```
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    pub fn row<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<K, V>,
        key: impl Into<K>,
    ) -> Option<Stamped<V>> {
        let key = key.into();
        if let Some(mut globals) = self.globals_of(store.name()) {
            return pass(globals.row(store, &key).map_err(TestError::from));
        }
        self.tasks
            .iter_mut()
            .find_map(|task| pass(task.row(store, &key).map_err(TestError::from)))
    }

    /// All rows of a table's store, task by task.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.pipe(&CLICKS, "u2", "home", ms(2));
    /// let counts: Vec<_> = t.rows(&COUNTS).into_iter().map(|(user, row)| (user, row.value)).collect();
    /// assert_eq!(counts, [("u1".to_owned(), 1), ("u2".to_owned(), 1)]);
    /// ```
    ///
    /// # Panics
    /// When they cannot be read.
    #[track_caller]
    pub fn rows<K: 'static, V: 'static>(&mut self, store: &StoreName<K, V>) -> Vec<(K, Stamped<V>)> {
        if let Some(mut globals) = self.globals_of(store.name()) {
            return pass(globals.rows(store, &RowRange::ALL).map_err(TestError::from));
        }
        self.tasks
            .iter_mut()
            .flat_map(|task| pass(task.rows(store).map_err(TestError::from)))
            .collect()
    }

    /// Reads the global stores, if this is one of them: a program may have no task that sees them.
    fn globals_of(&mut self, store: &str) -> Option<StoreReader<'_>> {
        let globals = self.topology.global_stores();
        let is_global = globals.iter().any(|global| global.store == store);
        self.globals.as_mut().filter(|_| is_global).map(Global::reader)
    }

    /// One window's row of a windowed table; for a session both bounds count.
    ///
    /// ```
    /// use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// use tidemill_streams::{App, Tumbling};
    /// use tidemill_testing::{TestDriver, ms};
    ///
    /// const IN: Topic<String, String> = Topic::new("in");
    /// const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
    ///
    /// let app = App::new("docs");
    /// app.stream(&IN).group_by_key().window(Tumbling::of(MINUTE)).count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&IN, "k", "v", ms(5));
    /// let row = t.window(&COUNTS, &Windowed::new("k".to_owned(), 0, 60_000));
    /// assert_eq!(row.map(|row| (row.value, row.timestamp)), Some((1, ms(5))));
    /// ```
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    pub fn window<K: 'static, V: 'static>(
        &mut self,
        store: &StoreName<Windowed<K>, V>,
        window: &Windowed<K>,
    ) -> Option<Stamped<V>> {
        self.tasks
            .iter_mut()
            .find_map(|task| pass(task.window(store, window).map_err(TestError::from)))
    }

    /// All rows of a windowed table, task by task, in order of key and window.
    ///
    /// ```
    /// use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// use tidemill_streams::{App, Tumbling};
    /// use tidemill_testing::{TestDriver, ms};
    ///
    /// const IN: Topic<String, String> = Topic::new("in");
    /// const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
    ///
    /// let app = App::new("docs");
    /// app.stream(&IN).group_by_key().window(Tumbling::of(MINUTE)).count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&IN, "k", "v", ms(5));
    /// let rows = t.windows(&COUNTS);
    /// assert_eq!(rows.first().map(|(key, row)| (key.to_string(), row.value)), Some(("k@0/60000".to_owned(), 1)));
    /// ```
    ///
    /// # Panics
    /// When they cannot be read.
    #[track_caller]
    pub fn windows<K: Ord + 'static, V: 'static>(
        &mut self,
        store: &StoreName<Windowed<K>, V>,
    ) -> Vec<WindowedRow<K, V>> {
        self.tasks
            .iter_mut()
            .flat_map(|task| {
                let mut rows = pass(task.windows(store, None).map_err(TestError::from));
                rows.sort_by(|(a, _), (b, _)| a.cmp(b));
                rows
            })
            .collect()
    }

    /// How many records operators dropped.
    ///
    /// ```
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_testing::{TestDriver, at};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// app.stream(&CLICKS).group_by_key().window(Tumbling::of(MINUTE)).count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", at("10:05"));
    /// t.pipe(&CLICKS, "u1", "home", at("10:00")); // late
    /// assert_eq!(t.dropped(), 1);
    /// ```
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.tasks.iter().map(Task::dropped).sum()
    }

    /// The failures that a policy dealt with since this was last asked.
    ///
    /// ```
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::{App, Policy};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const TEXTS: Topic<String, String> = Topic::new("texts");
    /// # const NUMBERS: Topic<String, i64> = Topic::new("numbers");
    /// # let app = App::new("docs");
    /// app.on_error(Policy::Skip);
    /// app.stream(&TEXTS).try_map_values(|text| Ok(text.parse::<i64>()?)).to(&NUMBERS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&TEXTS, "k", "three", ms(1));
    /// let failures = t.take_failures();
    /// assert_eq!(failures.first().map(|failure| failure.error.to_string()).as_deref(), Some("invalid digit found in string"));
    /// ```
    pub fn take_failures(&mut self) -> Vec<Failure> {
        self.tasks.iter_mut().flat_map(Task::take_failures).collect()
    }
}
