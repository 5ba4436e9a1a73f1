//! How a topic is read: which time its records have, and where reading begins.

use std::{sync::Arc, time::Duration};

use tidemill_data::{Place, Timestamp, Topic, Wire};

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
}

/// What a record says of its time.
pub(crate) type RecordTime<K, V> = Arc<dyn Fn(&Record<K, V>) -> Option<Timestamp> + Send + Sync>;

pub(crate) struct Extractor<K, V> {
    pub(crate) topic: String,
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
    pub(crate) time: RecordTime<K, V>,
}

impl<K: 'static, V: 'static> Extract for Extractor<K, V> {
    fn timestamp(&self, raw: &RawRecord) -> Timestamp {
        let (topic, headers) = (&self.topic, &raw.headers);
        // What cannot be read here cannot be read by the source either, where the policy decides about it.
        let time = guard(|| {
            let record = Record {
                key: self
                    .key
                    .decode(Place::key(topic, headers), raw.key.as_deref())
                    .ok()?,
                value: self
                    .value
                    .decode(Place::value(topic, headers), raw.value.as_deref())
                    .ok()?,
                timestamp: raw.timestamp,
                headers: raw.headers.clone(),
            };
            (self.time)(&record)
        });
        time.ok().flatten().unwrap_or(raw.timestamp)
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
