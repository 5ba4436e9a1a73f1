//! Transformers of a table's values: they see each change, have stores, and hand on nothing but the new value.

use std::ops::DerefMut as _;

use tidemill_data::{BoxError, Timestamp};

use super::{Forward, Processor, ProcessorContext, Timers};
use crate::{Record, ScheduleId, record::Change};

/// An operator of the user's own that makes each value of a table anew. Every task has one of its own, made by the
/// closure given to [`KTable::transform_values`](crate::KTable::transform_values).
///
/// What it keeps in its fields is lost when the task moves or restarts; what it keeps in stores is not.
pub trait ValueTransformer<K, V, W>: Send + 'static {
    /// Called once, when the task starts: the place to make schedules. State is not restored yet.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, ProcessorContext, ScheduleId, Timers, ValueTransformer};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const OUT: Topic<String, Option<i64>> = Topic::new("out");
    /// # struct PerMinute(i64);
    /// # impl ValueTransformer<String, i64, i64> for PerMinute {
    /// fn start(&mut self, timers: &mut Timers<'_>) {
    ///     timers.every(MINUTE, Clock::WallClock);
    /// }
    ///
    /// # fn transform(
    /// #     &mut self,
    /// #     _: &String,
    /// #     value: Option<i64>,
    /// #     _: &mut ProcessorContext<'_>,
    /// # ) -> Result<Option<i64>, BoxError> {
    /// #     self.0 += 1;
    /// #     Ok(value.map(|_| self.0))
    /// # }
    /// fn punctuate(&mut self, _: ScheduleId, _: Timestamp, _: &mut ProcessorContext<'_>) -> Result<(), BoxError> {
    ///     self.0 = 0;
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.table(&PRICES).transform_values((), |()| PerMinute(0)).to_stream().to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "tea", 5, ms(1));
    /// test.pipe(&PRICES, "tea", 6, ms(2)); // the second of this minute
    /// test.advance(MINUTE);
    /// test.pipe(&PRICES, "tea", 7, ms(3));
    /// let out: Vec<_> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [Some(1), Some(2), Some(1)]);
    /// ```
    fn start(&mut self, _timers: &mut Timers<'_>) {}

    /// Called with each change of a row: its value, or `None` when it is deleted. What it gives is the new row; `None`
    /// means that there is none.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows. A change that fails goes no further.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, KeyValues, ProcessorContext, ValueTransformer};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const HIGHEST: Topic<String, Option<i64>> = Topic::new("highest");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Highest(KeyValues<String, i64>);
    /// # impl ValueTransformer<String, i64, i64> for Highest {
    /// fn transform(
    ///     &mut self,
    ///     key: &String,
    ///     value: Option<i64>,
    ///     at: &mut ProcessorContext<'_>,
    /// ) -> Result<Option<i64>, BoxError> {
    ///     let highest = self.0.get(at, key)?.max(value);
    ///     if let Some(highest) = &highest {
    ///         self.0.put(at, key, highest)?;
    ///     }
    ///     Ok(highest)
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.table(&PRICES).transform_values(store, Highest).to_stream().to(&HIGHEST);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "tea", 5, ms(1));
    /// test.pipe(&PRICES, "tea", 4, ms(2));
    /// assert_eq!(test.read(&HIGHEST)[1].value, Some(5));
    /// ```
    fn transform(
        &mut self,
        key: &K,
        value: Option<V>,
        at: &mut ProcessorContext<'_>,
    ) -> Result<Option<W>, BoxError>;

    /// Called when a schedule is due. Stores may be written; rows are made by [`transform`](Self::transform) only.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, ProcessorContext, ScheduleId, Timers, ValueTransformer};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const OUT: Topic<String, Option<i64>> = Topic::new("out");
    /// # struct PerMinute(i64);
    /// # impl ValueTransformer<String, i64, i64> for PerMinute {
    /// # fn start(&mut self, timers: &mut Timers<'_>) {
    /// #     timers.every(MINUTE, Clock::WallClock);
    /// # }
    /// # fn transform(
    /// #     &mut self,
    /// #     _: &String,
    /// #     value: Option<i64>,
    /// #     _: &mut ProcessorContext<'_>,
    /// # ) -> Result<Option<i64>, BoxError> {
    /// #     self.0 += 1;
    /// #     Ok(value.map(|_| self.0))
    /// # }
    /// fn punctuate(&mut self, _: ScheduleId, _: Timestamp, _: &mut ProcessorContext<'_>) -> Result<(), BoxError> {
    ///     self.0 = 0;
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.table(&PRICES).transform_values((), |()| PerMinute(0)).to_stream().to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "tea", 5, ms(1));
    /// test.pipe(&PRICES, "tea", 6, ms(2)); // the second of this minute
    /// test.advance(MINUTE);
    /// test.pipe(&PRICES, "tea", 7, ms(3));
    /// let out: Vec<_> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [Some(1), Some(2), Some(1)]);
    /// ```
    fn punctuate(
        &mut self,
        _schedule: ScheduleId,
        _now: Timestamp,
        _at: &mut ProcessorContext<'_>,
    ) -> Result<(), BoxError> {
        Ok(())
    }

    /// Called when the timer of a key is due: see [`KeyTimers`](crate::KeyTimers). Stores may be written; rows are made
    /// by [`transform`](Self::transform) only.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, StoreName, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, KeyTimers, KeyValues, ProcessorContext, ValueTransformer};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const CHANGES: Topic<String, Option<i64>> = Topic::new("changes");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # const DUE: StoreName<String, ()> = StoreName::new("due");
    /// # struct Changes(KeyValues<String, i64>, KeyTimers<String>);
    /// # impl ValueTransformer<String, i64, i64> for Changes {
    /// # fn transform(
    /// #     &mut self,
    /// #     key: &String,
    /// #     value: Option<i64>,
    /// #     at: &mut ProcessorContext<'_>,
    /// # ) -> Result<Option<i64>, BoxError> {
    /// #     let count = self.0.get(at, key)?.unwrap_or(0) + 1;
    /// #     self.0.put(at, key, &count)?;
    /// #     let due = at.timestamp().saturating_add(MINUTE);
    /// #     self.1.set(at, key, due)?;
    /// #     Ok(value.map(|_| count))
    /// # }
    /// fn timer(&mut self, key: String, _: Timestamp, at: &mut ProcessorContext<'_>) -> Result<(), BoxError> {
    ///     self.0.delete(at, &key)?;
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let stores = (app.key_values(&COUNTS), app.key_timers(&DUE, Clock::StreamTime));
    /// # let prices = app.table(&PRICES);
    /// # prices.transform_values(stores, |(counts, due)| Changes(counts, due)).to_stream().to(&CHANGES);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "tea", 5, ms(1));
    /// test.pipe(&PRICES, "tea", 6, ms(2));
    /// test.pipe(&PRICES, "salt", 1, ms(70_000)); // tea was quiet for a minute
    /// test.pipe(&PRICES, "tea", 7, ms(70_001));
    /// let out: Vec<_> = test.read(&CHANGES).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [Some(1), Some(2), Some(1), Some(1)]);
    /// ```
    fn timer(&mut self, _key: K, _due: Timestamp, _at: &mut ProcessorContext<'_>) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A transformer of values as a processor of changes.
pub(crate) struct Transforming<P>(pub(crate) P);

impl<K: 'static, V: 'static, W: 'static, P> Processor<K, Change<V>, K, Change<W>> for Transforming<P>
where
    P: ValueTransformer<K, V, W>,
{
    fn start(&mut self, timers: &mut Timers<'_>) {
        self.0.start(timers);
    }

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        to: &mut Forward<'_, K, Change<W>>,
    ) -> Result<(), BoxError> {
        let Record {
            key,
            value: Change { new, latest, .. },
            timestamp,
            headers,
        } = record;
        let new = self.0.transform(&key, new, to.deref_mut())?;
        // The old row is known where rows are kept: made again of the old value, it could be another.
        let value = Change {
            new,
            old: None,
            latest,
        };
        to.forward(Record {
            key,
            value,
            timestamp,
            headers,
        });
        Ok(())
    }

    fn punctuate(
        &mut self,
        schedule: ScheduleId,
        now: Timestamp,
        to: &mut Forward<'_, K, Change<W>>,
    ) -> Result<(), BoxError> {
        self.0.punctuate(schedule, now, to.deref_mut())
    }

    fn timer(&mut self, key: K, due: Timestamp, to: &mut Forward<'_, K, Change<W>>) -> Result<(), BoxError> {
        self.0.timer(key, due, to.deref_mut())
    }
}
