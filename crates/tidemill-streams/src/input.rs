//! How a topic is read: which time its records have, and where reading begins.

use std::{sync::Arc, time::Duration};

use tidemill_data::{BoxError, Place, Timestamp, Topic, Wire};

use crate::{App, RawRecord, Record, TopicRole, failure::guard};

/// Where to begin in a topic of which the app has committed nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// At the first record that is still there.
    Earliest,
    /// After the last record.
    Latest,
    /// At the first record that is no older than this when the program begins to read (KIP-1106's `by_duration`).
    Within(Duration),
    /// Nowhere: the program stops with an error.
    Refuse,
}

/// Takes a record's time from the record itself.
pub(crate) trait Extract: Send + Sync {
    fn timestamp(&self, record: &RawRecord) -> Timestamp;

    /// Why the record is not to be processed, if it is not.
    fn refusal(&self, record: &RawRecord) -> Option<BoxError>;
}

/// What a record says of its time.
pub(crate) enum RecordTime<K, V> {
    /// A record of which it says none keeps the one it has.
    Given(Box<TimeOf<K, V, Option<Timestamp>>>),
    /// A record of which it says none is for the policy.
    Tried(Box<TimeOf<K, V, Result<Timestamp, BoxError>>>),
}

type TimeOf<K, V, T> = dyn Fn(&Record<K, V>) -> T + Send + Sync;

pub(crate) struct Extractor<K, V> {
    pub(crate) topic: String,
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
    pub(crate) time: Arc<RecordTime<K, V>>,
}

impl<K: 'static, V: 'static> Extractor<K, V> {
    /// The time; `None` to keep what it has.
    fn time(&self, raw: &RawRecord) -> Result<Option<Timestamp>, BoxError> {
        let (topic, headers) = (&self.topic, &raw.headers);
        let decoded = guard(|| {
            let key = self.key.decode(Place::key(topic, headers), raw.key.as_deref());
            let value = self
                .value
                .decode(Place::value(topic, headers), raw.value.as_deref());
            key.ok().zip(value.ok())
        });
        // What cannot be read here cannot be read by the source either, where the policy decides about it.
        let Ok(Some((key, value))) = decoded else {
            return Ok(None);
        };
        let record = Record {
            key,
            value,
            timestamp: raw.timestamp,
            headers: raw.headers.clone(),
        };
        match &*self.time {
            RecordTime::Given(time) => Ok(guard(|| time(&record)).ok().flatten()),
            RecordTime::Tried(time) => guard(|| time(&record)).and_then(|time| time).map(Some),
        }
    }
}

impl<K: 'static, V: 'static> Extract for Extractor<K, V> {
    fn timestamp(&self, raw: &RawRecord) -> Timestamp {
        self.time(raw).ok().flatten().unwrap_or(raw.timestamp)
    }

    fn refusal(&self, raw: &RawRecord) -> Option<BoxError> {
        match &*self.time {
            RecordTime::Given(_) => None,
            RecordTime::Tried(_) => self.time(raw).err(),
        }
    }
}

impl App {
    /// Takes the time of a topic's records from the records themselves, for everything that reads it: the order among
    /// the task's inputs, stream time, windows and joins. A record for which `time` gives none, or panics, keeps the
    /// time it has in its topic.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{Timestamp, Topic};
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// // "1699999999000 the text"
    /// const LINES: Topic<String, String> = Topic::new("lines");
    ///
    /// let app = App::new("docs");
    /// app.timestamps_of(&LINES, |line| {
    ///     let (ms, _) = line.value.split_once(' ')?;
    ///     Some(Timestamp::from_millis(ms.parse().ok()?))
    /// });
    /// app.stream(&LINES).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn timestamps_of<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        time: impl Fn(&Record<K, V>) -> Option<Timestamp> + Send + Sync + 'static,
    ) {
        self.extract(topic, RecordTime::Given(Box::new(time)));
    }

    /// As [`timestamps_of`](Self::timestamps_of), with a closure that may fail. A record of which it does is for the
    /// policy, as one that cannot be decoded: it stops the program, is skipped, or becomes a dead letter. The closure may
    /// be asked twice, and then sees the time that it gave.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, Policy, Record};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.try_timestamps_of(&IN, |record| match record.timestamp {
    ///     time if time.millis() < 0 => Err("its producer gave it no time".into()),
    ///     time => Ok(time),
    /// });
    /// app.stream(&IN).on_error(Policy::Skip).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", "x", ms(-1));
    /// test.pipe(&IN, "a", "y", ms(1));
    /// assert_eq!(test.read(&OUT).len(), 1);
    /// ```
    pub fn try_timestamps_of<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        time: impl Fn(&Record<K, V>) -> Result<Timestamp, BoxError> + Send + Sync + 'static,
    ) {
        self.extract(topic, RecordTime::Tried(Box::new(time)));
    }

    fn extract<K: 'static, V: 'static>(&self, topic: &Topic<K, V>, time: RecordTime<K, V>) {
        let extractor = Extractor {
            topic: topic.name().to_owned(),
            key: topic.key().clone(),
            value: topic.value().clone(),
            time: Arc::new(time),
        };
        let mut graph = self.builder.lock();
        let index = graph.topic(topic.name(), TopicRole::External);
        graph.input(index).extract = Some(Arc::new(extractor));
    }

    /// Where to begin in this topic when the app has committed nothing of it yet, instead of `auto.offset.reset`.
    ///
    /// ```
    /// # use tidemill_streams::{App, Reset};
    /// # use tidemill_data::Topic;
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// const CLICKS: Topic<String, String> = Topic::new("clicks");
    ///
    /// let app = App::new("docs");
    /// app.reset_of(&CLICKS, Reset::Latest);
    /// app.stream(&CLICKS).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    ///
    /// What is older than an hour is left out:
    ///
    /// ```
    /// # use tidemill_streams::{App, Reset};
    /// # use tidemill_data::{HOUR, Topic};
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # let app = App::new("docs");
    /// app.reset_of(&CLICKS, Reset::Within(HOUR));
    /// # app.stream(&CLICKS).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn reset_of<K: 'static, V: 'static>(&self, topic: &Topic<K, V>, reset: Reset) {
        let mut graph = self.builder.lock();
        let index = graph.topic(topic.name(), TopicRole::External);
        graph.input(index).reset = Some(reset);
    }
}
