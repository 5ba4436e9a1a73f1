//! Values by key and session: a processor's session store.

use std::time::Duration;

use tidemill_data::{BoxError, Headers, StoreName, Timestamp, Windowed};
use tidemill_store::{Direction, Put, SessionRow, SessionRows, StoreKind};

use super::{
    ProcessorContext, StoreRows,
    bound::{Bound, kept},
    stores::handle,
    windows::millis,
};
use crate::{App, failure::Halt};

/// A processor's values by key and session, for as long as the store's retention says.
pub struct Sessions<K, V> {
    pub(super) bound: Bound<K, V>,
}

handle!(Sessions<K, V>);

impl<K, V> Clone for Sessions<K, V> {
    fn clone(&self) -> Self {
        Self {
            bound: self.bound.clone(),
        }
    }
}

impl App {
    /// A store of values by key and session, for processors. A session is kept until one ends that is `retention`
    /// later.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, DAY, MINUTE, StoreName, Topic};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Sessions};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// const VISITS: StoreName<String, i64> = StoreName::new("visits");
    ///
    /// struct CountVisit(Sessions<String, i64>);
    ///
    /// impl FixedKeyProcessor<String, String, i64> for CountVisit {
    ///     fn process(
    ///         &mut self,
    ///         record: FixedKeyRecord<String, String>,
    ///         to: &mut ForwardValues<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         let (user, now) = (record.key().clone(), record.timestamp);
    ///         let (before, after) = (now.saturating_sub(30 * MINUTE), now.saturating_add(30 * MINUTE));
    ///         let near = self.0.find(to, &user, before, after, Direction::Forward)?;
    ///         let near = near.collect::<Result<Vec<_>, _>>()?;
    ///         let (mut start, mut end, mut clicks) = (now.millis(), now.millis(), 1);
    ///         for (session, count) in near {
    ///             self.0.remove(to, &session)?;
    ///             (start, end) = (start.min(session.start_ms), end.max(session.end_ms));
    ///             clicks += count;
    ///         }
    ///         let session = tidemill_data::Windowed { key: user, start_ms: start, end_ms: end };
    ///         self.0.put(to, &session, &clicks)?;
    ///         to.forward(record.with_value(clicks));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let visits = app.sessions(&VISITS, DAY);
    /// app.stream(&IN).process_values_with(visits, CountVisit).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn sessions<K: 'static, V: 'static>(
        &self,
        name: &StoreName<K, V>,
        retention: Duration,
    ) -> Sessions<K, V> {
        let retention_ms = millis(retention);
        Sessions {
            bound: Bound::declare(self, name, StoreKind::Session { retention_ms }),
        }
    }
}

impl<K: 'static, V: 'static> Sessions<K, V> {
    /// The value of a session, by its exact bounds.
    ///
    /// # Errors
    /// When the processor is not connected to the store, the key cannot be encoded, or the store not be read.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, StoreName, Topic, Windowed};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Sessions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Sessions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let morning = Windowed::new(record.key().clone(), 0, 1_000);
    ///     let total = self.0.get(to, &morning)?.unwrap_or(0) + record.value;
    ///     self.0.put(to, &morning, &total)?;
    ///     to.forward(record.with_value(total));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.sessions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// test.pipe(&IN, "b", 5, ms(3));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 3, 5]);
    /// ```
    pub fn get(&self, at: &mut ProcessorContext<'_>, session: &Windowed<K>) -> Result<Option<V>, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(&session.key)?);
        let store = at.ctx.stores.session(id);
        let found = self
            .bound
            .found(store.get(&key, session.start_ms, session.end_ms));
        kept(at, found)
    }

    /// Sets the value of a session. One that has expired is left out, and the record counts as dropped. A value that
    /// its format encodes to null deletes.
    ///
    /// # Errors
    /// As [`get`](Self::get), and when the value cannot be encoded.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, StoreName, Topic, Windowed};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Sessions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Sessions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let (key, now) = (record.key().clone(), record.timestamp.millis());
    ///     self.0.put(to, &Windowed::new(key.clone(), now, now), &record.value)?;
    ///
    ///     let sessions = self.0.fetch(to, &key, Direction::Forward)?.count();
    ///     to.forward(record.with_value(i64::try_from(sessions)?));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.sessions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// test.pipe(&IN, "b", 3, ms(3));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 2, 1]);
    /// ```
    pub fn put(
        &self,
        at: &mut ProcessorContext<'_>,
        session: &Windowed<K>,
        value: &V,
    ) -> Result<(), BoxError> {
        let value = self.bound.value(value)?;
        let headers = at.headers.clone();
        self.write(at, session, value.as_deref().map(|value| (value, &headers)))
    }

    /// Removes a session.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, StoreName, Topic, Windowed};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Sessions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Sessions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let key = record.key().clone();
    ///     let before = self.0.fetch(to, &key, Direction::Forward)?.next().transpose()?;
    ///     let (mut session, mut total) = (Windowed::new(key, 0, 0), record.value);
    ///     if let Some((known, value)) = before {
    ///         self.0.remove(to, &known)?; // the longer one stands in its place
    ///         total += value;
    ///     }
    ///     session.end_ms = record.timestamp.millis();
    ///     self.0.put(to, &session, &total)?;
    ///     to.forward(record.with_value(total));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.sessions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// test.pipe(&IN, "a", 3, ms(3));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 3, 6]);
    /// ```
    pub fn remove(&self, at: &mut ProcessorContext<'_>, session: &Windowed<K>) -> Result<(), BoxError> {
        self.write(at, session, None)
    }

    pub(super) fn write(
        &self,
        at: &mut ProcessorContext<'_>,
        session: &Windowed<K>,
        value: Option<(&[u8], &Headers)>,
    ) -> Result<(), BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(&session.key)?);
        let timestamp = at.timestamp;
        let store = at.ctx.stores.session(id);
        let put = match value {
            Some((value, headers)) => {
                let span = (session.start_ms, session.end_ms);
                store.put_with_headers(&key, span, value, timestamp, headers)
            }
            None => store.remove(&key, session.start_ms, session.end_ms, timestamp),
        };
        if put == Put::Expired {
            at.ctx.drop_record();
        }
        Ok(())
    }

    /// A key's sessions that end at `earliest_end` or later and start at `latest_start` or earlier, in order of end,
    /// then of start: those that a record within a gap of both would join.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, StoreName, Topic, Windowed};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Sessions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Sessions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let (key, now) = (record.key().clone(), record.timestamp.millis());
    ///     self.0.put(to, &Windowed::new(key.clone(), now, now), &record.value)?;
    ///
    ///     let (from, to_time) = (ms(now - 10), ms(now + 10));
    ///     let near = self.0.find(to, &key, from, to_time, Direction::Forward)?.count();
    ///     to.forward(record.with_value(i64::try_from(near)?));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.sessions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(5));
    /// test.pipe(&IN, "a", 3, ms(50));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 2, 1]);
    /// ```
    pub fn find<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
        direction: Direction,
    ) -> Result<StoreRows<'a, (Windowed<K>, V)>, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let (end, start) = (earliest_end.millis(), latest_start.millis());
        let rows = at
            .ctx
            .stores
            .session(id)
            .find_sessions(&key, end, start, direction);
        let rows = rows.map_err(|error| super::context::stop(at.halted, error))?;
        Ok(self.rows(at.halted, rows))
    }

    /// All sessions of a key, in order of end, then of start.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, StoreName, Topic, Windowed};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Sessions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Sessions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let (key, now) = (record.key().clone(), record.timestamp.millis());
    ///     self.0.put(to, &Windowed::new(key.clone(), now, now), &record.value)?;
    ///
    ///     let mut total = 0;
    ///     for session in self.0.fetch(to, &key, Direction::Forward)? {
    ///         total += session?.1;
    ///     }
    ///     to.forward(record.with_value(total));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.sessions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "b", 2, ms(2));
    /// test.pipe(&IN, "a", 3, ms(3));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 2, 4]);
    /// ```
    pub fn fetch<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        key: &K,
        direction: Direction,
    ) -> Result<StoreRows<'a, (Windowed<K>, V)>, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let rows = at.ctx.stores.session(id).fetch(&key, direction);
        let rows = rows.map_err(|error| super::context::stop(at.halted, error))?;
        Ok(self.rows(at.halted, rows))
    }

    /// All sessions: segment by segment of the store, within it by key, then by end.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, StoreName, Topic, Windowed};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Sessions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Sessions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let (key, now) = (record.key().clone(), record.timestamp.millis());
    ///     self.0.put(to, &Windowed::new(key.clone(), now, now), &record.value)?;
    ///
    ///     let mut total = 0;
    ///     for session in self.0.all(to, Direction::Forward)? {
    ///         total += session?.1;
    ///     }
    ///     to.forward(record.with_value(total));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.sessions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "b", 2, ms(2));
    /// test.pipe(&IN, "a", 3, ms(3));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 3, 6]);
    /// ```
    pub fn all<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        direction: Direction,
    ) -> Result<StoreRows<'a, (Windowed<K>, V)>, BoxError> {
        let id = at.store(&self.bound.place)?;
        let rows = at.ctx.stores.session(id).all(direction);
        let rows = rows.map_err(|error| super::context::stop(at.halted, error))?;
        Ok(self.rows(at.halted, rows))
    }

    fn rows<'a>(
        &'a self,
        halted: &'a mut Option<Halt>,
        mut rows: SessionRows<'a>,
    ) -> StoreRows<'a, (Windowed<K>, V)> {
        StoreRows::new(halted, move || {
            let Some(row) = rows.entry() else {
                return Ok(None);
            };
            let row = self.session(row)?;
            let headers = rows.headers()?;
            rows.advance()?;
            Ok(Some((row, headers)))
        })
    }

    fn session(&self, row: SessionRow<'_>) -> Result<(Windowed<K>, V), Halt> {
        let session = Windowed {
            key: self.bound.decode_key(row.key)?,
            start_ms: row.start_ms,
            end_ms: row.end_ms,
        };
        Ok((session, self.bound.decode_value(row.value)?))
    }
}
