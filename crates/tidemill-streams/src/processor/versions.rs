//! Versions of values by key: a processor's versioned store.

use std::{sync::Arc, time::Duration};

use tidemill_data::{BoxError, Headers, StoreName, Timestamp};
use tidemill_store::{StoreError, StoreKind, Version, VersionPut};

use super::{
    Connected, DueStore, ProcessorContext, Stores,
    bound::{Bound, kept},
    stores::Sealed,
    version_expiry::VersionExpiry,
    windows::millis,
};
use crate::{App, Clock, failure::Halt};

/// A version, if there is one, and its headers.
type Found<'a> = (Option<Version<'a>>, Headers);

/// A processor's values by key as they were at any time that the store's history goes back to.
pub struct Versions<K, V> {
    bound: Bound<K, V>,
    expiry: Option<Arc<VersionExpiry>>,
}

impl<K, V> Clone for Versions<K, V> {
    fn clone(&self) -> Self {
        Self {
            bound: self.bound.clone(),
            expiry: self.expiry.clone(),
        }
    }
}

/// A value, and for which span of time it is that of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<V> {
    /// The value.
    pub value: V,
    /// Since when.
    pub valid_from: Timestamp,
    /// Until when, exclusive; `None` for the latest.
    pub valid_to: Option<Timestamp>,
    /// Its headers; none unless headers are preserved.
    pub headers: Headers,
}

impl App {
    /// A store of the versions of values by key, for processors. Versions before the latest are kept for
    /// `history_retention`.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, DAY, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Versions};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const SUMS: Topic<String, i64> = Topic::new("sums");
    /// const PRICE: StoreName<String, i64> = StoreName::new("price");
    ///
    /// struct Keep(Versions<String, i64>);
    ///
    /// impl FixedKeyProcessor<String, i64, ()> for Keep {
    ///     fn process(
    ///         &mut self,
    ///         price: FixedKeyRecord<String, i64>,
    ///         to: &mut ForwardValues<'_, String, ()>,
    ///     ) -> Result<(), BoxError> {
    ///         self.0.put(to, price.key(), Some(&price.value), price.timestamp)
    ///     }
    /// }
    ///
    /// struct Multiply(Versions<String, i64>);
    ///
    /// impl FixedKeyProcessor<String, i64, i64> for Multiply {
    ///     fn process(
    ///         &mut self,
    ///         order: FixedKeyRecord<String, i64>,
    ///         to: &mut ForwardValues<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         if let Some(price) = self.0.get_as_of(to, order.key(), order.timestamp)? {
    ///             let sum = order.value * price.value;
    ///             to.forward(order.with_value(sum));
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let price = app.versions(&PRICE, DAY);
    /// let _ = app.stream(&PRICES).process_values_with(price.clone(), Keep);
    /// app.stream(&ORDERS).process_values_with(price, Multiply).to(&SUMS);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn versions<K: 'static, V: 'static>(
        &self,
        name: &StoreName<K, V>,
        history_retention: Duration,
    ) -> Versions<K, V> {
        let kind = StoreKind::Versioned {
            history_retention_ms: millis(history_retention),
        };
        Versions {
            bound: Bound::declare(self, name, kind),
            expiry: None,
        }
    }

    /// As [`versions`](Self::versions), for keys whose latest version ends by itself once nothing was put for them for
    /// `ttl`, by stream time or by the wall clock: from then on the key is deleted. By the wall clock the deletion has
    /// the stream time of that moment.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, DAY, HOUR, StoreName, Topic};
    /// # use tidemill_streams::{App, Clock, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Versions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const OFFERS: Topic<String, i64> = Topic::new("offers");
    /// # const BEST: Topic<String, i64> = Topic::new("best");
    /// const OFFER: StoreName<String, i64> = StoreName::new("offer");
    /// # struct Keep(Versions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Keep {
    /// fn process(
    ///     &mut self,
    ///     offer: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let before = self.0.get(to, offer.key())?.map_or(0, |version| version.value);
    ///     self.0.put(to, offer.key(), Some(&offer.value), offer.timestamp)?;
    ///     to.forward(offer.with_value(before));
    ///     Ok(())
    /// }
    /// # }
    ///
    /// # let app = App::new("docs");
    /// let offers = app.versions_with_ttl(&OFFER, DAY, HOUR, Clock::StreamTime); // an offer holds for an hour
    /// app.stream(&OFFERS).process_values_with(offers, Keep).to(&BEST);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&OFFERS, "tea", 5, ms(0));
    /// test.pipe(&OFFERS, "tea", 7, ms(3_599_999));
    /// test.pipe(&OFFERS, "tea", 9, ms(7_200_000)); // an hour later
    /// let before: Vec<i64> = test.read(&BEST).into_iter().map(|record| record.value).collect();
    /// assert_eq!(before, [0, 5, 0]);
    /// ```
    #[must_use]
    pub fn versions_with_ttl<K: 'static, V: 'static>(
        &self,
        name: &StoreName<K, V>,
        history_retention: Duration,
        ttl: Duration,
        clock: Clock,
    ) -> Versions<K, V> {
        let versions = self.versions(name, history_retention);
        let expiry = VersionExpiry::declare(self, &versions.bound.place, ttl, clock);
        Versions {
            expiry: Some(Arc::new(expiry)),
            ..versions
        }
    }
}

impl<K: 'static, V: 'static> Versions<K, V> {
    /// Puts the version of a key that is valid from `timestamp` on; without a value the key is deleted from then on.
    /// Where headers are preserved, the version keeps those of the record that is processed.
    /// A version older than the history is left out, and the record counts as dropped.
    ///
    /// # Errors
    /// When the processor is not connected to the store, key or value cannot be encoded, or the store not be read.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Versions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Versions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.put(to, record.key(), Some(&record.value), record.timestamp)?;
    ///     let latest = self.0.get(to, record.key())?.map_or(0, |version| version.value);
    ///     to.forward(record.with_value(latest));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.versions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(10));
    /// test.pipe(&IN, "a", 2, ms(5));
    /// test.pipe(&IN, "a", 3, ms(20));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 1, 3]);
    /// ```
    pub fn put(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        value: Option<&V>,
        timestamp: Timestamp,
    ) -> Result<(), BoxError> {
        let headers = at.headers.clone();
        self.write(at, key, value, (timestamp, &headers))
    }

    pub(super) fn write(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        value: Option<&V>,
        (timestamp, headers): (Timestamp, &Headers),
    ) -> Result<(), BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let value = value.map(|value| self.bound.value(value)).transpose()?.flatten();
        if let Some(expiry) = &self.expiry {
            let ended = expiry.end_if_over(at, &key);
            kept(at, ended)?;
        }
        let store = at.ctx.stores.versioned(id);
        let put = store.put_with_headers(&key, value.as_deref(), timestamp, headers);
        match (kept(at, put.map_err(Halt::from))?, &self.expiry) {
            (VersionPut::Expired, _) => at.ctx.drop_record(),
            (VersionPut::Latest, Some(expiry)) => {
                let written = expiry.written(at, &key, value.as_deref());
                kept(at, written)?;
            }
            (VersionPut::Latest, None) | (VersionPut::Superseded { .. }, _) => {}
        }
        Ok(())
    }

    /// The latest version of a key.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Versions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Versions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.put(to, record.key(), Some(&record.value), record.timestamp)?;
    ///     let since = self.0.get(to, record.key())?.map_or(0, |version| version.valid_from.millis());
    ///     to.forward(record.with_value(since));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.versions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(10));
    /// test.pipe(&IN, "a", 2, ms(5));
    /// test.pipe(&IN, "a", 3, ms(20));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [10, 10, 20]);
    /// ```
    pub fn get(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<Option<Versioned<V>>, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        if self.is_over(at, &key, Timestamp::MAX)? {
            return Ok(None);
        }
        let store = at.ctx.stores.versioned(id);
        let found = store
            .headers(&key)
            .and_then(|headers| Ok((store.get(&key)?, headers)));
        let found = self.version(found);
        kept(at, found)
    }

    /// The version of a key that was valid at a time.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, HOUR, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Versions};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("store");
    /// # struct Own(Versions<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     self.0.put(to, record.key(), Some(&record.value), record.timestamp)?;
    ///     let then = self.0.get_as_of(to, record.key(), ms(15))?.map_or(0, |version| version.value);
    ///     to.forward(record.with_value(then));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.versions(&STORE, HOUR);
    /// # app.stream(&IN).process_values_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(10));
    /// test.pipe(&IN, "a", 2, ms(20));
    /// test.pipe(&IN, "a", 3, ms(14));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [1, 1, 3]);
    /// ```
    pub fn get_as_of(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        time: Timestamp,
    ) -> Result<Option<Versioned<V>>, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        if self.is_over(at, &key, time)? {
            return Ok(None);
        }
        let store = at.ctx.stores.versioned(id);
        let headers = store.headers_as_of(&key, time);
        let found = headers.and_then(|headers| Ok((store.get_as_of(&key, time)?, headers)));
        let found = self.version(found);
        kept(at, found)
    }

    /// Whether the latest version has ended by a time, and only its deletion is still to come.
    fn is_over(&self, at: &mut ProcessorContext<'_>, key: &[u8], time: Timestamp) -> Result<bool, BoxError> {
        let Some(expiry) = &self.expiry else {
            return Ok(false);
        };
        let since = expiry.over_since(at, key);
        Ok(kept(at, since)?.is_some_and(|since| since <= time))
    }

    fn version(&self, found: Result<Found<'_>, StoreError>) -> Result<Option<Versioned<V>>, Halt> {
        let (Some(version), headers) = found? else {
            return Ok(None);
        };
        Ok(Some(Versioned {
            value: self.bound.decode_value(version.value)?,
            valid_from: version.valid_from,
            valid_to: version.valid_to,
            headers,
        }))
    }
}

impl<K: 'static, V: 'static> Stores for Versions<K, V> {}

impl<K: 'static, V: 'static> Sealed for Versions<K, V> {
    fn connect(&self, to: &mut Connected) {
        to.stores.push(self.bound.place.index);
        if let Some(expiry) = &self.expiry {
            to.stores.push(expiry.index());
            to.due.push(Arc::<VersionExpiry>::clone(expiry));
        }
    }
}
