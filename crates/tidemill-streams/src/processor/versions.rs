//! Versions of values by key: a processor's versioned store.

use std::time::Duration;

use tidemill_data::{BoxError, StoreName, Timestamp};
use tidemill_store::{StoreError, StoreKind, Version, VersionPut};

use super::{
    ProcessorContext,
    bound::{Bound, kept},
    stores::handle,
    windows::millis,
};
use crate::{App, failure::Halt};

/// A processor's values by key as they were at any time that the store's history goes back to.
pub struct Versions<K, V> {
    bound: Bound<K, V>,
}

handle!(Versions<K, V>);

impl<K, V> Clone for Versions<K, V> {
    fn clone(&self) -> Self {
        Self {
            bound: self.bound.clone(),
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
        }
    }
}

impl<K: 'static, V: 'static> Versions<K, V> {
    /// Puts the version of a key that is valid from `timestamp` on; without a value the key is deleted from then on.
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
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let value = value.map(|value| self.bound.value(value)).transpose()?.flatten();
        let put = at.ctx.stores.versioned(id).put(&key, value.as_deref(), timestamp);
        if kept(at, put.map_err(Halt::from))? == VersionPut::Expired {
            at.ctx.drop_record();
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
        let found = self.version(at.ctx.stores.versioned(id).get(&key));
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
        let found = self.version(at.ctx.stores.versioned(id).get_as_of(&key, time));
        kept(at, found)
    }

    fn version(&self, found: Result<Option<Version<'_>>, StoreError>) -> Result<Option<Versioned<V>>, Halt> {
        let Some(version) = found? else {
            return Ok(None);
        };
        Ok(Some(Versioned {
            value: self.bound.decode_value(version.value)?,
            valid_from: version.valid_from,
            valid_to: version.valid_to,
        }))
    }
}
