//! Processors that cannot change the key, so that no repartition follows.

use std::ops::{Deref, DerefMut};

use tidemill_data::{BoxError, Headers, Timestamp};

use super::{Forward, Processor, ProcessorContext, Timers};
use crate::{Record, ScheduleId};

/// A record whose key stays what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedKeyRecord<K, V> {
    key: K,
    /// The value.
    pub value: V,
    /// Event time.
    pub timestamp: Timestamp,
    /// The headers.
    pub headers: Headers,
}

impl<K, V> FixedKeyRecord<K, V> {
    fn new(record: Record<K, V>) -> Self {
        Self {
            key: record.key,
            value: record.value,
            timestamp: record.timestamp,
            headers: record.headers,
        }
    }

    /// The key.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let length = i64::try_from(record.key().len())?;
    ///     to.forward(record.with_value(length));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "ada", 1, ms(1));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [3]);
    /// ```
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The same record with another value.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # struct Own;
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let text = format!("{} of {}", record.value, record.key());
    ///     to.forward(record.with_value(text));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "ada", 1, ms(1));
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["1 of ada"]);
    /// ```
    pub fn with_value<W>(self, value: W) -> FixedKeyRecord<K, W> {
        FixedKeyRecord {
            key: self.key,
            value,
            timestamp: self.timestamp,
            headers: self.headers,
        }
    }
}

/// An operator of the user's own that cannot change keys: as [`Processor`], for
/// [`KStream::process_values`](crate::KStream::process_values).
pub trait FixedKeyProcessor<K, V, W>: Send + 'static {
    /// As [`Processor::start`].
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, FixedKeyProcessor, FixedKeyRecord, ForwardValues, ScheduleId, Timers};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own(Vec<FixedKeyRecord<String, i64>>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn start(&mut self, timers: &mut Timers<'_>) {
    ///     timers.every(MINUTE, Clock::WallClock);
    /// }
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.push(record);
    ///     Ok(())
    /// }
    /// fn punctuate(
    ///     &mut self,
    ///     _: ScheduleId,
    ///     _: Timestamp,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.drain(..).for_each(|record| to.forward(record));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own(Vec::new())).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// assert!(test.read(&OUT).is_empty());
    /// test.advance(MINUTE);
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1]);
    /// ```
    fn start(&mut self, _timers: &mut Timers<'_>) {}

    /// Called with each record.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let doubled = record.value * 2;
    ///     to.forward(record.with_value(doubled));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [2, 4]);
    /// ```
    fn process(
        &mut self,
        record: FixedKeyRecord<K, V>,
        to: &mut ForwardValues<'_, K, W>,
    ) -> Result<(), BoxError>;

    /// As [`Processor::punctuate`]. It can forward only records that came in before.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, FixedKeyProcessor, FixedKeyRecord, ForwardValues, ScheduleId, Timers};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own(Vec<FixedKeyRecord<String, i64>>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// # fn start(&mut self, timers: &mut Timers<'_>) {
    /// #     timers.every(MINUTE, Clock::WallClock);
    /// # }
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.push(record);
    ///     Ok(())
    /// }
    /// fn punctuate(
    ///     &mut self,
    ///     _: ScheduleId,
    ///     _: Timestamp,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.drain(..).for_each(|record| to.forward(record));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own(Vec::new())).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// assert!(test.read(&OUT).is_empty());
    /// test.advance(MINUTE);
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1]);
    /// ```
    fn punctuate(
        &mut self,
        _schedule: ScheduleId,
        _now: Timestamp,
        _to: &mut ForwardValues<'_, K, W>,
    ) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Hands on a fixed-key processor's results, and lends what [`ProcessorContext`] offers.
pub struct ForwardValues<'a, K, W>(Forward<'a, K, W>);

impl<K: 'static, W: 'static> ForwardValues<'_, K, W> {
    /// Hands on a record: it has gone through everything behind this operator when this returns.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     if record.value > 0 {
    ///         to.forward(record.clone());
    ///         to.forward(record);
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 0, ms(1));
    /// test.pipe(&IN, "a", 7, ms(2));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [7, 7]);
    /// ```
    pub fn forward(&mut self, record: FixedKeyRecord<K, W>) {
        let FixedKeyRecord {
            key,
            value,
            timestamp,
            headers,
        } = record;
        self.0.forward(Record {
            key,
            value,
            timestamp,
            headers,
        });
    }
}

impl<'a, K, W> Deref for ForwardValues<'a, K, W> {
    type Target = ProcessorContext<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0.context
    }
}

impl<K, W> DerefMut for ForwardValues<'_, K, W> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0.context
    }
}

/// A fixed-key processor, run as a processor.
pub(crate) struct Fixed<P>(pub(crate) P);

impl<K: 'static, V: 'static, W: 'static, P> Processor<K, V, K, W> for Fixed<P>
where
    P: FixedKeyProcessor<K, V, W>,
{
    fn start(&mut self, timers: &mut Timers<'_>) {
        self.0.start(timers);
    }

    fn process(&mut self, record: Record<K, V>, to: &mut Forward<'_, K, W>) -> Result<(), BoxError> {
        self.0
            .process(FixedKeyRecord::new(record), &mut ForwardValues(to.again()))
    }

    fn punctuate(
        &mut self,
        schedule: ScheduleId,
        now: Timestamp,
        to: &mut Forward<'_, K, W>,
    ) -> Result<(), BoxError> {
        self.0.punctuate(schedule, now, &mut ForwardValues(to.again()))
    }
}
