//! Typed views of window and session stores: the rows of windowed tables.

use std::{any::Any, sync::Arc};

use tidemill_data::{Headers, SessionWindowed, Stamped, TimeWindowed, Timestamp, Windowed, Wire};
use tidemill_store::{Direction, Put, StoreId};

use crate::{
    builder::Builder,
    context::Context,
    failure::Halt,
    graph::{Graph, NodeId, StoreIndex},
    grouped::Wanted,
    row_format::{EncodedValue, RowFormat},
    table::{Getter, LookedUp, Lookup, Rows},
    table_store::{Standing, Written},
};

/// How one reads the keys of a windowed store: the format without the window, and the size of windows that have one.
#[derive(Clone, Debug)]
pub(crate) struct WindowKeys {
    // A `Wire<K>`.
    pub(crate) key: Arc<dyn Any + Send + Sync>,
    pub(crate) size_ms: Option<i64>,
}

/// A row of one window, as bytes.
pub(crate) struct RawRow {
    pub(crate) start_ms: i64,
    pub(crate) value: Vec<u8>,
    pub(crate) timestamp: Timestamp,
}

/// The rows of a table of windows of a fixed size.
pub(crate) struct WindowRows<K, A> {
    pub(crate) index: StoreIndex,
    pub(crate) format: RowFormat<K, A>,
    pub(crate) size_ms: i64,
    pub(crate) retention_ms: i64,
}

impl<K, A> Clone for WindowRows<K, A> {
    fn clone(&self) -> Self {
        Self {
            index: self.index,
            format: self.format.clone(),
            size_ms: self.size_ms,
            retention_ms: self.retention_ms,
        }
    }
}

impl<K: 'static, A: 'static> WindowRows<K, A> {
    pub(crate) fn new(
        graph: &mut Graph,
        index: StoreIndex,
        key: Wire<K>,
        value: Wire<A>,
        (size_ms, retention_ms): (i64, i64),
    ) -> Self {
        graph.windowed(index, &key, Some(size_ms));
        Self {
            index,
            format: RowFormat::new(graph, index, key, value),
            size_ms,
            retention_ms,
        }
    }

    pub(crate) fn id(&self, ctx: &Context) -> StoreId {
        ctx.store_id(self.index)
    }

    pub(crate) fn end_ms(&self, start_ms: i64) -> i64 {
        start_ms.saturating_add(self.size_ms)
    }

    /// A row, decoded once, or twice where the value before a change is wanted too.
    pub(crate) fn get(
        &self,
        ctx: &mut Context,
        key: &[u8],
        start_ms: i64,
        twice: bool,
    ) -> Result<Option<(A, Option<A>, Timestamp)>, Halt> {
        let id = self.id(ctx);
        let Some((value, timestamp)) = ctx.stores.window(id).get(key, start_ms)? else {
            return Ok(None);
        };
        let again = if twice {
            Some(self.format.decode(value)?)
        } else {
            None
        };
        Ok(Some((self.format.decode(value)?, again, timestamp)))
    }

    /// The rows of a key in windows that start from `from_ms` to `to_ms`.
    pub(crate) fn fetch(
        &self,
        ctx: &mut Context,
        key: &[u8],
        (from_ms, to_ms): (i64, i64),
        direction: Direction,
    ) -> Result<Vec<RawRow>, Halt> {
        let id = self.id(ctx);
        let mut rows = ctx.stores.window(id).fetch(key, from_ms, to_ms, direction)?;
        let mut found = Vec::new();
        while let Some(row) = rows.entry() {
            found.push(RawRow {
                start_ms: row.start_ms,
                value: row.value.to_vec(),
                timestamp: row.timestamp,
            });
            rows.advance()?;
        }
        Ok(found)
    }

    /// Writes a row, or removes it when the value is or encodes to null. An expired one is dropped, as Kafka Streams
    /// drops it: what follows downstream is the same.
    pub(crate) fn put(
        &self,
        ctx: &mut Context,
        node: NodeId,
        (key, start_ms): (&[u8], i64),
        value: Option<&A>,
        (timestamp, headers): (Timestamp, &Headers),
    ) -> Result<Written, Halt> {
        let (id, headers) = (self.id(ctx), ctx.stored(headers));
        let (written, put) = match self.format.encode_value(ctx, node, value)? {
            EncodedValue::Row(bytes) => {
                let windows = ctx.stores.window(id);
                let put = windows.put_with_headers(key, start_ms, &bytes, timestamp, headers);
                ctx.value = bytes;
                (Written::Row(Standing::Latest), put)
            }
            EncodedValue::Null => {
                let put = ctx.stores.window(id).delete(key, start_ms, timestamp);
                (Written::Removed(Standing::Latest), put)
            }
            EncodedValue::Failed => return Ok(Written::Nothing),
        };
        count_expired(ctx, put);
        Ok(written)
    }

    /// Writes a row that is there as bytes.
    pub(crate) fn put_raw(&self, ctx: &mut Context, key: &[u8], row: &RawRow, headers: &Headers) {
        let (id, headers) = (self.id(ctx), ctx.stored(headers));
        let windows = ctx.stores.window(id);
        let put = windows.put_with_headers(key, row.start_ms, &row.value, row.timestamp, headers);
        count_expired(ctx, put);
    }

    /// The headers of a row, where the app preserves them.
    pub(crate) fn headers(&self, ctx: &mut Context, key: &[u8], start_ms: i64) -> Result<Headers, Halt> {
        if !ctx.preserves_headers() {
            return Ok(Headers::new());
        }
        let id = self.id(ctx);
        Ok(ctx.stores.window(id).headers(key, start_ms)?)
    }

    /// The format of the table's keys: Kafka's time form.
    pub(crate) fn key_wire(&self) -> Wire<Windowed<K>> {
        let size = std::time::Duration::from_millis(self.size_ms.unsigned_abs());
        Wire::given(TimeWindowed::with_key(self.format.key.clone(), size))
    }
}

fn count_expired(ctx: &mut Context, put: Put) {
    if put == Put::Expired {
        ctx.drop_record();
    }
}

impl<K: 'static, A: 'static> Getter<Windowed<K>, A> for WindowRows<K, A> {
    fn get(&self, ctx: &mut Context, node: NodeId, key: &Windowed<K>) -> Result<Option<LookedUp<A>>, Halt> {
        let Some(bytes) = self.format.encode_key(ctx, node, &key.key, &Headers::new())? else {
            return Ok(None);
        };
        let row = self.get(ctx, &bytes, key.start_ms, false);
        let headers = self.headers(ctx, &bytes, key.start_ms);
        ctx.key = bytes;
        row?.map(|(value, _, timestamp)| Ok(LookedUp::new(Stamped::new(value, timestamp), headers?)))
            .transpose()
    }
}

/// A row of one session, as bytes.
pub(crate) struct RawSession {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) value: Vec<u8>,
}

/// The rows of a table of sessions.
pub(crate) struct SessionRows<K, A> {
    pub(crate) index: StoreIndex,
    pub(crate) format: RowFormat<K, A>,
    pub(crate) retention_ms: i64,
}

impl<K, A> Clone for SessionRows<K, A> {
    fn clone(&self) -> Self {
        Self {
            index: self.index,
            format: self.format.clone(),
            retention_ms: self.retention_ms,
        }
    }
}

impl<K: 'static, A: 'static> SessionRows<K, A> {
    pub(crate) fn new(
        graph: &mut Graph,
        index: StoreIndex,
        key: Wire<K>,
        value: Wire<A>,
        retention_ms: i64,
    ) -> Self {
        graph.windowed(index, &key, None);
        Self {
            index,
            format: RowFormat::new(graph, index, key, value),
            retention_ms,
        }
    }

    pub(crate) fn id(&self, ctx: &Context) -> StoreId {
        ctx.store_id(self.index)
    }

    /// The sessions of a key that a record within `gap_ms` of both ends would join, in order of end.
    pub(crate) fn find(
        &self,
        ctx: &mut Context,
        key: &[u8],
        earliest_end_ms: i64,
        latest_start_ms: i64,
    ) -> Result<Vec<RawSession>, Halt> {
        let id = self.id(ctx);
        let sessions = ctx.stores.session(id);
        let mut rows = sessions.find_sessions(key, earliest_end_ms, latest_start_ms, Direction::Forward)?;
        let mut found = Vec::new();
        while let Some(row) = rows.entry() {
            found.push(RawSession {
                start_ms: row.start_ms,
                end_ms: row.end_ms,
                value: row.value.to_vec(),
            });
            rows.advance()?;
        }
        Ok(found)
    }

    /// The value of a session.
    pub(crate) fn session(
        &self,
        ctx: &mut Context,
        key: &[u8],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Option<A>, Halt> {
        let id = self.id(ctx);
        let value = ctx.stores.session(id).get(key, start_ms, end_ms)?;
        value.map(|value| self.format.decode(value)).transpose()
    }

    /// The headers of a session, where the app preserves them.
    pub(crate) fn headers(
        &self,
        ctx: &mut Context,
        key: &[u8],
        (start_ms, end_ms): (i64, i64),
    ) -> Result<Headers, Halt> {
        if !ctx.preserves_headers() {
            return Ok(Headers::new());
        }
        let id = self.id(ctx);
        Ok(ctx.stores.session(id).headers(key, start_ms, end_ms)?)
    }

    pub(crate) fn remove(
        &self,
        ctx: &mut Context,
        key: &[u8],
        (start_ms, end_ms): (i64, i64),
        at: Timestamp,
    ) {
        let id = self.id(ctx);
        let put = ctx.stores.session(id).remove(key, start_ms, end_ms, at);
        count_expired(ctx, put);
    }

    /// Writes a session, or removes it when the value is or encodes to null.
    pub(crate) fn put(
        &self,
        ctx: &mut Context,
        node: NodeId,
        (key, start_ms, end_ms): (&[u8], i64, i64),
        value: Option<&A>,
        (timestamp, headers): (Timestamp, &Headers),
    ) -> Result<Written, Halt> {
        let (id, headers) = (self.id(ctx), ctx.stored(headers));
        match self.format.encode_value(ctx, node, value)? {
            EncodedValue::Row(bytes) => {
                let sessions = ctx.stores.session(id);
                let put = sessions.put_with_headers(key, (start_ms, end_ms), &bytes, timestamp, headers);
                ctx.value = bytes;
                count_expired(ctx, put);
                Ok(Written::Row(Standing::Latest))
            }
            EncodedValue::Null => {
                self.remove(ctx, key, (start_ms, end_ms), timestamp);
                Ok(Written::Removed(Standing::Latest))
            }
            EncodedValue::Failed => Ok(Written::Nothing),
        }
    }

    /// The format of the table's keys: Kafka's session form.
    pub(crate) fn key_wire(&self) -> Wire<Windowed<K>> {
        Wire::given(SessionWindowed::with_key(self.format.key.clone()))
    }
}

impl<K: 'static, A: 'static> Getter<Windowed<K>, A> for SessionRows<K, A> {
    fn get(&self, ctx: &mut Context, node: NodeId, key: &Windowed<K>) -> Result<Option<LookedUp<A>>, Halt> {
        let Some(bytes) = self.format.encode_key(ctx, node, &key.key, &Headers::new())? else {
            return Ok(None);
        };
        let row = self.session(ctx, &bytes, key.start_ms, key.end_ms);
        let headers = self.headers(ctx, &bytes, (key.start_ms, key.end_ms));
        ctx.key = bytes;
        let at = Timestamp::from_millis(key.end_ms);
        row?.map(|value| Ok(LookedUp::new(Stamped::new(value, at), headers?)))
            .transpose()
    }
}

/// What a windowed table offers to operators that read it.
pub(crate) struct WindowTableRows<G> {
    pub(crate) getter: G,
    pub(crate) index: StoreIndex,
    pub(crate) old: Wanted,
}

impl<K: 'static, A: 'static, G> Rows<Windowed<K>, A> for WindowTableRows<G>
where
    G: Getter<Windowed<K>, A> + Clone + 'static,
{
    fn send_old(&self, _: &Builder, _: bool) -> bool {
        self.old.set();
        true
    }

    fn lookup(&self, _: &Builder) -> Lookup<Windowed<K>, A> {
        Lookup {
            getter: Arc::new(self.getter.clone()),
            stores: vec![self.index],
        }
    }
}
