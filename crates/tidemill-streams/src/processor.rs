//! Operators of the user's own: what they implement, what they see, where their results go.

mod bound;
mod child;
mod context;
mod due;
mod expiry;
mod fixed_key;
mod forward;
mod global_store_rows;
mod key_timers;
mod key_values;
mod read_only;
mod row_headers;
mod rows;
mod sessions;
mod stores;
mod table_rows;
mod value_transformer;
mod version_expiry;
mod versions;
mod wanted;
mod windows;

use tidemill_data::{BoxError, Timestamp};

use crate::{Record, ScheduleId};

pub(crate) use bound::Bound;
pub use child::Child;
pub(crate) use child::Children;
pub use context::{ProcessorContext, RecordMetadata, Timers};
pub(crate) use due::{BY_TIME, Due, DueStore, due_entries, time_bytes};
pub(crate) use fixed_key::Fixed;
pub use fixed_key::{FixedKeyProcessor, FixedKeyRecord, ForwardValues};
pub use forward::Forward;
pub use global_store_rows::GlobalStoreRows;
pub(crate) use global_store_rows::{Fault, FillGlobal, Filling, Met};
pub use key_timers::KeyTimers;
pub use key_values::KeyValues;
pub use read_only::ReadOnlyKeyValues;
pub use rows::StoreRows;
pub use sessions::Sessions;
pub(crate) use stores::Connected;
pub use stores::Stores;
pub use table_rows::TableRows;
pub(crate) use value_transformer::Transforming;
pub use value_transformer::ValueTransformer;
pub use versions::{Versioned, Versions};
pub use windows::Windows;

/// An operator of the user's own. Every task has one of its own, made by the closure given to
/// [`KStream::process`](crate::KStream::process).
///
/// What it keeps in its fields is lost when the task moves or restarts; what it keeps in stores is not: see
/// [`KStream::process_with`](crate::KStream::process_with).
pub trait Processor<K, V, L, W>: Send + 'static {
    /// Called once, when the task starts: the place to make schedules. State is not restored yet.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, Forward, Processor, Record, ScheduleId, Timers};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl Processor<String, i64, String, i64> for Own {
    /// fn start(&mut self, timers: &mut Timers<'_>) {
    ///     timers.every(MINUTE, Clock::WallClock);
    /// }
    ///
    /// # fn process(&mut self, _: Record<String, i64>, _: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    /// #     Ok(())
    /// # }
    /// fn punctuate(&mut self, _: ScheduleId, now: Timestamp, to: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    ///     to.forward(Record::new("minutes".to_owned(), now.millis() / 60_000, now));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.advance(MINUTE);
    /// test.advance(MINUTE);
    /// assert_eq!(test.read(&OUT).len(), 2);
    /// ```
    fn start(&mut self, _timers: &mut Timers<'_>) {}

    /// Called with each record.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, Forward, Processor, Record};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl Processor<String, i64, String, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: Record<String, i64>,
    ///     to: &mut Forward<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     for half in [record.value / 2, record.value - record.value / 2] {
    ///         to.forward(record.clone().with_value(half));
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 5, ms(1));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [2, 3]);
    /// ```
    fn process(&mut self, record: Record<K, V>, to: &mut Forward<'_, L, W>) -> Result<(), BoxError>;

    /// Called when a schedule is due: by stream time after a record, by the wall clock at any time.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, Forward, Processor, Record, ScheduleId, Timers};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own(i64);
    /// # impl Processor<String, i64, String, i64> for Own {
    /// # fn start(&mut self, timers: &mut Timers<'_>) {
    /// #     timers.every(MINUTE, Clock::WallClock);
    /// # }
    /// fn process(
    ///     &mut self,
    ///     record: Record<String, i64>,
    ///     to: &mut Forward<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0 += record.value;
    ///     Ok(())
    /// }
    /// fn punctuate(&mut self, _: ScheduleId, now: Timestamp, to: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    ///     to.forward(Record::new("sum".to_owned(), std::mem::take(&mut self.0), now));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process(|| Own(0)).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "b", 2, ms(2));
    /// test.advance(MINUTE);
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [3]);
    /// ```
    fn punctuate(
        &mut self,
        _schedule: ScheduleId,
        _now: Timestamp,
        _to: &mut Forward<'_, L, W>,
    ) -> Result<(), BoxError> {
        Ok(())
    }

    /// Called when the timer of a key is due: see [`KeyTimers`].
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, StoreName, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, Forward, KeyTimers, Processor, Record};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, ()> = StoreName::new("store");
    /// # struct Own(KeyTimers<String>);
    /// # impl Processor<String, i64, String, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: Record<String, i64>,
    ///     to: &mut Forward<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.set(to, &record.key, record.timestamp.saturating_add(MINUTE))?;
    ///     Ok(())
    /// }
    /// fn timer(&mut self, key: String, due: Timestamp, to: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    ///     to.forward(Record::new(key, 0, due));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_timers(&STORE, Clock::StreamTime);
    /// # app.stream(&IN).process_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(0));
    /// test.pipe(&IN, "b", 2, ms(60000));
    /// let gone = test.read(&OUT);
    /// assert_eq!((gone[0].key.as_str(), gone[0].timestamp), ("a", ms(60_000)));
    /// ```
    fn timer(&mut self, _key: K, _due: Timestamp, _to: &mut Forward<'_, L, W>) -> Result<(), BoxError> {
        Ok(())
    }
}
