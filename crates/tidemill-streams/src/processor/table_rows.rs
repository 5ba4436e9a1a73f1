//! The rows of a table, for processors to look up.

use std::sync::Arc;

use tidemill_data::{BoxError, Headers, Stamped, Timestamp};

use super::{Connected, ProcessorContext, Stores, bound::kept, stores::Sealed};
use crate::{
    GlobalKTable, KTable,
    graph::{NodeId, StoreIndex},
    table::{Getter, LookedUp},
};

/// The rows of a table as a processor sees them: what the table has when the record is processed.
///
/// Made by [`KTable::rows`] or [`GlobalKTable::rows`], and given to
/// [`KStream::process_with`](crate::KStream::process_with) as the handle of a store is. Rows can only be read.
pub struct TableRows<K, V> {
    getter: Arc<dyn Getter<K, V>>,
    stores: Vec<StoreIndex>,
    sources: Vec<NodeId>,
    table: Arc<str>,
}

impl<K, V> Clone for TableRows<K, V> {
    fn clone(&self) -> Self {
        Self {
            getter: Arc::clone(&self.getter),
            stores: self.stores.clone(),
            sources: self.sources.clone(),
            table: Arc::clone(&self.table),
        }
    }
}

impl<K: 'static, V: 'static> KTable<K, V> {
    /// The table's rows, for processors to look up by key. The topics of the stream and of the table must have the same
    /// number of partitions, as for a join. A table that keeps no rows of its own makes them of those it comes from.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, TableRows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const CHECKED: Topic<String, i64> = Topic::new("checked");
    /// const TOTALS: StoreName<String, i64> = StoreName::new("totals");
    ///
    /// struct Check(TableRows<String, i64>);
    ///
    /// impl FixedKeyProcessor<String, i64, i64> for Check {
    ///     fn process(
    ///         &mut self,
    ///         order: FixedKeyRecord<String, i64>,
    ///         to: &mut ForwardValues<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         let total = self.0.get(to, order.key())?.unwrap_or(0);
    ///         if total <= 1_000 {
    ///             to.forward(order);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let orders = app.stream(&ORDERS);
    /// let totals = orders.clone().group_by_key().sum(&TOTALS, |_, cents| cents);
    /// orders.process_values_with(totals.rows(), Check).to(&CHECKED);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&ORDERS, "ada", 900, ms(1));
    /// test.pipe(&ORDERS, "ada", 200, ms(2)); // 1,100 in all
    /// assert_eq!(test.read(&CHECKED).len(), 1);
    /// ```
    #[must_use]
    pub fn rows(&self) -> TableRows<K, V> {
        let lookup = self.rows.lookup(&self.builder);
        let mut graph = self.builder.lock();
        TableRows {
            getter: lookup.getter,
            stores: lookup.stores,
            sources: graph.sources_of(self.node),
            table: graph.node(self.node).name.as_str().into(),
        }
    }
}

impl<K: 'static, V: 'static> GlobalKTable<K, V> {
    /// The table's rows, for processors to look up by key, of whatever partition.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, TableRows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const RATES: Topic<String, i64> = Topic::new("rates");
    /// # const SUMS: Topic<String, i64> = Topic::new("sums");
    /// # const CONVERTED: Topic<String, i64> = Topic::new("converted");
    /// # struct Convert(TableRows<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Convert {
    /// fn process(
    ///     &mut self,
    ///     sum: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let percent = self.0.get(to, &"usd".to_owned())?.ok_or("no rate yet")?;
    ///     let converted = sum.value * percent / 100;
    ///     to.forward(sum.with_value(converted));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// let rates = app.global_table(&RATES);
    /// app.stream(&SUMS).process_values_with(rates.rows(), Convert).to(&CONVERTED);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&RATES, "usd", 90, ms(1));
    /// test.pipe(&SUMS, "ada", 200, ms(2));
    /// assert_eq!(test.read(&CONVERTED)[0].value, 180);
    /// ```
    #[must_use]
    pub fn rows(&self) -> TableRows<K, V> {
        TableRows {
            getter: Arc::clone(&self.rows) as Arc<dyn Getter<K, V>>,
            // Every task has them, so nothing brings operators together.
            stores: Vec::new(),
            sources: Vec::new(),
            table: self.rows.name().into(),
        }
    }
}

impl<K: 'static, V: 'static> TableRows<K, V> {
    /// The row of a key.
    ///
    /// # Errors
    /// When the processor was not given these rows, or the store cannot be read.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, TableRows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const NAMED: Topic<String, String> = Topic::new("named");
    /// # struct Name(TableRows<String, String>);
    /// # impl FixedKeyProcessor<String, String, String> for Name {
    /// fn process(
    ///     &mut self,
    ///     click: FixedKeyRecord<String, String>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     if let Some(name) = self.0.get(to, click.key())? {
    ///         to.forward(click.with_value(name));
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let names = app.table(&NAMES).rows();
    /// # app.stream(&CLICKS).process_values_with(names, Name).to(&NAMED);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&NAMES, "u1", "ada", ms(1));
    /// test.pipe(&CLICKS, "u1", "home", ms(2));
    /// assert_eq!(test.read(&NAMED)[0].value, "ada");
    /// ```
    pub fn get(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<Option<V>, BoxError> {
        Ok(self.look_up(at, key, None)?.map(|row| row.value))
    }

    /// The row of a key with its time: that of the record which made it what it is.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, TableRows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const AGES: Topic<String, i64> = Topic::new("ages");
    /// # struct Age(TableRows<String, String>);
    /// # impl FixedKeyProcessor<String, String, i64> for Age {
    /// fn process(
    ///     &mut self,
    ///     click: FixedKeyRecord<String, String>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     if let Some(name) = self.0.get_stamped(to, click.key())? {
    ///         let age_ms = click.timestamp.millis() - name.timestamp.millis();
    ///         to.forward(click.with_value(age_ms));
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let names = app.table(&NAMES).rows();
    /// # app.stream(&CLICKS).process_values_with(names, Age).to(&AGES);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&NAMES, "u1", "ada", ms(1));
    /// test.pipe(&CLICKS, "u1", "home", ms(20));
    /// assert_eq!(test.read(&AGES)[0].value, 19);
    /// ```
    pub fn get_stamped(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
    ) -> Result<Option<Stamped<V>>, BoxError> {
        let row = self.look_up(at, key, None)?;
        Ok(row.map(|row| Stamped::new(row.value, row.timestamp)))
    }

    /// The row that a key had at a time, as far back as the history of a versioned table goes; of other tables the row of
    /// now.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, DAY, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, TableRows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const PRICE: StoreName<String, i64> = StoreName::new("price");
    /// # const SUMS: Topic<String, i64> = Topic::new("sums");
    /// # struct Sum(TableRows<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Sum {
    /// fn process(
    ///     &mut self,
    ///     order: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let price = self.0.get_as_of(to, order.key(), order.timestamp)?.ok_or("it had no price")?;
    ///     let sum = order.value * price.value;
    ///     to.forward(order.with_value(sum));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// let prices = app.table_versioned(&PRICES, &PRICE, DAY);
    /// app.stream(&ORDERS).process_values_with(prices.rows(), Sum).to(&SUMS);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "tea", 5, ms(10));
    /// test.pipe(&PRICES, "tea", 6, ms(20));
    /// test.pipe(&ORDERS, "tea", 2, ms(15)); // it comes late
    /// assert_eq!(test.read(&SUMS)[0].value, 10);
    /// ```
    pub fn get_as_of(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        time: Timestamp,
    ) -> Result<Option<Stamped<V>>, BoxError> {
        let row = self.look_up(at, key, Some(time))?;
        Ok(row.map(|row| Stamped::new(row.value, row.timestamp)))
    }

    /// The headers of a key's row; none if there is none, or headers are not
    /// [preserved](crate::App::preserve_headers).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Headers, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, Record, TableRows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const NAMES: Topic<String, String> = Topic::new("names");
    /// # const NAMED: Topic<String, String> = Topic::new("named");
    /// # struct Name(TableRows<String, String>);
    /// # impl FixedKeyProcessor<String, String, String> for Name {
    /// fn process(
    ///     &mut self,
    ///     mut click: FixedKeyRecord<String, String>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     click.headers = self.0.headers(to, click.key())?;
    ///     to.forward(click);
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let names = app.table(&NAMES).rows();
    /// # app.stream(&CLICKS).process_values_with(names, Name).to(&NAMED);
    /// app.preserve_headers();
    /// # let mut test = TestDriver::new(&app);
    /// let headers = Headers::new().with("from", "the-register");
    /// test.try_pipe(&NAMES, Record { headers, ..Record::new("u1".into(), "ada".into(), ms(1)) }).unwrap();
    /// test.pipe(&CLICKS, "u1", "home", ms(2));
    /// assert!(test.read(&NAMED)[0].headers.last("from").is_some());
    /// ```
    pub fn headers(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<Headers, BoxError> {
        let row = self.look_up(at, key, None)?;
        Ok(row.map(|row| row.headers).unwrap_or_default())
    }

    fn look_up(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
        time: Option<Timestamp>,
    ) -> Result<Option<LookedUp<V>>, BoxError> {
        at.connected(&self.stores, &self.table)?;
        let found = match time {
            None => self.getter.get(at.ctx, at.node, key),
            Some(time) => self.getter.get_as_of(at.ctx, at.node, key, time),
        };
        kept(at, found)
    }
}

impl<K: 'static, V: 'static> Stores for TableRows<K, V> {}

impl<K: 'static, V: 'static> Sealed for TableRows<K, V> {
    fn connect(&self, to: &mut Connected) {
        to.stores.extend_from_slice(&self.stores);
        to.sources.extend_from_slice(&self.sources);
    }
}
