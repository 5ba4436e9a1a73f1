//! Aggregation over sessions: a record joins all sessions within the gap, which become one.

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
    window_rows::{RawSession, SessionRows},
    windows::{Forgetting, SessionWindows},
};

use super::{closer::Closer, open_windows::OpenWindows};

/// An aggregation over sessions.
pub(super) struct SessionAggregate<K, V, A, I, F, M> {
    pub(super) node: NodeId,
    pub(super) windows: SessionWindows,
    pub(super) store: SessionRows<K, A>,
    pub(super) first: I,
    pub(super) work_in: F,
    pub(super) merge: M,
    pub(super) closer: Closer,
    pub(super) forgetting: Forgetting,
    pub(super) open: OpenWindows,
    pub(super) late: Option<Arc<Outlet<K, V>>>,
    pub(super) old: Wanted,
    pub(super) out: Arc<Outlet<Windowed<K>, Change<A>>>,
}

/// Its edge: a handle, because the wall clock calls it too.
pub(super) struct Sessions<T>(pub(super) Arc<T>);

/// Sessions that a record joins, as one.
struct Joined<A> {
    start_ms: i64,
    end_ms: i64,
    row: Option<A>,
    sessions: Vec<RawSession>,
}

impl<K, V, A, I, F, M> Edge<K, V> for Sessions<SessionAggregate<K, V, A, I, F, M>>
where
    K: Clone + 'static,
    V: 'static,
    A: 'static,
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
    M: Fn(Option<A>, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let aggregate = &*self.0;
        let Some(bytes) = aggregate.store.format.key_bytes(ctx, aggregate.node, &record)? else {
            return Ok(());
        };
        let taken = aggregate.take_in(ctx, &bytes, record);
        ctx.key = bytes;
        taken
    }
}

impl<K, V, A, I, F, M> SessionAggregate<K, V, A, I, F, M>
where
    K: Clone + 'static,
    V: 'static,
    A: 'static,
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
    M: Fn(Option<A>, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    fn take_in(&self, ctx: &mut Context, bytes: &[u8], record: Record<K, V>) -> Flow {
        if record.timestamp.millis() < 0 {
            ctx.drop_record();
            return Ok(());
        }
        let time = self.closer.arrived(ctx, record.timestamp);
        let close_ms = self.close_ms(time);
        let headers = record.headers.clone();
        // What closed with this record's time goes before the record makes the store forget it.
        let emits = self.closer.emits_on_close();
        if emits && self.forgetting == Forgetting::WhenUnneeded {
            let forgets = self.forgets(ctx, time.millis());
            if self.closer.may_emit(ctx) || forgets {
                self.emit(ctx, close_ms, &headers)?;
            }
        }
        let Some(joined) = self.join(ctx, bytes, record.timestamp.millis())? else {
            return Ok(());
        };
        if joined.end_ms < close_ms {
            ctx.drop_record();
            if let Some(late) = &self.late {
                late.send(ctx, record)?;
            }
        } else {
            self.work_in(ctx, bytes, record, joined)?;
        }
        if self.forgetting == Forgetting::AsKafkaStreams && self.closer.may_emit(ctx) {
            self.emit(ctx, close_ms, &headers)?;
        }
        Ok(())
    }

    /// Whether the store forgets sessions that may not have been emitted when it gets one that ends at stream time.
    fn forgets(&self, ctx: &Context, time_ms: i64) -> bool {
        let forgotten_ms = time_ms.saturating_sub(self.store.retention_ms);
        forgotten_ms >= self.closer.emitted_ms(ctx).unwrap_or(0).max(0)
    }

    /// Sessions that end before this have closed.
    fn close_ms(&self, time: Timestamp) -> i64 {
        time.millis().saturating_sub(self.windows.closes_after_ms())
    }

    /// The sessions that a record joins, merged; `None` when user code failed, which the policy dealt with.
    fn join(&self, ctx: &mut Context, bytes: &[u8], at_ms: i64) -> Result<Option<Joined<A>>, Halt> {
        let gap_ms = self.windows.gap_ms;
        let (from_ms, to_ms) = (at_ms.saturating_sub(gap_ms), at_ms.saturating_add(gap_ms));
        let sessions = self.store.find(ctx, bytes, from_ms, to_ms)?;
        let Some(mut row) = ctx.call(self.node, &self.first)? else {
            return Ok(None);
        };
        let (mut start_ms, mut end_ms) = (at_ms, at_ms);
        for session in &sessions {
            let value = self.store.format.decode(&session.value)?;
            let Some(merged) = ctx.try_call(self.node, || (self.merge)(row, Some(value)))? else {
                return Ok(None);
            };
            row = merged;
            start_ms = start_ms.min(session.start_ms);
            end_ms = end_ms.max(session.end_ms);
        }
        Ok(Some(Joined {
            start_ms,
            end_ms,
            row,
            sessions,
        }))
    }

    fn work_in(&self, ctx: &mut Context, bytes: &[u8], record: Record<K, V>, joined: Joined<A>) -> Flow {
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        // As in Kafka Streams a session's changes have no headers, unless they are to be preserved.
        let headers = ctx.stored(&headers).clone();
        let worked_in = ctx.try_call(self.node, || (self.work_in)(&key, value, joined.row))?;
        let Some(new) = worked_in else { return Ok(()) };
        let (start_ms, end_ms) = (joined.start_ms, joined.end_ms);
        if start_ms != timestamp.millis() || end_ms != timestamp.millis() {
            for session in joined.sessions {
                self.end(ctx, (&key, bytes), &session, (timestamp, &headers))?;
            }
        }
        let at = (bytes, start_ms, end_ms);
        let with = (timestamp, &headers);
        let written = self.store.put(ctx, self.node, at, new.as_ref(), with)?;
        if self.closer.emits_on_close() {
            self.open.add(ctx, (end_ms, start_ms), bytes);
        }
        match written.change(new, None) {
            Some(change) => self.forward(ctx, Windowed::new(key, start_ms, end_ms), change, headers),
            None => Ok(()),
        }
    }

    /// Removes a session that became part of another.
    fn end(
        &self,
        ctx: &mut Context,
        (key, bytes): (&K, &[u8]),
        session: &RawSession,
        (at, headers): (Timestamp, &Headers),
    ) -> Flow {
        let (start_ms, end_ms) = (session.start_ms, session.end_ms);
        self.store.remove(ctx, bytes, (start_ms, end_ms), at);
        if self.closer.emits_on_close() {
            self.open.remove(ctx, (end_ms, start_ms), bytes);
        }
        let old = if self.old.is_set() {
            Some(self.store.format.decode(&session.value)?)
        } else {
            None
        };
        let key = Windowed::new(key.clone(), start_ms, end_ms);
        self.forward(ctx, key, Change::new(None, old), headers.clone())
    }

    /// Hands a change on. As in Kafka Streams its time is the session's end.
    fn forward(&self, ctx: &mut Context, key: Windowed<K>, value: Change<A>, headers: Headers) -> Flow {
        if self.closer.emits_on_close() {
            return Ok(());
        }
        let timestamp = Timestamp::from_millis(key.end_ms);
        self.out.send(
            ctx,
            Record {
                key,
                value,
                timestamp,
                headers,
            },
        )
    }

    /// Emits the sessions that closed since the last time, in order of end, then of start and key.
    fn emit(&self, ctx: &mut Context, close_ms: i64, headers: &Headers) -> Flow {
        let emitted_ms = self.closer.emitted_ms(ctx);
        let (first_ms, last_ms) = (emitted_ms.unwrap_or(0).max(0), close_ms.saturating_sub(1));
        if last_ms < first_ms {
            return Ok(());
        }
        let id = self.store.id(ctx);
        self.closer.emitted_until(ctx, close_ms);
        loop {
            let closed = self.open.take_until(ctx, last_ms, |ctx, found| {
                let sessions = ctx.stores.session(id);
                let all = (None, None);
                let mut rows = sessions.find_sessions_range(all, first_ms, i64::MAX, Direction::Forward)?;
                while let Some(row) = rows.entry() {
                    found((row.end_ms, row.start_ms), row.key);
                    rows.advance()?;
                }
                Ok(())
            })?;
            if closed.is_empty() {
                return Ok(());
            }
            for ((end_ms, start_ms), key) in closed {
                // A null result is none.
                let Some(value) = self.store.session(ctx, &key, start_ms, end_ms)? else {
                    continue;
                };
                let headers = if ctx.preserves_headers() {
                    self.store.headers(ctx, &key, (start_ms, end_ms))?
                } else {
                    headers.clone()
                };
                let key = self.store.format.decode_key(&key)?;
                let record = Record {
                    key: Windowed::new(key, start_ms, end_ms),
                    value: Change::new(Some(value), None),
                    timestamp: Timestamp::from_millis(end_ms),
                    headers,
                };
                self.out.send(ctx, record)?;
            }
        }
    }
}

impl<K, V, A, I, F, M> Punctuated for SessionAggregate<K, V, A, I, F, M>
where
    K: Clone + 'static,
    V: 'static,
    A: 'static,
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
    M: Fn(Option<A>, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    fn start(&self, ctx: &mut Context) {
        self.closer.start(ctx);
    }

    fn punctuate(&self, ctx: &mut Context, _: Schedule, now: Timestamp) -> Flow {
        match self.closer.idle(ctx, now) {
            Some(time) if self.closer.emits_on_close() => {
                let close_ms = self.close_ms(time);
                self.emit(ctx, close_ms, &Headers::new())
            }
            _ => Ok(()),
        }
    }
}
