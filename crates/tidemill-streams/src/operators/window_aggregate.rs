//! Aggregation over tumbling and hopping windows, and what it shares with sliding ones.

use std::sync::Arc;

use tidemill_data::{BoxError, Headers, Timestamp, Windowed};
use tidemill_store::Direction;

use crate::{
    Change, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::Halt,
    graph::{NodeId, Punctuated},
    grouped::Wanted,
    punctuation::Schedule,
    window_rows::WindowRows,
    windows::{Forgetting, Shape, TimeWindows},
};

use super::{closer::Closer, open_windows::OpenWindows};

/// An aggregation over windows of a fixed size.
pub(super) struct WindowAggregate<K, V, A, I, F> {
    pub(super) node: NodeId,
    pub(super) windows: TimeWindows,
    pub(super) store: WindowRows<K, A>,
    pub(super) first: I,
    pub(super) work_in: F,
    pub(super) closer: Closer,
    pub(super) forgetting: Forgetting,
    pub(super) open: OpenWindows,
    pub(super) late: Option<Arc<Outlet<K, V>>>,
    pub(super) old: Wanted,
    pub(super) out: Arc<Outlet<Windowed<K>, Change<A>>>,
}

/// A row before a record is worked into it.
pub(super) struct Before<A> {
    pub(super) row: Option<A>,
    /// The same once more, if somebody downstream asked for it.
    pub(super) old: Option<A>,
    pub(super) timestamp: Timestamp,
}

/// A record with its key's bytes, on its way into windows.
pub(super) struct Arrival<'a, K> {
    pub(super) key: &'a K,
    pub(super) bytes: &'a [u8],
    pub(super) timestamp: Timestamp,
    pub(super) headers: &'a Headers,
    /// Windows that end at this time or before have closed; one that ends inclusively there has not.
    pub(super) close_ms: i64,
}

impl<K, V, A, I, F> WindowAggregate<K, V, A, I, F>
where
    K: Clone + 'static,
    V: 'static,
    A: 'static,
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    /// Takes a record's time in; when windows close now. `None` for times before 1970, which have no windows.
    pub(super) fn arrived<W>(&self, ctx: &mut Context, record: &Record<K, W>) -> Result<Option<i64>, Halt> {
        if record.timestamp.millis() < 0 {
            ctx.drop_record();
            return Ok(None);
        }
        let time = self.closer.arrived(ctx, record.timestamp);
        let close_ms = time.millis().saturating_sub(self.windows.closing.grace_ms);
        // What closed with this record's time goes before the record makes the store forget it.
        if self.closer.emits_on_close() && self.forgetting == Forgetting::WhenUnneeded {
            let forgets = self.forgets(ctx, record.timestamp.millis());
            if self.closer.may_emit(ctx) || forgets {
                self.emit(ctx, close_ms, &record.headers)?;
            }
        }
        Ok(Some(close_ms))
    }

    /// Whether the store forgets windows that may not have been emitted when it gets those of a record.
    fn forgets(&self, ctx: &Context, at_ms: i64) -> bool {
        let newest_ms = at_ms.saturating_add(1);
        let forgotten_ms = newest_ms.saturating_sub(self.store.retention_ms);
        forgotten_ms >= self.first_unemitted(self.closer.emitted_ms(ctx))
    }

    /// What a window begins with; `None` when user code failed, which the policy dealt with.
    pub(super) fn beginning(
        &self,
        ctx: &mut Context,
        timestamp: Timestamp,
    ) -> Result<Option<Before<A>>, Halt> {
        let Some(row) = ctx.call(self.node, &self.first)? else {
            return Ok(None);
        };
        let old = if self.old.is_set() {
            ctx.call(self.node, &self.first)?.flatten()
        } else {
            None
        };
        Ok(Some(Before { row, old, timestamp }))
    }

    /// A row that is there.
    pub(super) fn standing(&self, value: &[u8], timestamp: Timestamp) -> Result<Before<A>, Halt> {
        let old = if self.old.is_set() {
            Some(self.store.format.decode(value)?)
        } else {
            None
        };
        Ok(Before {
            row: Some(self.store.format.decode(value)?),
            old,
            timestamp,
        })
    }

    /// Works a record into one window and hands the change on.
    pub(super) fn update(
        &self,
        ctx: &mut Context,
        arrival: &Arrival<'_, K>,
        value: V,
        start_ms: i64,
        before: Before<A>,
    ) -> Flow {
        let timestamp = match before.row {
            Some(_) => arrival.timestamp.max(before.timestamp),
            None => arrival.timestamp,
        };
        let Before { row, old, .. } = before;
        let worked_in = ctx.try_call(self.node, || (self.work_in)(arrival.key, value, row))?;
        let Some(new) = worked_in else { return Ok(()) };
        let at = (arrival.bytes, start_ms);
        let with = (timestamp, arrival.headers);
        let written = self.store.put(ctx, self.node, at, new.as_ref(), with)?;
        self.opened(ctx, arrival, start_ms);
        match written.change(new, old) {
            Some(change) => self.forward(ctx, arrival, start_ms, change, timestamp),
            None => Ok(()),
        }
    }

    /// Notes a window that is to be emitted.
    pub(super) fn opened(&self, ctx: &mut Context, arrival: &Arrival<'_, K>, start_ms: i64) {
        if self.closer.emits_on_close() {
            self.open.add(ctx, (start_ms, 0), arrival.bytes);
        }
    }

    pub(super) fn forward(
        &self,
        ctx: &mut Context,
        arrival: &Arrival<'_, K>,
        start_ms: i64,
        change: Change<A>,
        timestamp: Timestamp,
    ) -> Flow {
        if self.closer.emits_on_close() {
            return Ok(());
        }
        let key = Windowed::new(arrival.key.clone(), start_ms, self.store.end_ms(start_ms));
        let headers = arrival.headers.clone();
        self.out.send(
            ctx,
            Record {
                key,
                value: change,
                timestamp,
                headers,
            },
        )
    }

    /// Counts a record that came after all its windows had closed, and hands it to those that asked for late ones.
    pub(super) fn late(&self, ctx: &mut Context, arrival: &Arrival<'_, K>, value: V) -> Flow {
        let Some(late) = &self.late else { return Ok(()) };
        late.send(
            ctx,
            Record {
                key: arrival.key.clone(),
                value,
                timestamp: arrival.timestamp,
                headers: arrival.headers.clone(),
            },
        )
    }

    /// Emits the windows that closed since the last time, if it is time to look for them, where Kafka Streams does that:
    /// after the record has been counted.
    pub(super) fn emit_after(&self, ctx: &mut Context, close_ms: i64, headers: &Headers) -> Flow {
        if self.forgetting == Forgetting::AsKafkaStreams && self.closer.may_emit(ctx) {
            self.emit(ctx, close_ms, headers)
        } else {
            Ok(())
        }
    }

    /// The start of the last window that has closed.
    fn last_closed(&self, close_ms: i64) -> i64 {
        let last_ms = close_ms.saturating_sub(self.windows.size_ms());
        match self.windows.shape {
            Shape::Stepping { .. } => last_ms,
            Shape::Sliding { .. } => last_ms.saturating_sub(1),
        }
    }

    /// The start of the first window that may still have to be emitted.
    fn first_unemitted(&self, emitted_ms: Option<i64>) -> i64 {
        emitted_ms.map_or(0, |emitted_ms| {
            self.last_closed(emitted_ms).saturating_add(1).max(0)
        })
    }

    /// The starts of windows that closed since the last emission, both inclusive.
    fn closed(&self, ctx: &Context, close_ms: i64) -> Option<(i64, i64)> {
        let emitted_ms = self.closer.emitted_ms(ctx);
        if emitted_ms.is_some_and(|emitted_ms| emitted_ms >= close_ms) {
            return None;
        }
        let last_ms = self.last_closed(close_ms);
        let first_ms = self.first_unemitted(emitted_ms);
        let starts_one = match self.windows.shape {
            Shape::Stepping { advance_ms, .. } => last_ms - last_ms.rem_euclid(advance_ms) >= first_ms,
            Shape::Sliding { .. } => true,
        };
        (last_ms >= first_ms && starts_one).then_some((first_ms, last_ms))
    }

    /// Emits the windows that closed since the last time, in order of start, then of key.
    fn emit(&self, ctx: &mut Context, close_ms: i64, headers: &Headers) -> Flow {
        let Some((first_ms, last_ms)) = self.closed(ctx, close_ms) else {
            return Ok(());
        };
        let id = self.store.id(ctx);
        self.closer.emitted_until(ctx, close_ms);
        loop {
            let closed = self.open.take_until(ctx, last_ms, |ctx, found| {
                let windows = ctx.stores.window(id);
                let mut rows = windows.fetch_all(first_ms, i64::MAX, Direction::Forward)?;
                while let Some(row) = rows.entry() {
                    found((row.start_ms, 0), row.key);
                    rows.advance()?;
                }
                Ok(())
            })?;
            if closed.is_empty() {
                return Ok(());
            }
            for ((start_ms, _), key) in closed {
                // A null result is none.
                let Some((value, _, timestamp)) = self.store.get(ctx, &key, start_ms, false)? else {
                    continue;
                };
                let headers = if ctx.preserves_headers() {
                    self.store.headers(ctx, &key, start_ms)?
                } else {
                    headers.clone()
                };
                let key = self.store.format.decode_key(&key)?;
                let record = Record {
                    key: Windowed::new(key, start_ms, self.store.end_ms(start_ms)),
                    value: Change::new(Some(value), None),
                    timestamp,
                    headers,
                };
                self.out.send(ctx, record)?;
            }
        }
    }
}

impl<K, V, A, I, F> Punctuated for WindowAggregate<K, V, A, I, F>
where
    K: Clone + 'static,
    V: 'static,
    A: 'static,
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    fn start(&self, ctx: &mut Context) {
        self.closer.start(ctx);
    }

    fn punctuate(&self, ctx: &mut Context, _: Schedule, now: Timestamp) -> Flow {
        let Some(time) = self.closer.idle(ctx, now) else {
            return Ok(());
        };
        if !self.closer.emits_on_close() {
            return Ok(());
        }
        let close_ms = time.millis().saturating_sub(self.windows.closing.grace_ms);
        self.emit(ctx, close_ms, &Headers::new())
    }
}

/// Tumbling and hopping windows: those that a record lies in are known by its time.
pub(super) struct Stepping<K, V, A, I, F> {
    pub(super) aggregate: Arc<WindowAggregate<K, V, A, I, F>>,
    pub(super) advance_ms: i64,
}

impl<K, V, A, I, F> Edge<K, V> for Stepping<K, V, A, I, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    A: 'static,
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let aggregate = &*self.aggregate;
        let Some(bytes) = aggregate.store.format.key_bytes(ctx, aggregate.node, &record)? else {
            return Ok(());
        };
        let taken = self.take_in(ctx, &bytes, record);
        ctx.key = bytes;
        taken
    }
}

impl<K, V, A, I, F> Stepping<K, V, A, I, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    A: 'static,
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    fn take_in(&self, ctx: &mut Context, bytes: &[u8], record: Record<K, V>) -> Flow {
        let aggregate = &*self.aggregate;
        let Some(close_ms) = aggregate.arrived(ctx, &record)? else {
            return Ok(());
        };
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        let arrival = Arrival {
            key: &key,
            bytes,
            timestamp,
            headers: &headers,
            close_ms,
        };
        let mut value = Some(value);
        let mut start_ms = self.first_start(timestamp.millis());
        let last_ms = timestamp.millis() - timestamp.millis() % self.advance_ms;
        while start_ms <= last_ms {
            if aggregate.store.end_ms(start_ms) > close_ms {
                let value = if start_ms == last_ms {
                    value.take()
                } else {
                    value.clone()
                };
                if let Some(value) = value {
                    self.count_in(ctx, &arrival, value, start_ms)?;
                }
            } else {
                ctx.drop_record();
            }
            let Some(next_ms) = start_ms.checked_add(self.advance_ms) else {
                break;
            };
            start_ms = next_ms;
        }
        // Windows close in order of start: the last one took the value if any is open.
        if let Some(value) = value {
            aggregate.late(ctx, &arrival, value)?;
        }
        aggregate.emit_after(ctx, close_ms, &headers)
    }

    /// The start of the first window that a time lies in.
    fn first_start(&self, ms: i64) -> i64 {
        let reach = self.aggregate.windows.size_ms() - self.advance_ms;
        let earliest = ms.saturating_sub(reach).max(0);
        earliest - earliest % self.advance_ms
    }

    fn count_in(&self, ctx: &mut Context, arrival: &Arrival<'_, K>, value: V, start_ms: i64) -> Flow {
        let aggregate = &*self.aggregate;
        let twice = aggregate.old.is_set();
        let before = match aggregate.store.get(ctx, arrival.bytes, start_ms, twice)? {
            Some((row, old, timestamp)) => Some(Before {
                row: Some(row),
                old,
                timestamp,
            }),
            None => aggregate.beginning(ctx, arrival.timestamp)?,
        };
        match before {
            Some(before) => aggregate.update(ctx, arrival, value, start_ms, before),
            None => Ok(()),
        }
    }
}
