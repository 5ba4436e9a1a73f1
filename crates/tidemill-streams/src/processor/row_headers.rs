//! Headers of the rows in processors' stores: what a row that is put keeps, and what is read of it.
//!
//! A row has the headers of the record that was processed when it was put, unless the processor gives others; what a
//! punctuation puts has none. Only a program that preserves headers keeps any.

use tidemill_data::{BoxError, Headers, Timestamp, Windowed};
use tidemill_store::TimestampedStore;

use super::{
    KeyValues, ProcessorContext, ReadOnlyKeyValues, Sessions, StoreRows, Versions, Windows, bound::kept,
};
use crate::failure::Halt;

impl<K: 'static, V: 'static> KeyValues<K, V> {
    /// The headers of a key's row; none if there is none, or headers are not
    /// [preserved](crate::App::preserve_headers).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, Headers, StoreName, Timestamp, Topic, Windowed};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Record, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let before = self.0.headers(to, record.key())?;
    ///     let trace = before.last("trace").and_then(|header| header.value.clone()).unwrap_or_default();
    ///     self.0.put(to, record.key(), &record.value)?; // with the record's headers
    ///     to.forward(record.with_value(String::from_utf8_lossy(&trace).into_owned()));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// app.preserve_headers();
    /// # let mut test = TestDriver::new(&app);
    /// let record = |trace: &str, at| Record {
    ///     headers: Headers::new().with("trace", trace.to_owned()),
    ///     ..Record::new("a".to_owned(), 1, ms(at))
    /// };
    /// test.try_pipe(&IN, record("t1", 1)).unwrap();
    /// test.try_pipe(&IN, record("t2", 2)).unwrap();
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["", "t1"]);
    /// ```
    pub fn headers(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<Headers, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let headers = match &self.expiry {
            None => at.ctx.stores.key_value(id).headers(&key).map_err(Halt::from),
            Some(expiry) => {
                let now = at.now(expiry.clock());
                expiring_headers(at.ctx.stores.timestamped(id), &key, |put_at| {
                    expiry.is_live(put_at, now)
                })
            }
        };
        kept(at, headers)
    }

    /// As [`put`](Self::put), with headers of its own instead of those of the record that is processed. They are left
    /// out unless headers are [preserved](crate::App::preserve_headers).
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, Headers, StoreName, Timestamp, Topic, Windowed};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Record, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let before = self.0.headers(to, record.key())?;
    ///     let trace = before.last("trace").and_then(|header| header.value.clone()).unwrap_or_default();
    ///     let own = Headers::new().with("trace", "mine");
    ///     self.0.put_with_headers(to, record.key(), &record.value, &own)?;
    ///     to.forward(record.with_value(String::from_utf8_lossy(&trace).into_owned()));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// app.preserve_headers();
    /// # let mut test = TestDriver::new(&app);
    /// let record = |trace: &str, at| Record {
    ///     headers: Headers::new().with("trace", trace.to_owned()),
    ///     ..Record::new("a".to_owned(), 1, ms(at))
    /// };
    /// test.try_pipe(&IN, record("t1", 1)).unwrap();
    /// test.try_pipe(&IN, record("t2", 2)).unwrap();
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["", "mine"]);
    /// ```
    pub fn put_with_headers(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        value: &V,
        headers: &Headers,
    ) -> Result<(), BoxError> {
        let headers = at.ctx.stored(headers).clone();
        self.write(at, key, value, &headers)
    }
}

/// The headers of a row that is still live.
fn expiring_headers(
    store: &mut TimestampedStore,
    key: &[u8],
    is_live: impl Fn(Timestamp) -> bool,
) -> Result<Headers, Halt> {
    match store.get(key)? {
        Some((_, put_at)) if is_live(put_at) => Ok(store.headers(key)?),
        _ => Ok(Headers::new()),
    }
}

impl<K: 'static, V: 'static> Windows<K, V> {
    /// The headers of a key's window; none if there is none, or headers are not
    /// [preserved](crate::App::preserve_headers).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, Headers, StoreName, Timestamp, Topic, Windowed};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Record, Windows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Windows<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let before = self.0.headers(to, record.key(), ms(0))?;
    ///     let trace = before.last("trace").and_then(|header| header.value.clone()).unwrap_or_default();
    ///     self.0.put(to, record.key(), ms(0), &record.value)?; // with the record's headers
    ///     to.forward(record.with_value(String::from_utf8_lossy(&trace).into_owned()));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.windows(&STORE, HOUR, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// app.preserve_headers();
    /// # let mut test = TestDriver::new(&app);
    /// let record = |trace: &str, at| Record {
    ///     headers: Headers::new().with("trace", trace.to_owned()),
    ///     ..Record::new("a".to_owned(), 1, ms(at))
    /// };
    /// test.try_pipe(&IN, record("t1", 1)).unwrap();
    /// test.try_pipe(&IN, record("t2", 2)).unwrap();
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["", "t1"]);
    /// ```
    pub fn headers(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        start: Timestamp,
    ) -> Result<Headers, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let headers = at.ctx.stores.window(id).headers(&key, start.millis());
        kept(at, headers.map_err(Halt::from))
    }

    /// As [`put`](Self::put), with headers of its own instead of those of the record that is processed. They are left
    /// out unless headers are [preserved](crate::App::preserve_headers).
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, Headers, StoreName, Timestamp, Topic, Windowed};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Record, Windows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Windows<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let before = self.0.headers(to, record.key(), ms(0))?;
    ///     let trace = before.last("trace").and_then(|header| header.value.clone()).unwrap_or_default();
    ///     let own = Headers::new().with("trace", "mine");
    ///     self.0.put_with_headers(to, record.key(), ms(0), &record.value, &own)?;
    ///     to.forward(record.with_value(String::from_utf8_lossy(&trace).into_owned()));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.windows(&STORE, HOUR, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// app.preserve_headers();
    /// # let mut test = TestDriver::new(&app);
    /// let record = |trace: &str, at| Record {
    ///     headers: Headers::new().with("trace", trace.to_owned()),
    ///     ..Record::new("a".to_owned(), 1, ms(at))
    /// };
    /// test.try_pipe(&IN, record("t1", 1)).unwrap();
    /// test.try_pipe(&IN, record("t2", 2)).unwrap();
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["", "mine"]);
    /// ```
    pub fn put_with_headers(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        start: Timestamp,
        value: &V,
        headers: &Headers,
    ) -> Result<(), BoxError> {
        let headers = at.ctx.stored(headers).clone();
        let value = self.bound.value(value)?;
        self.write(at, key, start, value.as_deref().map(|value| (value, &headers)))
    }
}

impl<K: 'static, V: 'static> Sessions<K, V> {
    /// The headers of a session; none if there is none, or headers are not
    /// [preserved](crate::App::preserve_headers).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, Headers, StoreName, Timestamp, Topic, Windowed};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Record, Sessions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Sessions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let session = Windowed { key: record.key().clone(), start_ms: 0, end_ms: 9 };
    ///     let before = self.0.headers(to, &session)?;
    ///     let trace = before.last("trace").and_then(|header| header.value.clone()).unwrap_or_default();
    ///     self.0.put(to, &session, &record.value)?; // with the record's headers
    ///     to.forward(record.with_value(String::from_utf8_lossy(&trace).into_owned()));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.sessions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// app.preserve_headers();
    /// # let mut test = TestDriver::new(&app);
    /// let record = |trace: &str, at| Record {
    ///     headers: Headers::new().with("trace", trace.to_owned()),
    ///     ..Record::new("a".to_owned(), 1, ms(at))
    /// };
    /// test.try_pipe(&IN, record("t1", 1)).unwrap();
    /// test.try_pipe(&IN, record("t2", 2)).unwrap();
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["", "t1"]);
    /// ```
    pub fn headers(&self, at: &mut ProcessorContext<'_>, session: &Windowed<K>) -> Result<Headers, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(&session.key)?);
        let store = at.ctx.stores.session(id);
        let headers = store.headers(&key, session.start_ms, session.end_ms);
        kept(at, headers.map_err(Halt::from))
    }

    /// As [`put`](Self::put), with headers of its own instead of those of the record that is processed. They are left
    /// out unless headers are [preserved](crate::App::preserve_headers).
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, Headers, StoreName, Timestamp, Topic, Windowed};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Record, Sessions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Sessions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let session = Windowed { key: record.key().clone(), start_ms: 0, end_ms: 9 };
    ///     let before = self.0.headers(to, &session)?;
    ///     let trace = before.last("trace").and_then(|header| header.value.clone()).unwrap_or_default();
    ///     let own = Headers::new().with("trace", "mine");
    ///     self.0.put_with_headers(to, &session, &record.value, &own)?;
    ///     to.forward(record.with_value(String::from_utf8_lossy(&trace).into_owned()));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.sessions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// app.preserve_headers();
    /// # let mut test = TestDriver::new(&app);
    /// let record = |trace: &str, at| Record {
    ///     headers: Headers::new().with("trace", trace.to_owned()),
    ///     ..Record::new("a".to_owned(), 1, ms(at))
    /// };
    /// test.try_pipe(&IN, record("t1", 1)).unwrap();
    /// test.try_pipe(&IN, record("t2", 2)).unwrap();
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["", "mine"]);
    /// ```
    pub fn put_with_headers(
        &self,
        at: &mut ProcessorContext<'_>,
        session: &Windowed<K>,
        value: &V,
        headers: &Headers,
    ) -> Result<(), BoxError> {
        let headers = at.ctx.stored(headers).clone();
        let value = self.bound.value(value)?;
        self.write(at, session, value.as_deref().map(|value| (value, &headers)))
    }
}

impl<K: 'static, V: 'static> Versions<K, V> {
    /// As [`put`](Self::put), with headers of its own instead of those of the record that is processed. They are left
    /// out unless headers are [preserved](crate::App::preserve_headers).
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, Headers, StoreName, Timestamp, Topic, Windowed};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Record, Versions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Versions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let before = self.0.get(to, record.key())?.map(|version| version.headers).unwrap_or_default();
    ///     let trace = before.last("trace").and_then(|header| header.value.clone()).unwrap_or_default();
    ///     let own = Headers::new().with("trace", "mine");
    ///     self.0.put_with_headers(to, record.key(), Some(&record.value), record.timestamp, &own)?;
    ///     to.forward(record.with_value(String::from_utf8_lossy(&trace).into_owned()));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.versions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// app.preserve_headers();
    /// # let mut test = TestDriver::new(&app);
    /// let record = |trace: &str, at| Record {
    ///     headers: Headers::new().with("trace", trace.to_owned()),
    ///     ..Record::new("a".to_owned(), 1, ms(at))
    /// };
    /// test.try_pipe(&IN, record("t1", 1)).unwrap();
    /// test.try_pipe(&IN, record("t2", 2)).unwrap();
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["", "mine"]);
    /// ```
    pub fn put_with_headers(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        value: Option<&V>,
        timestamp: Timestamp,
        headers: &Headers,
    ) -> Result<(), BoxError> {
        let headers = at.ctx.stored(headers).clone();
        self.write(at, key, value, (timestamp, &headers))
    }
}

impl<K: 'static, V: 'static> ReadOnlyKeyValues<K, V> {
    /// The headers of a key's latest record; none if there is none, or headers are not
    /// [preserved](crate::App::preserve_headers).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Headers, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, ReadOnlyKeyValues, Record};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const LIMITS: Topic<String, i64> = Topic::new("limits");
    /// # const LIMIT: StoreName<String, i64> = StoreName::new("limit");
    /// # struct Own(ReadOnlyKeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     mut record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     for header in &self.0.headers(to, record.key())? {
    ///         record.headers.push(&header.name, header.value.clone());
    ///     }
    ///     to.forward(record);
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.read_only_state_store(&LIMITS, &LIMIT);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// app.preserve_headers();
    /// # let mut test = TestDriver::new(&app);
    /// let headers = Headers::new().with("set-by", "ada");
    /// test.try_pipe(&LIMITS, Record { headers, ..Record::new("a".to_owned(), 10, ms(1)) }).unwrap();
    /// test.pipe(&IN, "a", 3, ms(2));
    /// assert!(test.read(&OUT)[0].headers.last("set-by").is_some());
    /// ```
    pub fn headers(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<Headers, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let headers = at.ctx.stores.timestamped(id).headers(&key);
        kept(at, headers.map_err(Halt::from))
    }
}

impl<R> StoreRows<'_, R> {
    /// The headers of the row that came last; none before the first, or if headers are not
    /// [preserved](crate::App::preserve_headers).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, Headers, StoreName, Timestamp, Topic, Windowed};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Record, KeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(KeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let mut traces = Vec::new();
    ///     let mut rows = self.0.all(to, Direction::Forward)?;
    ///     while let Some(row) = rows.next() {
    ///         let (key, _) = row?;
    ///         let trace = rows.headers().last("trace").and_then(|header| header.value.clone()).unwrap_or_default();
    ///         traces.push(format!("{key}: {}", String::from_utf8_lossy(&trace)));
    ///     }
    ///     drop(rows);
    ///     self.0.put(to, record.key(), &record.value)?;
    ///     to.forward(record.with_value(traces.concat()));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_values(&STORE);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// app.preserve_headers();
    /// # let mut test = TestDriver::new(&app);
    /// let record = |trace: &str, at| Record {
    ///     headers: Headers::new().with("trace", trace.to_owned()),
    ///     ..Record::new("a".to_owned(), 1, ms(at))
    /// };
    /// test.try_pipe(&IN, record("t1", 1)).unwrap();
    /// test.try_pipe(&IN, record("t2", 2)).unwrap();
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["", "a: t1"]);
    /// ```
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }
}
