//! The rows of a global store, as the function sees them that fills it.

use std::ops::RangeBounds;

use tidemill_data::{BoxError, Place, Stamped, Timestamp, Wire};
use tidemill_store::{Direction, StoreError, TimestampedStore};

use super::{RecordMetadata, StoreRows, bound::Bound, context::stop, wanted::Wanted};
use crate::{
    RawRecord, Record,
    failure::{Halt, Step, guard},
};

/// The rows of a global store, for the function that fills it: see [`App::global_store`](crate::App::global_store).
pub struct GlobalStoreRows<'a, K, V> {
    store: &'a mut TimestampedStore,
    bound: &'a Bound<K, V>,
    met: Met<'a>,
    halted: &'a mut Option<Halt>,
}

/// A record of a global store's topic.
#[derive(Clone, Copy)]
pub(crate) struct Met<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) record: &'a RawRecord,
    /// Its own, or what the program makes its time.
    pub(crate) timestamp: Timestamp,
}

/// Why a record did not get through the function.
pub(crate) enum Fault {
    /// It is to blame: the policy decides.
    Record(Step, BoxError),
    /// The store cannot go on.
    Store(Halt),
}

/// Turns records into rows.
pub(crate) trait FillGlobal: Send + Sync {
    fn fill(&self, store: &mut TimestampedStore, met: Met<'_>) -> Result<(), Fault>;
}

/// The user's function, and the formats on both of its sides.
pub(crate) struct Filling<K, V, L, W, F> {
    pub(crate) key: Wire<K>,
    pub(crate) value: Wire<V>,
    pub(crate) bound: Bound<L, W>,
    pub(crate) fill: F,
}

impl<K: 'static, V: 'static, L: 'static, W: 'static, F> FillGlobal for Filling<K, V, L, W, F>
where
    F: Fn(Record<K, V>, &mut GlobalStoreRows<'_, L, W>) -> Result<(), BoxError> + Send + Sync,
{
    fn fill(&self, store: &mut TimestampedStore, met: Met<'_>) -> Result<(), Fault> {
        let raw = met.record;
        let decoded = guard(|| {
            let at = Place::key(met.topic, &raw.headers);
            let key = self.key.decode(at, raw.key.as_deref())?;
            let at = Place::value(met.topic, &raw.headers);
            let value = self.value.decode(at, raw.value.as_deref())?;
            Ok::<_, BoxError>((key, value))
        });
        let (key, value) = decoded
            .and_then(|decoded| decoded)
            .map_err(|error| Fault::Record(Step::Decode, error))?;
        let record = Record {
            key,
            value,
            timestamp: met.timestamp,
            headers: raw.headers.clone(),
        };
        let mut halted = None;
        let mut rows = GlobalStoreRows {
            store,
            bound: &self.bound,
            met,
            halted: &mut halted,
        };
        let done = guard(|| (self.fill)(record, &mut rows)).and_then(|done| done);
        match (halted, done) {
            (Some(halt), _) => Err(Fault::Store(halt)),
            (None, Err(error)) => Err(Fault::Record(Step::Process, error)),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl<K: 'static, V: 'static> GlobalStoreRows<'_, K, V> {
    /// The row of a key.
    ///
    /// # Errors
    /// When the key cannot be encoded, or the store cannot be read.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const SALES: Topic<String, i64> = Topic::new("sales");
    /// # const BEST: StoreName<String, i64> = StoreName::new("best");
    /// # let app = App::new("docs");
    /// let best = app.global_store(&SALES, &BEST, |sale, rows| {
    ///     let best = rows.get(&sale.key)?.unwrap_or(0);
    ///     rows.put(&sale.key, &sale.value.max(best))
    /// });
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&SALES, "ulm", 7, ms(1));
    /// test.pipe(&SALES, "ulm", 3, ms(2));
    /// assert_eq!(test.rows(&BEST)[0].1.value, 7);
    /// ```
    pub fn get(&mut self, key: &K) -> Result<Option<V>, BoxError> {
        Ok(self.get_stamped(key)?.map(|row| row.value))
    }

    /// The row of a key with its time: that of the record that put it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const PRICES: Topic<String, i64> = Topic::new("prices");
    /// # const LATEST: StoreName<String, i64> = StoreName::new("latest");
    /// # let app = App::new("docs");
    /// let latest = app.global_store(&PRICES, &LATEST, |price, rows| {
    ///     let known = rows.get_stamped(&price.key)?;
    ///     if known.is_none_or(|known| known.timestamp <= price.timestamp) {
    ///         rows.put(&price.key, &price.value)?;
    ///     }
    ///     Ok(())
    /// });
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&PRICES, "tea", 7, ms(20));
    /// test.pipe(&PRICES, "tea", 3, ms(10)); // it comes late
    /// assert_eq!(test.rows(&LATEST)[0].1.value, 7);
    /// ```
    pub fn get_stamped(&mut self, key: &K) -> Result<Option<Stamped<V>>, BoxError> {
        let key = self.bound.key(key)?;
        let found = match self.store.get(&key) {
            Ok(None) => Ok(None),
            Ok(Some((value, timestamp))) => self
                .bound
                .decode_value(value)
                .map(|value| Some(Stamped::new(value, timestamp))),
            Err(error) => Err(error.into()),
        };
        found.map_err(|halt| stop(self.halted, halt))
    }

    /// Puts the row of a key, with the time and the headers of the record. A value that is null deletes.
    ///
    /// # Errors
    /// When the key or the value cannot be encoded.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const USERS: Topic<i64, String> = Topic::new("users");
    /// # const BY_MAIL: StoreName<String, i64> = StoreName::new("by-mail");
    /// # let app = App::new("docs");
    /// let by_mail = app.global_store(&USERS, &BY_MAIL, |user, rows| rows.put(&user.value, &user.key));
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&USERS, 7, "ada@example.org", ms(1));
    /// assert_eq!(test.rows(&BY_MAIL)[0].1.value, 7);
    /// ```
    pub fn put(&mut self, key: &K, value: &V) -> Result<(), BoxError> {
        let (key, value) = (self.bound.key(key)?, self.bound.value(value)?);
        let at = self.met.timestamp;
        match value {
            Some(value) => self
                .store
                .put_with_headers(&key, &value, at, &self.met.record.headers),
            None => self.store.delete(&key, at),
        }
        Ok(())
    }

    /// Deletes the row of a key, if there is one.
    ///
    /// # Errors
    /// When the key cannot be encoded.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const DOORS: Topic<String, bool> = Topic::new("doors");
    /// # const OPEN: StoreName<String, bool> = StoreName::new("open");
    /// # let app = App::new("docs");
    /// let open = app.global_store(&DOORS, &OPEN, |door, rows| match door.value {
    ///     true => rows.put(&door.key, &true),
    ///     false => rows.delete(&door.key),
    /// });
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&DOORS, "front", true, ms(1));
    /// test.pipe(&DOORS, "front", false, ms(2));
    /// assert!(test.rows(&OPEN).is_empty());
    /// ```
    pub fn delete(&mut self, key: &K) -> Result<(), BoxError> {
        let key = self.bound.key(key)?;
        self.store.delete(&key, self.met.timestamp);
        Ok(())
    }

    /// The rows of a range of keys, in the order of their bytes. To write for each, collect them first.
    ///
    /// # Errors
    /// When a key of the range cannot be encoded, or the store cannot be read.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::{App, Direction};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const EVENTS: Topic<String, String> = Topic::new("events");
    /// # const SEEN: StoreName<String, String> = StoreName::new("seen");
    /// # let app = App::new("docs");
    /// let seen = app.global_store(&EVENTS, &SEEN, |event, rows| {
    ///     if event.value == "clear" {
    ///         let keys: Result<Vec<_>, _> = rows.range(..=event.key, Direction::Forward)?.collect();
    ///         for (key, _) in keys? {
    ///             rows.delete(&key)?;
    ///         }
    ///         return Ok(());
    ///     }
    ///     rows.put(&event.key, &event.value)
    /// });
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&EVENTS, "a", "x", ms(1));
    /// test.pipe(&EVENTS, "c", "x", ms(2));
    /// test.pipe(&EVENTS, "b", "clear", ms(3));
    /// assert_eq!(test.rows(&SEEN).len(), 1);
    /// ```
    pub fn range<'a>(
        &'a mut self,
        keys: impl RangeBounds<K>,
        direction: Direction,
    ) -> Result<StoreRows<'a, (K, V)>, BoxError> {
        let span = self.bound.span(&keys)?;
        let rows = self
            .store
            .range(span.from.as_deref(), span.to.as_deref(), direction);
        let mut rows = rows.map_err(|error: StoreError| stop(self.halted, error))?;
        let (bound, wanted) = (self.bound, Wanted::Span(span));
        Ok(StoreRows::new(self.halted, move || {
            while let Some((key, value, _)) = rows.entry() {
                let row = wanted.takes(key).then(|| bound.row(key, value)).transpose()?;
                let headers = rows.headers()?;
                rows.advance()?;
                if let Some(row) = row {
                    return Ok(Some((row, headers)));
                }
            }
            Ok(None)
        }))
    }

    /// Where the record was read.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const NODES: Topic<String, String> = Topic::new("nodes");
    /// # const OFFSETS: StoreName<String, i64> = StoreName::new("offsets");
    /// # let app = App::new("docs");
    /// let offsets = app.global_store(&NODES, &OFFSETS, |node, rows| {
    ///     let offset = rows.metadata().offset;
    ///     rows.put(&node.key, &offset)
    /// });
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&NODES, "a", "up", ms(1));
    /// test.pipe(&NODES, "b", "up", ms(2));
    /// assert_eq!(test.rows(&OFFSETS)[1].1.value, 1);
    /// ```
    #[must_use]
    pub fn metadata(&self) -> RecordMetadata {
        RecordMetadata {
            topic: self.met.topic.to_owned(),
            partition: self.met.partition,
            offset: self.met.record.offset,
        }
    }
}
