//! Values by key and window: a processor's window store.

use std::{
    ops::{RangeBounds, RangeInclusive},
    time::Duration,
};

use tidemill_data::{BoxError, Headers, StoreName, Timestamp, Windowed};
use tidemill_store::{Direction, Put, StoreKind, WindowRow, WindowRows, WindowValues};

use super::{
    ProcessorContext, StoreRows,
    bound::{Bound, kept},
    rows::Next,
    stores::handle,
};
use crate::{App, failure::Halt};

/// A processor's values by key and start of a window, for as long as the store's retention says.
pub struct Windows<K, V> {
    pub(super) bound: Bound<K, V>,
    size_ms: i64,
}

impl<K, V> Clone for Windows<K, V> {
    fn clone(&self) -> Self {
        Self {
            bound: self.bound.clone(),
            size_ms: self.size_ms,
        }
    }
}

handle!(Windows<K, V>);

impl App {
    /// A store of values by key and window, for processors. A window is kept until one starts that is `retention`
    /// later.
    ///
    /// ```
    /// # use tidemill_data::{HOUR, BoxError, MINUTE, StoreName, Timestamp, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Windows};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// const PER_MINUTE: StoreName<String, i64> = StoreName::new("per-minute");
    ///
    /// struct CountPerMinute(Windows<String, i64>);
    ///
    /// impl FixedKeyProcessor<String, String, i64> for CountPerMinute {
    ///     fn process(
    ///         &mut self,
    ///         record: FixedKeyRecord<String, String>,
    ///         to: &mut ForwardValues<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         let ms = record.timestamp.millis();
    ///         let minute = Timestamp::from_millis(ms - ms % 60_000);
    ///         let count = self.0.get(to, record.key(), minute)?.unwrap_or(0) + 1;
    ///         self.0.put(to, record.key(), minute, &count)?;
    ///         to.forward(record.with_value(count));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let counts = app.windows(&PER_MINUTE, MINUTE, HOUR);
    /// app.stream(&IN).process_values_with(counts, CountPerMinute).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn windows<K: 'static, V: 'static>(
        &self,
        name: &StoreName<K, V>,
        size: Duration,
        retention: Duration,
    ) -> Windows<K, V> {
        self.windows_of(name, size, retention, WindowValues::Plain)
    }

    /// As [`windows`](Self::windows), where a second value of a key and window does not replace the first.
    ///
    /// ```
    /// # use tidemill_data::{HOUR, MINUTE, StoreName};
    /// # use tidemill_streams::App;
    /// const EVENTS: StoreName<String, String> = StoreName::new("events");
    /// # let app = App::new("docs");
    /// let events = app.windows_with_duplicates(&EVENTS, MINUTE, HOUR);
    /// ```
    #[must_use]
    pub fn windows_with_duplicates<K: 'static, V: 'static>(
        &self,
        name: &StoreName<K, V>,
        size: Duration,
        retention: Duration,
    ) -> Windows<K, V> {
        self.windows_of(name, size, retention, WindowValues::Duplicates)
    }

    fn windows_of<K: 'static, V: 'static>(
        &self,
        name: &StoreName<K, V>,
        size: Duration,
        retention: Duration,
        values: WindowValues,
    ) -> Windows<K, V> {
        let kind = StoreKind::Window {
            retention_ms: millis(retention),
            values,
        };
        Windows {
            bound: Bound::declare(self, name, kind),
            size_ms: millis(size),
        }
    }
}

pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl<K: 'static, V: 'static> Windows<K, V> {
    /// The value of a key in the window that starts at `start`.
    ///
    /// # Errors
    /// When the processor is not connected to the store, the key cannot be encoded, or the store not be read.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, MINUTE, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Windows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Windows<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let minute = ms(record.timestamp.millis() / 60_000 * 60_000);
    ///     let total = self.0.get(to, record.key(), minute)?.unwrap_or(0) + record.value;
    ///     self.0.put(to, record.key(), minute, &total)?;
    ///     to.forward(record.with_value(total));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.windows(&STORE, MINUTE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1000));
    /// test.pipe(&IN, "a", 2, ms(2000));
    /// test.pipe(&IN, "a", 3, ms(61000));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 3, 3]);
    /// ```
    pub fn get(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        start: Timestamp,
    ) -> Result<Option<V>, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let row = at.ctx.stores.window(id).get(&key, start.millis());
        let found = self.bound.found(row.map(|row| row.map(|(value, _)| value)));
        kept(at, found)
    }

    /// Sets the value of a key in the window that starts at `start`. A window that has expired stays as it is, and the
    /// record counts as dropped. A value that its format encodes to null deletes.
    ///
    /// # Errors
    /// As [`get`](Self::get), and when the value cannot be encoded.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, MINUTE, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Windows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Windows<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let minute = ms(record.timestamp.millis() / 60_000 * 60_000);
    ///     self.0.put(to, record.key(), minute, &record.value)?; // the last of the minute stays
    ///     let before = self.0.get(to, record.key(), minute.saturating_sub(MINUTE))?.unwrap_or(0);
    ///     to.forward(record.with_value(before));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.windows(&STORE, MINUTE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(61000));
    /// test.pipe(&IN, "a", 2, ms(62000));
    /// test.pipe(&IN, "a", 3, ms(121000));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [0, 0, 2]);
    /// ```
    pub fn put(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        start: Timestamp,
        value: &V,
    ) -> Result<(), BoxError> {
        let value = self.bound.value(value)?;
        let headers = at.headers.clone();
        self.write(at, key, start, value.as_deref().map(|value| (value, &headers)))
    }

    /// Removes a key from the window that starts at `start`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, MINUTE, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Windows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Windows<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let minute = ms(record.timestamp.millis() / 60_000 * 60_000);
    ///     if record.value == 0 {
    ///         self.0.delete(to, record.key(), minute)?;
    ///     } else if self.0.get(to, record.key(), minute)?.is_none() {
    ///         self.0.put(to, record.key(), minute, &record.value)?;
    ///         to.forward(record); // the first of the minute
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.windows(&STORE, MINUTE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1000));
    /// test.pipe(&IN, "a", 2, ms(2000));
    /// test.pipe(&IN, "a", 0, ms(3000));
    /// test.pipe(&IN, "a", 4, ms(4000));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 4]);
    /// ```
    pub fn delete(&self, at: &mut ProcessorContext<'_>, key: &K, start: Timestamp) -> Result<(), BoxError> {
        self.write(at, key, start, None)
    }

    pub(super) fn write(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        start: Timestamp,
        value: Option<(&[u8], &Headers)>,
    ) -> Result<(), BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let timestamp = at.timestamp;
        let store = at.ctx.stores.window(id);
        let put = match value {
            Some((value, headers)) => store.put_with_headers(&key, start.millis(), value, timestamp, headers),
            None => store.delete(&key, start.millis(), timestamp),
        };
        if put == Put::Expired {
            at.ctx.drop_record();
        }
        Ok(())
    }

    /// The values of a key in windows that start in a span of time, in order of start.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, MINUTE, StoreName, Topic};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Windows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Windows<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let minute = ms(record.timestamp.millis() / 60_000 * 60_000);
    ///     let total = self.0.get(to, record.key(), minute)?.unwrap_or(0) + record.value;
    ///     self.0.put(to, record.key(), minute, &total)?;
    ///     let mut both = 0;
    ///     for window in self.0.fetch(to, record.key(), minute.saturating_sub(MINUTE)..=minute, Direction::Forward)? {
    ///         both += window?.1;
    ///     }
    ///     to.forward(record.with_value(both)); // of this minute and the one before
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.windows(&STORE, MINUTE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(61000));
    /// test.pipe(&IN, "a", 2, ms(62000));
    /// test.pipe(&IN, "a", 3, ms(121000));
    /// test.pipe(&IN, "a", 4, ms(181000));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 3, 6, 7]);
    /// ```
    pub fn fetch<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        key: &K,
        starts: RangeInclusive<Timestamp>,
        direction: Direction,
    ) -> Result<StoreRows<'a, (Timestamp, V)>, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let (from, to) = (starts.start().millis(), starts.end().millis());
        let rows = at.ctx.stores.window(id).fetch(&key, from, to, direction);
        let mut rows = rows.map_err(|error| super::context::stop(at.halted, error))?;
        let row = |row: WindowRow<'_>| {
            let value = self.bound.decode_value(row.value)?;
            Ok((Timestamp::from_millis(row.start_ms), value))
        };
        Ok(StoreRows::new(at.halted, move || next(&mut rows, row, |_| true)))
    }

    /// The values of a range of keys in windows that start in a span of time. They come segment by segment of the
    /// store, within it by key, then by start.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, MINUTE, StoreName, Topic};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Windows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Windows<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let minute = ms(record.timestamp.millis() / 60_000 * 60_000);
    ///     let total = self.0.get(to, record.key(), minute)?.unwrap_or(0) + record.value;
    ///     self.0.put(to, record.key(), minute, &total)?;
    ///     let mut everyone = 0;
    ///     for window in self.0.fetch_range(to, .., minute..=minute, Direction::Forward)? {
    ///         everyone += window?.1;
    ///     }
    ///     to.forward(record.with_value(everyone));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.windows(&STORE, MINUTE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1000));
    /// test.pipe(&IN, "b", 2, ms(2000));
    /// test.pipe(&IN, "a", 3, ms(61000));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 3, 3]);
    /// ```
    pub fn fetch_range<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        keys: impl RangeBounds<K>,
        starts: RangeInclusive<Timestamp>,
        direction: Direction,
    ) -> Result<StoreRows<'a, (Windowed<K>, V)>, BoxError> {
        let (id, span) = (at.store(&self.bound.place)?, self.bound.span(&keys)?);
        let (from, to) = (starts.start().millis(), starts.end().millis());
        let keys = (span.from.as_deref(), span.to.as_deref());
        let rows = at.ctx.stores.window(id).fetch_range(keys, from, to, direction);
        let mut rows = rows.map_err(|error| super::context::stop(at.halted, error))?;
        let row = |row: WindowRow<'_>| self.windowed(row);
        Ok(StoreRows::new(at.halted, move || {
            next(&mut rows, row, |row| span.except.as_deref() != Some(row.key))
        }))
    }

    /// All values, in the order of [`fetch_range`](Self::fetch_range).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, MINUTE, StoreName, Topic};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Windows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Windows<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let minute = ms(record.timestamp.millis() / 60_000 * 60_000);
    ///     let total = self.0.get(to, record.key(), minute)?.unwrap_or(0) + record.value;
    ///     self.0.put(to, record.key(), minute, &total)?;
    ///     let windows = self.0.all(to, Direction::Forward)?.count();
    ///     to.forward(record.with_value(i64::try_from(windows)?));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.windows(&STORE, MINUTE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1000));
    /// test.pipe(&IN, "a", 2, ms(2000));
    /// test.pipe(&IN, "b", 3, ms(61000));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 1, 2]);
    /// ```
    pub fn all<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        direction: Direction,
    ) -> Result<StoreRows<'a, (Windowed<K>, V)>, BoxError> {
        let always = Timestamp::from_millis(0)..=Timestamp::MAX;
        self.fetch_range(at, .., always, direction)
    }

    fn windowed(&self, row: WindowRow<'_>) -> Result<(Windowed<K>, V), Halt> {
        let windowed = Windowed {
            key: self.bound.decode_key(row.key)?,
            start_ms: row.start_ms,
            end_ms: row.start_ms.saturating_add(self.size_ms),
        };
        Ok((windowed, self.bound.decode_value(row.value)?))
    }
}

fn next<R>(
    rows: &mut WindowRows<'_>,
    read: impl Fn(WindowRow<'_>) -> Result<R, Halt>,
    takes: impl Fn(&WindowRow<'_>) -> bool,
) -> Next<R> {
    while let Some(row) = rows.entry() {
        let row = takes(&row).then(|| read(row)).transpose()?;
        let headers = rows.headers()?;
        rows.advance()?;
        if let Some(row) = row {
            return Ok(Some((row, headers)));
        }
    }
    Ok(None)
}
