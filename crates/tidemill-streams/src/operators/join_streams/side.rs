//! One side of a join of streams: a record is kept for those of the other side that come later, and meets those that
//! came before.

use std::{mem::take, sync::Arc};

use tidemill_data::{BoxError, Headers, Place, Presence, Timestamp, Wire};
use tidemill_store::Direction;

use crate::{
    Record,
    context::Context,
    edge::{Edge, Flow},
    failure::{Halt, Step, TaskError, guard},
    record::with_headers_of,
};

use super::{
    JoinStreams, Kept,
    waiting::{Looked, Of},
};

/// What is known of one side.
pub(super) struct Side<V> {
    pub(super) value: Wire<V>,
    pub(super) store: Kept,
    // Records of the other side meet this side's from so much before to so much after.
    pub(super) before_ms: i64,
    pub(super) after_ms: i64,
    // Whether a record gives a result by itself when it meets none.
    pub(super) outer: bool,
}

pub(super) struct ThisSide<K, V, T, W, F>(pub(super) Arc<JoinStreams<K, V, T, W, F>>);

pub(super) struct OtherSide<K, V, T, W, F>(pub(super) Arc<JoinStreams<K, V, T, W, F>>);

impl<K: Clone + 'static, V: 'static, T: 'static, W: 'static, F> Edge<K, V> for ThisSide<K, V, T, W, F>
where
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<W, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let join = &self.0;
        let sides = (&join.this, &join.other, Of::Left);
        join.take_up(ctx, record, sides, |ctx, record, value, other| {
            join.meet(ctx, record.with_value((Some(value), other)))
        })
    }
}

impl<K: Clone + 'static, V: 'static, T: 'static, W: 'static, F> Edge<K, T> for OtherSide<K, V, T, W, F>
where
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<W, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, T>) -> Flow {
        let join = &self.0;
        let sides = (&join.other, &join.this, Of::Right);
        join.take_up(ctx, record, sides, |ctx, record, value, other| {
            join.meet(ctx, record.with_value((other, Some(value))))
        })
    }
}

impl<K: Clone + 'static, V: 'static, T: 'static, W: 'static, F> JoinStreams<K, V, T, W, F>
where
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<W, BoxError> + Send + Sync,
{
    /// A record of one side, `A`, on its way to those of the other, `B`.
    fn take_up<A: 'static, B: 'static>(
        &self,
        ctx: &mut Context,
        record: Record<K, A>,
        sides: (&Side<A>, &Side<B>, Of),
        meet: impl Fn(&mut Context, Record<K, ()>, &A, Option<&B>) -> Flow,
    ) -> Flow {
        let (own, other, of) = sides;
        let now = ctx.observe(self.clock, record.timestamp);
        let none = Headers::new();
        let null_key = self
            .key
            .is_null(Place::key(&own.store.changelog, &none), &record.key);
        let null_value = own
            .value
            .is_null(Place::value(&own.store.changelog, &none), &record.value);
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        let alone = |key, timestamp| Record {
            key,
            value: (),
            timestamp,
            headers: headers.clone(),
        };
        if null_value || (null_key && !own.outer) {
            ctx.drop_record();
            return Ok(());
        }
        if null_key {
            return meet(ctx, alone(key, timestamp), &value, None);
        }
        if timestamp == now {
            self.emit_waiting(ctx, own.after_ms, now, &headers)?;
        }
        let met = self.keep(ctx, (&key, &value, timestamp, &headers), own, other, of);
        match met? {
            Met::These(others) => {
                for Other {
                    at,
                    value: other,
                    headers: met,
                } in &others
                {
                    let mut record = alone(key.clone(), timestamp.max(*at));
                    record.headers = with_headers_of(record.headers, met);
                    meet(ctx, record, &value, Some(other))?;
                }
                Ok(())
            }
            Met::NoneInTime => meet(ctx, alone(key, timestamp), &value, None),
            Met::Nothing => Ok(()),
        }
    }

    /// Keeps a record for those to come, and finds those that it meets.
    fn keep<A: 'static, B: 'static>(
        &self,
        ctx: &mut Context,
        (key, value, timestamp, headers): (&K, &A, Timestamp, &Headers),
        own: &Side<A>,
        other: &Side<B>,
        of: Of,
    ) -> Result<Met<B>, Halt> {
        let (mut key_bytes, mut value_bytes) = (take(&mut ctx.key), take(&mut ctx.value));
        key_bytes.clear();
        value_bytes.clear();
        let none = Headers::new();
        let changelog = &own.store.changelog;
        let encoded = guard(|| {
            let key = self
                .key
                .encode(Place::key(changelog, &none), key, &mut key_bytes)?;
            let value = own
                .value
                .encode(Place::value(changelog, &none), value, &mut value_bytes)?;
            Ok::<_, BoxError>(key == Presence::Value && value == Presence::Value)
        });
        let met = match encoded.and_then(|encoded| encoded) {
            Ok(true) => {
                let store = ctx.store_id(own.store.index);
                let (at, headers) = (timestamp.millis(), ctx.stored(headers));
                let windows = ctx.stores.window(store);
                let _ = windows.put_with_headers(&key_bytes, at, &value_bytes, timestamp, headers);
                let kept = (&*key_bytes, &*value_bytes, timestamp, headers);
                self.find(ctx, kept, own, other, of)
            }
            Ok(false) => {
                ctx.drop_record();
                Ok(Met::Nothing)
            }
            Err(error) => ctx.failed(self.node, Step::Encode, error).map(|()| Met::Nothing),
        };
        (ctx.key, ctx.value) = (key_bytes, value_bytes);
        met
    }

    fn find<A, B: 'static>(
        &self,
        ctx: &mut Context,
        (key, value, timestamp, headers): (&[u8], &[u8], Timestamp, &Headers),
        own: &Side<A>,
        other: &Side<B>,
        of: Of,
    ) -> Result<Met<B>, Halt> {
        let at = timestamp.millis();
        let from = at.saturating_sub(own.before_ms).max(0);
        let to = at.saturating_add(own.after_ms).max(0);
        let found = self.fetch(ctx, key, (from, to), other)?;
        if !found.is_empty() {
            if let Some(waiting) = self.waiting.as_ref().filter(|_| other.outer) {
                for met in &found {
                    waiting.remove(ctx, of.opposite(), met.at, key, timestamp)?;
                }
            }
            return Ok(Met::These(found));
        }
        match &self.waiting {
            Some(_) if own.outer && to < ctx.clock(self.clock).millis() => Ok(Met::NoneInTime),
            Some(waiting) if own.outer => {
                self.look_from(ctx, Looked::NoLaterThan(timestamp));
                waiting.add(ctx, of, timestamp, key, (value, headers))?;
                Ok(Met::Nothing)
            }
            _ => Ok(Met::Nothing),
        }
    }

    fn fetch<B: 'static>(
        &self,
        ctx: &mut Context,
        key: &[u8],
        (from, to): (i64, i64),
        other: &Side<B>,
    ) -> Result<Vec<Other<B>>, Halt> {
        let mut found = Vec::new();
        if from > to {
            return Ok(found);
        }
        let store = ctx.store_id(other.store.index);
        let mut rows = ctx
            .stores
            .window(store)
            .fetch(key, from, to, Direction::Forward)?;
        while let Some(row) = rows.entry() {
            let value = decode(&other.value, &other.store, row.value)?;
            found.push(Other {
                at: Timestamp::from_millis(row.start_ms),
                value,
                headers: rows.headers()?,
            });
            rows.advance()?;
        }
        Ok(found)
    }
}

/// A record of the other side.
struct Other<B> {
    at: Timestamp,
    value: B,
    // Where the app preserves them.
    headers: Headers,
}

/// What a record met.
enum Met<B> {
    /// These records of the other side, in order of their times.
    These(Vec<Other<B>>),
    /// None, and its window is over: nothing is waited for.
    NoneInTime,
    /// None yet; or the record was dropped.
    Nothing,
}

/// A value as one of the join's stores has it.
pub(super) fn decode<B: 'static>(value: &Wire<B>, store: &Kept, bytes: &[u8]) -> Result<B, Halt> {
    let none = Headers::new();
    let decoded = guard(|| value.decode(Place::value(&store.changelog, &none), Some(bytes)));
    decoded
        .and_then(|decoded| decoded.map_err(BoxError::from))
        .map_err(|error| unreadable(store, error))
}

pub(super) fn unreadable(store: &Kept, error: BoxError) -> Halt {
    TaskError::State {
        store: store.name.clone(),
        error,
    }
    .into()
}
