//! Values by key, in the order of the keys' bytes: the plain store of a processor.

use std::{ops::RangeBounds, sync::Arc, time::Duration};

use tidemill_data::{BoxError, Data, Headers, StoreName};
use tidemill_store::{Direction, StoreKind};

use super::{
    Connected, ProcessorContext, StoreRows, Stores,
    bound::{Bound, kept, prefix_bytes},
    expiry::Expiry,
    stores::Sealed,
    wanted::Wanted,
};
use crate::{App, Clock};

/// A processor's values by key.
///
/// Made by [`App::key_values`]; given to [`KStream::process_with`](crate::KStream::process_with), whose processors then
/// read and write it. Rows come in the order of their keys' bytes.
pub struct KeyValues<K, V> {
    pub(super) bound: Bound<K, V>,
    pub(super) expiry: Option<Arc<Expiry>>,
}

impl<K, V> Clone for KeyValues<K, V> {
    fn clone(&self) -> Self {
        Self {
            bound: self.bound.clone(),
            expiry: self.expiry.clone(),
        }
    }
}

impl App {
    /// A store of values by key, for processors.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, Forward, KeyValues, Processor, Record};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// const SEEN: StoreName<String, i64> = StoreName::new("seen");
    ///
    /// struct Number {
    ///     seen: KeyValues<String, i64>,
    /// }
    ///
    /// impl Processor<String, String, String, i64> for Number {
    ///     fn process(
    ///         &mut self,
    ///         record: Record<String, String>,
    ///         to: &mut Forward<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         let number = self.seen.get(to, &record.key)?.unwrap_or(0) + 1;
    ///         self.seen.put(to, &record.key, &number)?;
    ///         to.forward(record.with_value(number));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let seen = app.key_values(&SEEN);
    /// app.stream(&IN).process_with(seen, |seen| Number { seen }).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn key_values<K: 'static, V: 'static>(&self, name: &StoreName<K, V>) -> KeyValues<K, V> {
        KeyValues {
            bound: Bound::declare(self, name, StoreKind::KeyValue),
            expiry: None,
        }
    }

    /// As [`key_values`](Self::key_values), for rows that go by themselves once nothing was put for them for `ttl`, by
    /// stream time or by the wall clock. They go from the store and its changelog, too.
    ///
    /// ```
    /// # use tidemill_data::{HOUR, StoreName};
    /// # use tidemill_streams::{App, Clock};
    /// const LAST_SEEN: StoreName<String, String> = StoreName::new("last-seen");
    /// # let app = App::new("docs");
    /// let last_seen = app.key_values_with_ttl(&LAST_SEEN, 24 * HOUR, Clock::StreamTime);
    /// ```
    #[must_use]
    pub fn key_values_with_ttl<K: 'static, V: 'static>(
        &self,
        name: &StoreName<K, V>,
        ttl: Duration,
        clock: Clock,
    ) -> KeyValues<K, V> {
        let bound = Bound::declare(self, name, StoreKind::Timestamped);
        let expiry = Expiry::declare(self, &bound.place, ttl, clock);
        KeyValues {
            bound,
            expiry: Some(Arc::new(expiry)),
        }
    }
}

impl<K: 'static, V: 'static> KeyValues<K, V> {
    /// The value of a key.
    ///
    /// # Errors
    /// When the processor is not connected to the store, the key cannot be encoded, or the store not be read.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let before = self.0.get(to, record.key())?.unwrap_or(0);
    ///     self.0.put(to, record.key(), &record.value)?;
    ///     to.forward(record.with_value(before));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [0, 1]);
    /// ```
    pub fn get(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<Option<V>, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let found = match &self.expiry {
            None => self.bound.found(at.ctx.stores.key_value(id).get(&key)),
            Some(expiry) => {
                let now = at.now(expiry.clock());
                let row = at.ctx.stores.timestamped(id).get(&key);
                let live = row.map(|row| row.filter(|(_, put_at)| expiry.is_live(*put_at, now)));
                self.bound.found(live.map(|row| row.map(|(value, _)| value)))
            }
        };
        kept(at, found)
    }

    /// Sets the value of a key. A value that its format encodes to null deletes. Where headers are preserved, the row
    /// keeps those of the record that is processed.
    ///
    /// # Errors
    /// As [`get`](Self::get), and when the value cannot be encoded.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let total = self.0.get(to, record.key())?.unwrap_or(0) + record.value;
    ///     self.0.put(to, record.key(), &total)?;
    ///     to.forward(record.with_value(total));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 3]);
    /// ```
    pub fn put(&self, at: &mut ProcessorContext<'_>, key: &K, value: &V) -> Result<(), BoxError> {
        let headers = at.headers.clone();
        self.write(at, key, value, &headers)
    }

    pub(super) fn write(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        value: &V,
        headers: &Headers,
    ) -> Result<(), BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let value = self.bound.value(value)?;
        let timestamp = at.timestamp;
        match (value, &self.expiry) {
            (None, None) => at.ctx.stores.key_value(id).delete(&key, timestamp),
            (None, Some(_)) => at.ctx.stores.timestamped(id).delete(&key, timestamp),
            (Some(value), None) => at
                .ctx
                .stores
                .key_value(id)
                .put_with_headers(&key, &value, timestamp, headers),
            (Some(value), Some(expiry)) => {
                expiry.touch(at, &key)?;
                let now = at.now(expiry.clock());
                at.ctx
                    .stores
                    .timestamped(id)
                    .put_with_headers(&key, &value, now, headers);
            }
        }
        Ok(())
    }

    /// Sets the value of a key that has none; what it has, if it has one.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     if self.0.put_if_absent(to, record.key(), &record.value)?.is_none() {
    ///         to.forward(record); // the first of its key
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// test.pipe(&IN, "b", 3, ms(3));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 3]);
    /// ```
    pub fn put_if_absent(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        value: &V,
    ) -> Result<Option<V>, BoxError> {
        let known = self.get(at, key)?;
        if known.is_none() {
            self.put(at, key, value)?;
        }
        Ok(known)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     if record.value == 0 {
    ///         self.0.delete(to, record.key())?; // as if the key had not come
    ///     } else if self.0.put_if_absent(to, record.key(), &record.value)?.is_none() {
    ///         to.forward(record);
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// test.pipe(&IN, "a", 0, ms(3));
    /// test.pipe(&IN, "a", 4, ms(4));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 4]);
    /// ```
    pub fn delete(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<(), BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let timestamp = at.timestamp;
        match self.expiry {
            None => at.ctx.stores.key_value(id).delete(&key, timestamp),
            Some(_) => at.ctx.stores.timestamped(id).delete(&key, timestamp),
        }
        Ok(())
    }

    /// Removes a key; the value it had.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     match self.0.take(to, record.key())? {
    ///         Some(first) => {
    ///             let pair = first + record.value;
    ///             to.forward(record.with_value(pair));
    ///         }
    ///         None => self.0.put(to, record.key(), &record.value)?,
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// test.pipe(&IN, "a", 3, ms(3));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [3]);
    /// ```
    pub fn take(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<Option<V>, BoxError> {
        let known = self.get(at, key)?;
        self.delete(at, key)?;
        Ok(known)
    }

    /// All rows.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.put(to, record.key(), &record.value)?;
    ///     let mut total = 0;
    ///     for row in self.0.all(to, Direction::Forward)? {
    ///         total += row?.1;
    ///     }
    ///     to.forward(record.with_value(total));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "b", 2, ms(2));
    /// test.pipe(&IN, "a", 3, ms(3));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 3, 5]);
    /// ```
    pub fn all<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        direction: Direction,
    ) -> Result<StoreRows<'a, (K, V)>, BoxError> {
        self.range(at, .., direction)
    }

    /// Rows with keys in a range, by the order of their bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.put(to, record.key(), &record.value)?;
    ///     let mut total = 0;
    ///     for row in self.0.range(to, "a".to_owned().."m".to_owned(), Direction::Forward)? {
    ///         total += row?.1;
    ///     }
    ///     to.forward(record.with_value(total));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "x", 2, ms(2));
    /// test.pipe(&IN, "b", 3, ms(3));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 1, 4]);
    /// ```
    pub fn range<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        keys: impl RangeBounds<K>,
        direction: Direction,
    ) -> Result<StoreRows<'a, (K, V)>, BoxError> {
        let span = self.bound.span(&keys)?;
        self.rows(at, Wanted::Span(span), direction)
    }

    /// Rows with keys whose bytes start with those of `prefix`, in its type's own format.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.put(to, record.key(), &record.value)?;
    ///     let mut total = 0;
    ///     for row in self.0.prefix(to, &"user-".to_owned(), Direction::Forward)? {
    ///         total += row?.1;
    ///     }
    ///     to.forward(record.with_value(total));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "user-1", 1, ms(1));
    /// test.pipe(&IN, "guest", 2, ms(2));
    /// test.pipe(&IN, "user-2", 3, ms(3));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 1, 4]);
    /// ```
    pub fn prefix<'a, P: Data>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        prefix: &P,
        direction: Direction,
    ) -> Result<StoreRows<'a, (K, V)>, BoxError> {
        let prefix = prefix_bytes(prefix)?;
        self.rows(at, Wanted::Prefix(prefix), direction)
    }

    fn rows<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        wanted: Wanted,
        direction: Direction,
    ) -> Result<StoreRows<'a, (K, V)>, BoxError> {
        match &self.expiry {
            None => {
                let id = at.store(&self.bound.place)?;
                let store = at.ctx.stores.key_value(id);
                let rows = match &wanted {
                    Wanted::Span(span) => store.range(span.from.as_deref(), span.to.as_deref(), direction),
                    Wanted::Prefix(prefix) => store.prefix(prefix, direction),
                };
                let mut rows = match rows {
                    Ok(rows) => rows,
                    Err(error) => return Err(super::context::stop(at.halted, error)),
                };
                Ok(StoreRows::new(at.halted, move || {
                    while let Some((key, value)) = rows.entry() {
                        let row = wanted
                            .takes(key)
                            .then(|| self.bound.row(key, value))
                            .transpose()?;
                        let headers = rows.headers()?;
                        rows.advance()?;
                        if let Some(row) = row {
                            return Ok(Some((row, headers)));
                        }
                    }
                    Ok(None)
                }))
            }
            Some(expiry) => {
                let now = at.now(expiry.clock());
                let is_live = move |put_at| expiry.is_live(put_at, now);
                self.bound.timestamped_rows(at, wanted, direction, is_live)
            }
        }
    }
}

impl<K: 'static, V: 'static> Stores for KeyValues<K, V> {}

impl<K: 'static, V: 'static> Sealed for KeyValues<K, V> {
    fn connect(&self, to: &mut Connected) {
        to.stores.push(self.bound.place.index);
        if let Some(expiry) = &self.expiry {
            to.stores.push(expiry.index.place.index);
            to.due.push(Arc::<Expiry>::clone(expiry));
        }
    }
}
