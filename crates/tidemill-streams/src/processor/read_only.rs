//! Stores that are filled straight from a topic, which is their changelog as well: processors read them only.

use std::{ops::RangeBounds, sync::Arc};

use tidemill_data::{BoxError, Data, Headers, Place as At, Stamped, StoreName, Topic, Wire};
use tidemill_store::{Direction, StoreKind};

use super::{
    Connected, ProcessorContext, StoreRows, Stores,
    bound::{Bound, kept, prefix_bytes},
    stores::Sealed,
    wanted::Wanted,
};
use crate::{
    App, Materialized, RawRecord, Record, Reset, TopicRole,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::{Halt, guard},
    graph::{FilledDecl, GlobalCheck, NodeId, StoreIndex},
    operators::{NullKeys, nullable, read},
};

/// The latest record of each key of a topic, for processors to read: see [`App::read_only_state_store`].
pub struct ReadOnlyKeyValues<K, V> {
    pub(super) bound: Bound<K, V>,
    source: NodeId,
}

impl<K, V> Clone for ReadOnlyKeyValues<K, V> {
    fn clone(&self) -> Self {
        Self {
            bound: self.bound.clone(),
            source: self.source,
        }
    }
}

impl App {
    /// A store for processors that has, for each key of a topic, the value of its latest record; a record with a null
    /// value deletes its key.
    ///
    /// No operator writes it, and there is no changelog of its own: the topic is what the store is restored from, as far
    /// as the app has read it. So the topic should be compacted, and is read from its start (`auto.offset.reset` does not
    /// matter). It needs as many partitions as the inputs of the processors that read the store. Records without a key
    /// are dropped; what cannot be read is for the policy, and never gets into the store. The rows have the topic's own
    /// bytes, so `store` has to have the formats of `topic`.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, Forward, Processor, ReadOnlyKeyValues, Record};
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const BILLS: Topic<String, i64> = Topic::new("bills");
    /// const PRICES: Topic<String, i64> = Topic::new("prices");
    /// const KNOWN_PRICES: StoreName<String, i64> = StoreName::new("known-prices");
    ///
    /// struct Bill {
    ///     prices: ReadOnlyKeyValues<String, i64>,
    /// }
    ///
    /// impl Processor<String, i64, String, i64> for Bill {
    ///     fn process(
    ///         &mut self,
    ///         order: Record<String, i64>,
    ///         to: &mut Forward<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         let price = self.prices.get(to, &order.key)?.ok_or("nothing has this price")?;
    ///         let cents = order.value * price;
    ///         to.forward(order.with_value(cents));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let prices = app.read_only_state_store(&PRICES, &KNOWN_PRICES);
    /// app.stream(&ORDERS).process_with(prices, |prices| Bill { prices }).to(&BILLS);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn read_only_state_store<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        store: &StoreName<K, V>,
    ) -> ReadOnlyKeyValues<K, V> {
        let (key, value) = (topic.key().clone(), topic.value().clone());
        let materialized =
            Materialized::of(Some(store.name().to_owned()), key.clone(), value.clone()).without_changelog();
        let mut graph = self.builder.lock();
        let index = materialized.declare(&mut graph, "", StoreKind::Timestamped, true);
        let of = graph.topic(topic.name(), TopicRole::External);
        graph.input(of).reset.get_or_insert(Reset::Earliest);
        if graph.filled.iter().any(|filled| filled.topic == of) {
            let problem = format!(
                "topic {:?} fills two read-only stores: one is enough",
                topic.name()
            );
            graph.problems.push(problem);
        }
        graph.filled.push(FilledDecl {
            store: index,
            topic: of,
            check: Arc::new(Checked {
                topic: topic.name().to_owned(),
                key: key.clone(),
                value: value.clone(),
            }),
        });
        drop(graph);
        let source = crate::operators::source(&self.builder, None, &[(topic.name(), TopicRole::External)]);
        let records: Arc<Outlet<K, Option<V>>> = Outlet::new();
        read(
            &self.builder,
            source,
            &key,
            &nullable(&value),
            &records,
            NullKeys::Drop,
        );
        let mut graph = self.builder.lock();
        let node = graph.processor("KTABLE-SOURCE-", &[source]);
        graph.connect(node, &[index]);
        drop(graph);
        records.attach(node.0, Arc::new(Fill { store: index }));
        ReadOnlyKeyValues {
            bound: Bound::of_topic(index, store.name(), topic.name(), key, value),
            source,
        }
    }
}

/// Puts the record being processed into the store, as the bytes it came in.
struct Fill {
    store: StoreIndex,
}

impl<K: 'static, V: 'static> Edge<K, Option<V>> for Fill {
    fn send(&self, ctx: &mut Context, record: Record<K, Option<V>>) -> Flow {
        let id = ctx.store_id(self.store);
        let Some(current) = &ctx.current else {
            return Ok(());
        };
        let Some(key) = &current.record.key else {
            return Ok(());
        };
        let headers = if ctx.topology.preserves_headers {
            &current.record.headers
        } else {
            &Headers::new()
        };
        let store = ctx.stores.timestamped(id);
        match &current.record.value {
            Some(value) => store.put_with_headers(key, value, record.timestamp, headers),
            None => store.delete(key, record.timestamp),
        }
        Ok(())
    }
}

struct Checked<K, V> {
    topic: String,
    key: Wire<K>,
    value: Wire<V>,
}

impl<K: 'static, V: 'static> GlobalCheck for Checked<K, V> {
    fn check(&self, record: &RawRecord) -> Result<(), BoxError> {
        guard(|| {
            let key = At::key(&self.topic, &record.headers);
            let _ = self.key.decode(key, record.key.as_deref())?;
            if let Some(bytes) = &record.value {
                let value = At::value(&self.topic, &record.headers);
                let _ = self.value.decode(value, Some(bytes))?;
            }
            Ok::<_, BoxError>(())
        })
        .and_then(|checked| checked)
    }
}

impl<K: 'static, V: 'static> ReadOnlyKeyValues<K, V> {
    /// The value of a key.
    ///
    /// # Errors
    /// When the processor is not connected to the store, the key cannot be encoded, or the store not be read.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, ReadOnlyKeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("prices");
    /// # struct Prices(ReadOnlyKeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Prices {
    /// fn process(
    ///     &mut self,
    ///     order: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let price = self.0.get(to, order.key())?.unwrap_or(0);
    ///     to.forward(order.with_value(3 * price));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let prices = app.read_only_state_store(&PRICES, &STORE);
    /// # app.stream(&ORDERS).process_values_with(prices, Prices).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "book-1", 20, ms(1));
    /// test.pipe(&PRICES, "book-2", 30, ms(2));
    /// test.pipe(&PRICES, "pen", 2, ms(3));
    /// test.pipe(&ORDERS, "pen", 3, ms(4));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [6]);
    /// ```
    pub fn get(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<Option<V>, BoxError> {
        Ok(self.get_stamped(at, key)?.map(|row| row.value))
    }

    /// The value of a key, and the time of the record that had it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, ReadOnlyKeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("prices");
    /// # struct Prices(ReadOnlyKeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Prices {
    /// fn process(
    ///     &mut self,
    ///     order: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let known = self.0.get_stamped(to, order.key())?.ok_or("nothing has this price")?;
    ///     to.forward(order.with_value(known.timestamp.millis()));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let prices = app.read_only_state_store(&PRICES, &STORE);
    /// # app.stream(&ORDERS).process_values_with(prices, Prices).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "book-1", 20, ms(1));
    /// test.pipe(&PRICES, "book-2", 30, ms(2));
    /// test.pipe(&PRICES, "pen", 2, ms(3));
    /// test.pipe(&ORDERS, "book-2", 3, ms(4));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [2]);
    /// ```
    pub fn get_stamped(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &K,
    ) -> Result<Option<Stamped<V>>, BoxError> {
        let (id, key) = (at.store(&self.bound.place)?, self.bound.key(key)?);
        let row = at.ctx.stores.timestamped(id).get(&key).map_err(Halt::from);
        let found = row.and_then(|row| {
            row.map(|(value, timestamp)| Ok(Stamped::new(self.bound.decode_value(value)?, timestamp)))
                .transpose()
        });
        kept(at, found)
    }

    /// All rows, in the order of their keys' bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, ReadOnlyKeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("prices");
    /// # struct Prices(ReadOnlyKeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Prices {
    /// fn process(
    ///     &mut self,
    ///     order: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let mut sum = 0;
    ///     for row in self.0.all(to, Direction::Forward)? {
    ///         sum += row?.1;
    ///     }
    ///     to.forward(order.with_value(sum));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let prices = app.read_only_state_store(&PRICES, &STORE);
    /// # app.stream(&ORDERS).process_values_with(prices, Prices).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "book-1", 20, ms(1));
    /// test.pipe(&PRICES, "book-2", 30, ms(2));
    /// test.pipe(&PRICES, "pen", 2, ms(3));
    /// test.pipe(&ORDERS, "pen", 3, ms(4));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [52]);
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
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, ReadOnlyKeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("prices");
    /// # struct Prices(ReadOnlyKeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Prices {
    /// fn process(
    ///     &mut self,
    ///     order: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let mut sum = 0;
    ///     for row in self.0.range(to, "book-2".to_owned().., Direction::Forward)? {
    ///         sum += row?.1;
    ///     }
    ///     to.forward(order.with_value(sum));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let prices = app.read_only_state_store(&PRICES, &STORE);
    /// # app.stream(&ORDERS).process_values_with(prices, Prices).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "book-1", 20, ms(1));
    /// test.pipe(&PRICES, "book-2", 30, ms(2));
    /// test.pipe(&PRICES, "pen", 2, ms(3));
    /// test.pipe(&ORDERS, "pen", 3, ms(4));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [32]);
    /// ```
    pub fn range<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        keys: impl RangeBounds<K>,
        direction: Direction,
    ) -> Result<StoreRows<'a, (K, V)>, BoxError> {
        let wanted = Wanted::Span(self.bound.span(&keys)?);
        self.bound.timestamped_rows(at, wanted, direction, |_| true)
    }

    /// Rows with keys whose bytes start with those of `prefix`, in its type's own format.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, Direction, FixedKeyProcessor, FixedKeyRecord, ForwardValues, ReadOnlyKeyValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const STORE: StoreName<String, i64> = StoreName::new("prices");
    /// # struct Prices(ReadOnlyKeyValues<String, i64>);
    /// # impl FixedKeyProcessor<String, i64, i64> for Prices {
    /// fn process(
    ///     &mut self,
    ///     order: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let mut sum = 0;
    ///     for row in self.0.prefix(to, &"book-".to_owned(), Direction::Forward)? {
    ///         sum += row?.1;
    ///     }
    ///     to.forward(order.with_value(sum));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let prices = app.read_only_state_store(&PRICES, &STORE);
    /// # app.stream(&ORDERS).process_values_with(prices, Prices).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "book-1", 20, ms(1));
    /// test.pipe(&PRICES, "book-2", 30, ms(2));
    /// test.pipe(&PRICES, "pen", 2, ms(3));
    /// test.pipe(&ORDERS, "pen", 3, ms(4));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [50]);
    /// ```
    pub fn prefix<'a, P: Data>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        prefix: &P,
        direction: Direction,
    ) -> Result<StoreRows<'a, (K, V)>, BoxError> {
        let wanted = Wanted::Prefix(prefix_bytes(prefix)?);
        self.bound.timestamped_rows(at, wanted, direction, |_| true)
    }
}

impl<K: 'static, V: 'static> Stores for ReadOnlyKeyValues<K, V> {}

impl<K: 'static, V: 'static> Sealed for ReadOnlyKeyValues<K, V> {
    fn connect(&self, to: &mut Connected) {
        to.stores.push(self.bound.place.index);
        to.sources.push(self.source);
    }
}
