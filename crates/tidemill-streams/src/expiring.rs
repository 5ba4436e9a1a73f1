//! Rows of a table that go by themselves some time after they were last put: see `Materialized::ttl`.
//!
//! ```text
//! store  NAME         the rows
//! store  NAME-expiry  key    0  u8   0
//!                            1  i64  due (sign flipped)
//!                            9  ..   row's key
//!                     value  empty
//!
//!                     key    0  u8   1
//!                            1  ..   row's key
//!                     value  0  i64  when the row was last put
//! ```
//! A row has an entry at a time no later than its end: a row that is put again keeps its entry, and when that comes due,
//! it moves to where the row's end then is. What is due goes before the operator takes up its next record, and after any
//! record of the task or move of the clock.

use std::{sync::Arc, time::Duration};

use tidemill_data::{BoxError, Headers, Timestamp};
use tidemill_store::{StoreKind, StoreSpec};

use crate::{
    Change, Clock, Record,
    builder::Builder,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::{Halt, TaskError},
    graph::{Graph, NodeId, Punctuated, StoreDecl, StoreIndex},
    grouped::Wanted,
    processor::{BY_TIME, Due, due_entries, time_bytes},
    punctuation::{Calls, Schedule},
    table_store::TableStore,
};

const DUE: u8 = 0;
const PUT: u8 = 1;

/// When the rows of one store go, and the store that knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ttl {
    pub(crate) index: StoreIndex,
    span: Duration,
    clock: Clock,
}

impl Ttl {
    /// Declares the store beside the one of the rows.
    pub(crate) fn declare(graph: &mut Graph, rows: StoreIndex, (span, clock): (Duration, Clock)) -> Self {
        let decl = graph
            .stores
            .get(rows.0)
            .expect("store indexes come from this graph");
        let name = format!("{}-expiry", decl.spec.name);
        let decl = StoreDecl {
            spec: StoreSpec::new(name, StoreKind::KeyValue),
            ..decl.clone()
        };
        Self {
            index: graph.store(decl),
            span,
            clock,
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    fn now(&self, ctx: &Context) -> Timestamp {
        match self.clock {
            Clock::StreamTime => ctx.stream_time(),
            Clock::WallClock => ctx.wall_time,
        }
    }

    /// Notes that a row was put.
    pub(crate) fn put(&self, ctx: &mut Context, node: NodeId, key: &[u8]) -> Result<(), Halt> {
        let now = self.now(ctx);
        let known = self.last_put(ctx, key)?;
        let id = ctx.store_id(self.index);
        let store = ctx.stores.key_value(id);
        store.put(&put_key(key), &now.millis().to_be_bytes(), now);
        if known.is_none() {
            let due = now.saturating_add(self.span);
            store.put(&due_key(due, key), &[], now);
            ctx.schedules.due_in(node, self.clock, self.index, due);
        }
        Ok(())
    }

    /// Notes that a row went before its time.
    pub(crate) fn removed(&self, ctx: &mut Context, key: &[u8]) -> Result<(), Halt> {
        let now = self.now(ctx);
        let key = put_key(key);
        let id = ctx.store_id(self.index);
        let store = ctx.stores.key_value(id);
        if store.get(&key)?.is_some() {
            store.delete(&key, now);
        }
        Ok(())
    }

    /// Since when, in event time, a row that is still there has outlived its time; `None` if it has not.
    pub(crate) fn over_since(&self, ctx: &mut Context, key: &[u8]) -> Result<Option<Timestamp>, Halt> {
        let now = self.now(ctx);
        let end = self
            .last_put(ctx, key)?
            .map(|put_at| put_at.saturating_add(self.span));
        Ok(end.filter(|end| *end <= now).map(|end| self.event_time(ctx, end)))
    }

    /// Where the wall clock decides, the end of a row has no event time of its own.
    pub(crate) fn event_time(&self, ctx: &Context, end: Timestamp) -> Timestamp {
        match self.clock {
            Clock::StreamTime => end,
            Clock::WallClock => ctx.stream_time(),
        }
    }

    fn last_put(&self, ctx: &mut Context, key: &[u8]) -> Result<Option<Timestamp>, Halt> {
        let id = ctx.store_id(self.index);
        let Some(row) = ctx.stores.key_value(id).get(&put_key(key))? else {
            return Ok(None);
        };
        let millis = row.try_into().map(i64::from_be_bytes);
        let millis = millis.map_err(|_| malformed(ctx, self.index))?;
        Ok(Some(Timestamp::from_millis(millis)))
    }

    /// Takes what is due out of the index, at most so much as one look takes: the keys of rows that are over, and when
    /// they were.
    pub(crate) fn take_due(&self, ctx: &mut Context, now: Timestamp) -> Result<Due<Vec<u8>>, Halt> {
        let id = ctx.store_id(self.index);
        let rows = ctx.stores.key_value(id).prefix(&[DUE], BY_TIME)?;
        let Due { entries, mut next } = due_entries(rows, 1, now)?;
        let mut over = Vec::new();
        for (time, key) in entries {
            ctx.stores.key_value(id).delete(&due_key(time, &key), now);
            let Some(put_at) = self.last_put(ctx, &key)? else {
                continue;
            };
            let end = put_at.saturating_add(self.span);
            let store = ctx.stores.key_value(id);
            if end > now {
                store.put(&due_key(end, &key), &[], now);
                next = Some(next.map_or(end, |next| next.min(end)));
            } else {
                store.delete(&put_key(&key), now);
                over.push((end, key));
            }
        }
        Ok(Due { entries: over, next })
    }
}

fn due_key(due: Timestamp, key: &[u8]) -> Vec<u8> {
    [&[DUE], time_bytes(due).as_slice(), key].concat()
}

fn put_key(key: &[u8]) -> Vec<u8> {
    [&[PUT], key].concat()
}

fn malformed(ctx: &Context, store: StoreIndex) -> Halt {
    let decl = ctx.topology.stores.get(store.0);
    let error: BoxError = "a row that is no time".into();
    TaskError::State {
        store: decl.map_or_else(String::new, |decl| decl.spec.name.clone()),
        error,
    }
    .into()
}

/// Lets the rows of a table go, as deletions that everything behind it sees.
pub(crate) struct Expiring<K, V> {
    node: NodeId,
    ttl: Ttl,
    store: TableStore<K, V>,
    old: Wanted,
    out: Arc<Outlet<K, Change<V>>>,
}

impl<K: 'static, V: 'static> Expiring<K, V> {
    /// What the operator at `node` needs for its rows to expire; nothing if they do not.
    pub(crate) fn attach(
        builder: &Builder,
        node: NodeId,
        store: &TableStore<K, V>,
        old: &Wanted,
        out: &Arc<Outlet<K, Change<V>>>,
    ) -> Option<Arc<Self>> {
        let ttl = store.ttl?;
        let expiring = Arc::new(Self {
            node,
            ttl,
            store: store.clone(),
            old: old.clone(),
            out: Arc::clone(out),
        });
        let punctuated: Arc<dyn Punctuated> = Arc::<Self>::clone(&expiring);
        let mut graph = builder.lock();
        graph.connect(node, &[ttl.index]);
        graph.punctuated.push((node, punctuated));
        Some(expiring)
    }

    /// Lets go what is due, before the operator takes up a record.
    pub(crate) fn expire(&self, ctx: &mut Context) -> Flow {
        let now = self.ttl.now(ctx);
        while ctx.schedules.is_due(self.ttl.clock, self.ttl.index, now) {
            self.expire_some(ctx, now)?;
        }
        Ok(())
    }

    fn expire_some(&self, ctx: &mut Context, now: Timestamp) -> Flow {
        let Due { entries, next } = self.ttl.take_due(ctx, now)?;
        ctx.schedules.not_due_in(self.ttl.clock, self.ttl.index);
        if let Some(next) = next {
            ctx.schedules
                .due_in(self.node, self.ttl.clock, self.ttl.index, next);
        }
        for (end, key) in entries {
            self.remove(ctx, end, &key)?;
        }
        Ok(())
    }

    fn remove(&self, ctx: &mut Context, end: Timestamp, key: &[u8]) -> Flow {
        let Some(row) = self.store.get(ctx, key)? else {
            return Ok(());
        };
        let timestamp = self.ttl.event_time(ctx, end).max(row.timestamp);
        let written = self
            .store
            .put_bytes(ctx, key, None, (timestamp, &Headers::new()))?;
        let old = self.old.is_set().then_some(row.value);
        let Some(change) = written.change(None, old) else {
            return Ok(());
        };
        let record = Record {
            key: self.store.format.decode_key(key)?,
            value: change,
            timestamp,
            headers: Headers::new(),
        };
        self.out.send(ctx, record)
    }
}

impl<K: 'static, V: 'static> Punctuated for Expiring<K, V> {
    fn start(&self, ctx: &mut Context) {
        // What an earlier task left due is found when the clock is first looked at.
        ctx.schedules
            .due_in(self.node, self.ttl.clock, self.ttl.index, Timestamp::MIN);
    }

    fn punctuate(&self, ctx: &mut Context, schedule: Schedule, now: Timestamp) -> Flow {
        match schedule.calls {
            Calls::DueIn(_) => self.expire_some(ctx, now),
            Calls::Punctuation { .. } => Ok(()),
        }
    }
}
