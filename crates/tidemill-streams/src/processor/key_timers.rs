//! Timers of keys, that survive a restart.

use std::{any::Any, sync::Arc};

use tidemill_data::{BoxError, Headers, Place as At, StoreName, Timestamp, Wire};
use tidemill_store::StoreKind;

use super::{
    Connected, DueStore, ProcessorContext, Stores,
    bound::{Bound, Place, kept},
    due::{BY_TIME, Due, due_entries, split_time, time_bytes},
    stores::Sealed,
};
use crate::{
    App, Clock,
    failure::{Halt, TaskError},
    graph::StoreIndex,
};

/// One timer a key, kept in a store of the app: it is still there after a restart.
///
/// Made by [`App::key_timers`] and given to one [`KStream::process_with`](crate::KStream::process_with), whose
/// processors set it. When it is due, [`Processor::timer`](crate::Processor::timer) is called with the key, once. The
/// keys are those of the operator's records.
///
/// ```text
/// 0 | key                           -> due (8, sign flipped)
/// 1 | due (8, sign flipped) | key   -> nothing
/// ```
pub struct KeyTimers<K> {
    wheel: Arc<Wheel<K>>,
}

struct Wheel<K> {
    key: Wire<K>,
    bound: Bound<Vec<u8>, Vec<u8>>,
    clock: Clock,
}

const BY_KEY: u8 = 0;
const BY_DUE: u8 = 1;

impl<K> Clone for KeyTimers<K> {
    fn clone(&self) -> Self {
        Self {
            wheel: Arc::clone(&self.wheel),
        }
    }
}

impl App {
    /// Timers of keys, by stream time or by the wall clock, for one processor.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, StoreName, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, Forward, KeyTimers, Processor, Record};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const GONE: Topic<String, String> = Topic::new("gone");
    /// const IDLE: StoreName<String, ()> = StoreName::new("idle");
    ///
    /// struct Leaving {
    ///     idle: KeyTimers<String>,
    /// }
    ///
    /// impl Processor<String, String, String, String> for Leaving {
    ///     fn process(
    ///         &mut self,
    ///         record: Record<String, String>,
    ///         to: &mut Forward<'_, String, String>,
    ///     ) -> Result<(), BoxError> {
    ///         self.idle.set(to, &record.key, record.timestamp.saturating_add(30 * MINUTE))
    ///     }
    ///
    ///     fn timer(
    ///         &mut self,
    ///         key: String,
    ///         due: Timestamp,
    ///         to: &mut Forward<'_, String, String>,
    ///     ) -> Result<(), BoxError> {
    ///         let value = "left".to_owned();
    ///         to.forward(Record { key, value, timestamp: due, headers: Default::default() });
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let idle = app.key_timers(&IDLE, Clock::WallClock);
    /// app.stream(&CLICKS).process_with(idle, |idle| Leaving { idle }).to(&GONE);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn key_timers<K: 'static>(&self, name: &StoreName<K, ()>, clock: Clock) -> KeyTimers<K> {
        let wheel = Wheel {
            key: name.key().clone(),
            bound: Bound::declare(self, &StoreName::named(name.name()), StoreKind::KeyValue),
            clock,
        };
        KeyTimers {
            wheel: Arc::new(wheel),
        }
    }
}

impl<K: 'static> KeyTimers<K> {
    /// Sets the timer of a key, in the place of one it may have. A time that has come is due at once: after this
    /// record, or at the clock's next move if it is set in a punctuation.
    ///
    /// # Errors
    /// When the processor is not connected to the timers, the key cannot be encoded, or the store not be read.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, SECOND, StoreName, Timestamp, Topic};
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
    ///     self.0.set(to, &record.key, record.timestamp.saturating_add(10 * SECOND))?; // ten seconds without it
    ///     Ok(())
    /// }
    /// fn timer(&mut self, key: String, due: Timestamp, to: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    ///     to.forward(Record::new(key, due.millis(), due));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_timers(&STORE, Clock::StreamTime);
    /// # app.stream(&IN).process_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(0));
    /// test.pipe(&IN, "a", 2, ms(5000));
    /// test.pipe(&IN, "b", 3, ms(14999));
    /// test.pipe(&IN, "b", 4, ms(15000));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [15_000]);
    /// ```
    pub fn set(&self, at: &mut ProcessorContext<'_>, key: &K, due: Timestamp) -> Result<(), BoxError> {
        let key = self.wheel.key_bytes(key)?;
        self.wheel.remove(at, &key)?;
        let id = at.store(&self.wheel.bound.place)?;
        let (timestamp, time) = (at.timestamp, time_bytes(due));
        let store = at.ctx.stores.key_value(id);
        store.put(&[&[BY_KEY], key.as_slice()].concat(), &time, timestamp);
        store.put(&[&[BY_DUE], time.as_slice(), &key].concat(), &[], timestamp);
        // In a punctuation, not before the clock moves: a timer that sets itself again would never let it end.
        let earliest = at.punctuating.map_or(Timestamp::MIN, |now| {
            Timestamp::from_millis(now.millis().saturating_add(1))
        });
        let place = self.wheel.bound.place.index;
        at.ctx
            .schedules
            .due_in(at.node, self.wheel.clock, place, due.max(earliest));
        Ok(())
    }

    /// Removes the timer of a key.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, SECOND, StoreName, Timestamp, Topic};
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
    ///     match record.value {
    ///         0 => self.0.cancel(to, &record.key)?,
    ///         _ => self.0.set(to, &record.key, record.timestamp.saturating_add(10 * SECOND))?,
    ///     }
    ///     Ok(())
    /// }
    /// fn timer(&mut self, key: String, due: Timestamp, to: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    ///     to.forward(Record::new(key, due.millis(), due));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_timers(&STORE, Clock::StreamTime);
    /// # app.stream(&IN).process_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(0));
    /// test.pipe(&IN, "b", 2, ms(1000));
    /// test.pipe(&IN, "a", 0, ms(2000));
    /// test.pipe(&IN, "c", 3, ms(20000));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [11_000]);
    /// ```
    pub fn cancel(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<(), BoxError> {
        let key = self.wheel.key_bytes(key)?;
        self.wheel.remove(at, &key).map(|_| ())
    }

    /// When the timer of a key is due, if it has one.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, SECOND, StoreName, Timestamp, Topic};
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
    ///     if self.0.due(to, &record.key)?.is_none() {
    ///         self.0.set(to, &record.key, record.timestamp.saturating_add(10 * SECOND))?; // ten seconds from the first
    ///     }
    ///     Ok(())
    /// }
    /// fn timer(&mut self, key: String, due: Timestamp, to: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    ///     to.forward(Record::new(key, due.millis(), due));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let store = app.key_timers(&STORE, Clock::StreamTime);
    /// # app.stream(&IN).process_with(store, Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(0));
    /// test.pipe(&IN, "a", 2, ms(5000));
    /// test.pipe(&IN, "b", 3, ms(10000));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [10_000]);
    /// ```
    pub fn due(&self, at: &mut ProcessorContext<'_>, key: &K) -> Result<Option<Timestamp>, BoxError> {
        let key = self.wheel.key_bytes(key)?;
        self.wheel.due(at, &key)
    }

    /// Takes the timers that are due, at most some.
    pub(crate) fn take_due(&self, at: &mut ProcessorContext<'_>, now: Timestamp) -> Result<Due<K>, BoxError> {
        let Due { entries, next } = self.wheel.due_at(at, now)?;
        let mut keys = Vec::with_capacity(entries.len());
        for (time, key) in entries {
            self.wheel.remove(at, &key)?;
            keys.push((time, self.wheel.decode(at, &key)?));
        }
        Ok(Due { entries: keys, next })
    }

    /// These timers, if they are what a store says it has.
    pub(crate) fn of(store: &dyn DueStore) -> Option<Result<Self, &'static str>> {
        let any = store.timers()?;
        let timers = any.downcast_ref::<Self>().cloned();
        Some(timers.ok_or("its keys are of another type than the records'"))
    }
}

impl<K: 'static> Wheel<K> {
    fn key_bytes(&self, key: &K) -> Result<Vec<u8>, BoxError> {
        let (none, mut bytes) = (Headers::new(), Vec::new());
        let _ = self.key.encode(At::key("", &none), key, &mut bytes)?;
        Ok(bytes)
    }

    fn decode(&self, at: &mut ProcessorContext<'_>, key: &[u8]) -> Result<K, BoxError> {
        let none = Headers::new();
        let decoded = self.key.decode(At::key("", &none), Some(key));
        let decoded = decoded.map_err(|error| {
            let state = TaskError::State {
                store: self.bound.place.name.clone(),
                error: error.into(),
            };
            Halt::from(state)
        });
        kept(at, decoded)
    }

    fn due(&self, at: &mut ProcessorContext<'_>, key: &[u8]) -> Result<Option<Timestamp>, BoxError> {
        let id = at.store(&self.bound.place)?;
        let by_key = [&[BY_KEY], key].concat();
        let found = at.ctx.stores.key_value(id).get(&by_key);
        let due = found.map(|found| found.and_then(split_time).map(|(due, _)| due));
        kept(at, due.map_err(Halt::from))
    }

    fn remove(&self, at: &mut ProcessorContext<'_>, key: &[u8]) -> Result<(), BoxError> {
        let Some(due) = self.due(at, key)? else {
            return Ok(());
        };
        let id = at.store(&self.bound.place)?;
        let timestamp = at.timestamp;
        let store = at.ctx.stores.key_value(id);
        store.delete(&[&[BY_KEY], key].concat(), timestamp);
        store.delete(&[&[BY_DUE], time_bytes(due).as_slice(), key].concat(), timestamp);
        Ok(())
    }

    fn due_at(&self, at: &mut ProcessorContext<'_>, now: Timestamp) -> Result<Due<Vec<u8>>, BoxError> {
        let id = at.store(&self.bound.place)?;
        let rows = at.ctx.stores.key_value(id).prefix(&[BY_DUE], BY_TIME);
        let due = rows
            .map_err(Halt::from)
            .and_then(|rows| due_entries(rows, 1, now));
        kept(at, due)
    }
}

/// As the topology sees it, without the type of keys.
struct Timed<K>(KeyTimers<K>);

impl<K: 'static> DueStore for Timed<K> {
    fn index(&self) -> StoreIndex {
        self.place().index
    }

    fn clock(&self) -> Clock {
        self.0.wheel.clock
    }

    fn timers(&self) -> Option<&(dyn Any + Send + Sync)> {
        Some(&self.0)
    }

    fn expire(&self, _: &mut ProcessorContext<'_>, _: Timestamp) -> Result<Option<Timestamp>, BoxError> {
        Ok(None)
    }
}

impl<K> Timed<K> {
    fn place(&self) -> &Place {
        &self.0.wheel.bound.place
    }
}

impl<K: 'static> Stores for KeyTimers<K> {}

impl<K: 'static> Sealed for KeyTimers<K> {
    fn connect(&self, to: &mut Connected) {
        to.stores.push(self.wheel.bound.place.index);
        to.due.push(Arc::new(Timed(self.clone())));
    }
}
