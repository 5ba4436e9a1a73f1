//! `suppress`: changes of a table held back, so that only the last ones go on.
//!
//! What is held back is a store, logged as Kafka Streams logs it; its order is kept beside it and made anew from the
//! store after a restart; of many rows only the first to go are known, see [`FirstDue`].

mod bounds;
mod row;

use std::{any::Any, sync::Arc, time::Duration};

use tidemill_data::{BoxError, Data, Headers, Stamped, Timestamp, Windowed, Wire};
use tidemill_store::{Direction, StoreId, StoreKind, StoreSpec};

use crate::{
    Change, KTable, Record, TaskError,
    builder::Builder,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::Halt,
    graph::{Graph, NodeId, NodeKind, Punctuated, SlotIndex, StoreDecl, StoreIndex},
    punctuation::Schedule,
    row_format::{EncodedValue, RowFormat},
    table::{Getter, LookedUp, Lookup, Rows},
    windows::{Closing, ms},
};

pub use self::bounds::{Buffer, WhenFull};
use self::row::BufferedRow;
use super::{
    closer::{Closer, Emission},
    first_due::{FirstDue, Place},
};

impl<K: Data + Clone, V: Data + Clone> KTable<K, V> {
    /// Holds back changes until `limit` of stream time has passed since the first one of a row; the last one goes on.
    ///
    /// ```
    /// # use tidemill_streams::{App, Buffer};
    /// # use tidemill_data::{MINUTE, Topic};
    /// # const BALANCES: Topic<String, i64> = Topic::new("balances");
    /// # const OUT: Topic<String, Option<i64>> = Topic::new("out");
    /// # let app = App::new("docs");
    /// let calm = app.table(&BALANCES).suppress_until_time_limit(MINUTE, Buffer::unbounded().records_max(1_000));
    /// calm.to_stream().to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn suppress_until_time_limit(&self, limit: Duration, buffer: Buffer) -> Self {
        let hold = Hold {
            span_ms: ms(limit),
            idle_ms: None,
            tombstones: true,
            time_ms: |_, timestamp| timestamp.millis(),
        };
        self.suppressed(buffer, WhenFull::EmitEarly, |_| Ok(hold))
    }

    fn suppressed(
        &self,
        buffer: Buffer,
        when_full: WhenFull,
        hold: impl FnOnce(&Graph) -> Result<Hold<K>, String>,
    ) -> Self {
        self.outlet.fan_out();
        let key = self.key.clone().unwrap_or_else(Wire::own);
        let value = self.value.clone().unwrap_or_else(Wire::own);
        // What downstream knew of a row is the old value of the first change held back.
        self.rows.send_old(&self.builder, true);
        let mut graph = self.builder.lock();
        let hold = hold(&graph).unwrap_or_else(|problem| {
            graph.problems.push(problem);
            Hold {
                span_ms: 0,
                idle_ms: None,
                tombstones: true,
                time_ms: |_, timestamp| timestamp.millis(),
            }
        });
        let (node, index) = declare(&mut graph, self.node, &buffer);
        let closing = Closing {
            grace_ms: 0,
            idle_ms: hold.idle_ms,
        };
        let closer = Closer::declare(&mut graph, node, closing, Emission::OnUpdate);
        let slot = graph.slot(
            node,
            Arc::new(|| Box::new(Held::default()) as Box<dyn Any + Send>),
        );
        let out = Outlet::new();
        let suppress = Arc::new(Suppress {
            node,
            index,
            slot,
            format: RowFormat::new(&graph, index, key.clone(), value.clone()),
            // Kafka Streams' header of the third format.
            headers: Headers::new().with("v", vec![3_u8]),
            hold,
            records_max: buffer.records_max,
            bytes_max: buffer.bytes_max,
            when_full: buffer.when_full.unwrap_or(when_full),
            closer,
            out: Arc::clone(&out),
        });
        if suppress.closer.closes_when_idle() {
            let called = Arc::<Suppress<K, V>>::clone(&suppress);
            graph.punctuated.push((node, called));
        }
        drop(graph);
        let edge = Arc::<Suppress<K, V>>::clone(&suppress);
        self.outlet.attach(node.0, edge);
        KTable {
            builder: self.builder.clone(),
            node,
            outlet: out,
            rows: Arc::new(SuppressedRows {
                suppress,
                parent: Arc::clone(&self.rows),
            }),
            key: Some(key),
            value: Some(value),
        }
    }
}

impl<K: Data + Clone, V: Data + Clone> KTable<Windowed<K>, V> {
    /// Holds back changes until their window closes: only a window's final result goes on, once.
    ///
    /// The window closes by the timestamps of the changes that come here. A window that went before, because its result
    /// was null, gives nothing.
    ///
    /// ```
    /// # use tidemill_streams::{App, Buffer, Tumbling};
    /// # use tidemill_data::{MINUTE, SECOND, StoreName, Topic, Windowed};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<Windowed<String>, Option<i64>> = Topic::new("out");
    /// # const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// let counts = app.stream(&IN).group_by_key().window(Tumbling::of(MINUTE).grace(5 * SECOND)).count(&COUNTS);
    /// counts.suppress_until_window_closes(Buffer::unbounded()).to_stream().to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn suppress_until_window_closes(&self, buffer: Buffer) -> Self {
        let early = buffer.when_full == Some(WhenFull::EmitEarly);
        self.suppressed(buffer, WhenFull::ShutDown, |graph| {
            if early {
                return Err("a suppression until windows close cannot emit early: it would not be final".to_owned());
            }
            let closing = graph.closing_of(self.node).ok_or_else(|| {
                "a suppression until windows close needs windows before it, with nothing but the table between"
                    .to_owned()
            })?;
            Ok(Hold {
                span_ms: closing.grace_ms,
                idle_ms: closing.idle_ms,
                tombstones: false,
                time_ms: |key: &Windowed<K>, _| key.end_ms,
            })
        })
    }
}

fn declare(graph: &mut Graph, parent: NodeId, buffer: &Buffer) -> (NodeId, StoreIndex) {
    let name = match &buffer.name {
        Some(name) => name.clone(),
        None => graph.name("KTABLE-SUPPRESS-"),
    };
    let store = match &buffer.name {
        Some(name) => format!("{name}-store"),
        None => graph.name("KTABLE-SUPPRESS-STATE-STORE-"),
    };
    let index = graph.store(StoreDecl {
        spec: StoreSpec::new(store, StoreKind::KeyValue),
        active: true,
        named: buffer.name.is_some(),
        changelog: buffer.changelog,
        global_topic: None,
        windows: None,
        headers_beside: false,
    });
    let node = graph.add(name, NodeKind::Processor, &[parent]);
    graph.connect(node, &[index]);
    graph.ordering.push(node);
    (node, index)
}

/// How long changes are held back.
struct Hold<K> {
    span_ms: i64,
    idle_ms: Option<i64>,
    /// Whether rows that went are worth telling.
    tombstones: bool,
    /// From when on the span counts.
    time_ms: fn(&K, Timestamp) -> i64,
}

struct Suppress<K, V> {
    node: NodeId,
    index: StoreIndex,
    slot: SlotIndex,
    format: RowFormat<K, V>,
    headers: Headers,
    hold: Hold<K>,
    records_max: u64,
    bytes_max: u64,
    when_full: WhenFull,
    closer: Closer,
    out: Arc<Outlet<K, Change<V>>>,
}

/// What is held back of one task: how much, and in which order it leaves.
#[derive(Default)]
struct Held {
    order: FirstDue,
    records: u64,
    // As Kafka Streams counts them.
    bytes: u64,
    // The epoch of the task's state that this is of; `None` before the store was looked at.
    loaded: Option<u64>,
}

fn place(time_ms: i64) -> Place {
    (time_ms, 0)
}

impl<K: 'static, V: 'static> Edge<K, Change<V>> for Suppress<K, V> {
    fn send(&self, ctx: &mut Context, record: Record<K, Change<V>>) -> Flow {
        self.closer.arrived(ctx, record.timestamp);
        self.with(ctx, |held, ctx| {
            self.hold_back(ctx, held, record)?;
            self.let_go(ctx, held)
        })
    }
}

impl<K: 'static, V: 'static> Punctuated for Suppress<K, V> {
    fn start(&self, ctx: &mut Context) {
        self.closer.start(ctx);
    }

    fn punctuate(&self, ctx: &mut Context, _: Schedule, now: Timestamp) -> Flow {
        match self.closer.idle(ctx, now) {
            Some(_) => self.with(ctx, |held, ctx| self.let_go(ctx, held)),
            None => Ok(()),
        }
    }
}

impl<K: 'static, V: 'static> Suppress<K, V> {
    fn id(&self, ctx: &Context) -> StoreId {
        ctx.store_id(self.index)
    }

    /// Works with the order, which is taken out of its slot meanwhile, and made anew if the store went back.
    fn with(&self, ctx: &mut Context, work: impl FnOnce(&mut Held, &mut Context) -> Flow) -> Flow {
        let Some(mut state) = ctx.take_slot(self.slot) else {
            return Ok(());
        };
        let held: &mut Held = state
            .downcast_mut()
            .expect("an operator's slot is of the type it made");
        let before = held.order.bytes();
        let worked = if held.loaded == Some(ctx.epoch) {
            work(held, ctx)
        } else {
            self.load(ctx, held).and_then(|()| work(held, ctx))
        };
        ctx.order_bytes = ctx.order_bytes.saturating_sub(before) + held.order.bytes();
        ctx.put_slot(self.slot, state);
        worked
    }

    fn load(&self, ctx: &mut Context, held: &mut Held) -> Flow {
        *held = Held {
            order: FirstDue::new(ctx.order_bytes_max),
            ..Held::default()
        };
        let id = self.id(ctx);
        let mut rows = ctx.stores.key_value(id).all(Direction::Forward)?;
        while let Some((key, value)) = rows.entry() {
            let row = self.decode(value)?;
            held.records += 1;
            held.bytes += row.counted_bytes(key);
            held.order.add(place(row.time_ms), key);
            rows.advance()?;
        }
        drop(rows);
        held.loaded = Some(ctx.epoch);
        Ok(())
    }

    fn decode<'a>(&self, row: &'a [u8]) -> Result<BufferedRow<'a>, Halt> {
        self.format
            .unreadable(BufferedRow::decode(row).ok_or_else(|| BoxError::from(UNREADABLE)))
    }

    fn hold_back(&self, ctx: &mut Context, all: &mut Held, record: Record<K, Change<V>>) -> Flow {
        let Some(key) = self.format.key_bytes(ctx, self.node, &record)? else {
            return Ok(());
        };
        let held = self.hold_back_at(ctx, all, &key, record);
        ctx.key = key;
        held
    }

    fn hold_back_at(
        &self,
        ctx: &mut Context,
        all: &mut Held,
        key: &[u8],
        record: Record<K, Change<V>>,
    ) -> Flow {
        let Record {
            key: typed,
            value,
            timestamp,
            headers,
        } = record;
        let (Some(old), Some(new)) = (
            self.value_bytes(ctx, value.old.as_ref())?,
            self.value_bytes(ctx, value.new.as_ref())?,
        ) else {
            return Ok(());
        };
        let id = self.id(ctx);
        let before = ctx.stores.key_value(id).get(key)?.map(<[u8]>::to_vec);
        let before = before.as_deref().map(|row| self.decode(row)).transpose()?;
        // A row that is held back already keeps its place.
        let (prior, time_ms) = match &before {
            Some(before) => {
                all.bytes -= before.counted_bytes(key);
                (before.prior, before.time_ms)
            }
            None => {
                all.records += 1;
                (old.as_deref(), (self.hold.time_ms)(&typed, timestamp))
            }
        };
        let current = ctx.current.as_ref();
        let row = BufferedRow {
            timestamp,
            offset: current.map_or(-1, |current| current.record.offset),
            topic: current.map_or("", |current| ctx.topology.place_name(current.topic)),
            partition: ctx.partition,
            headers,
            prior,
            old: old.as_deref(),
            new: new.as_deref(),
            time_ms,
        };
        all.bytes += row.counted_bytes(key);
        all.order.add(place(time_ms), key);
        let row = row.encode();
        ctx.stores
            .key_value(id)
            .put_with_headers(key, &row, timestamp, &self.headers);
        Ok(())
    }

    /// The outer `None` says that the value could not be encoded, which the policy dealt with.
    fn value_bytes(&self, ctx: &mut Context, value: Option<&V>) -> Result<Option<Option<Vec<u8>>>, Halt> {
        Ok(match self.format.encode_value(ctx, self.node, value)? {
            EncodedValue::Row(bytes) => {
                let owned = bytes.clone();
                ctx.value = bytes;
                Some(Some(owned))
            }
            EncodedValue::Null => Some(None),
            EncodedValue::Failed => None,
        })
    }

    /// Hands on what has waited long enough, and what there is no room for.
    fn let_go(&self, ctx: &mut Context, all: &mut Held) -> Flow {
        let due_ms = self.closer.time(ctx).millis().saturating_sub(self.hold.span_ms);
        while let Some(first) = self.first_until(ctx, all, due_ms)? {
            self.let_row_go(ctx, all, first)?;
        }
        while all.records > self.records_max || all.bytes > self.bytes_max {
            if self.when_full == WhenFull::ShutDown {
                return Err(TaskError::BufferFull {
                    operator: ctx.topology.node_name(self.node).to_owned(),
                    records: all.records,
                    records_max: self.records_max,
                    bytes: all.bytes,
                    bytes_max: self.bytes_max,
                }
                .into());
            }
            let Some(first) = self.first_until(ctx, all, i64::MAX)? else {
                break;
            };
            self.let_row_go(ctx, all, first)?;
        }
        Ok(())
    }

    /// The first to leave, if its time is no later than this.
    fn first_until(
        &self,
        ctx: &mut Context,
        all: &mut Held,
        last_ms: i64,
    ) -> Result<Option<(Place, Vec<u8>)>, Halt> {
        if all.order.lacks(last_ms) {
            self.load(ctx, all)?;
        }
        let first = all.order.first().filter(|((time_ms, _), _)| *time_ms <= last_ms);
        Ok(first.map(|(place, key)| (place, key.to_vec())))
    }

    fn let_row_go(&self, ctx: &mut Context, all: &mut Held, (place, key): (Place, Vec<u8>)) -> Flow {
        let id = self.id(ctx);
        let Some(row) = ctx.stores.key_value(id).get(&key)?.map(<[u8]>::to_vec) else {
            return self.format.unreadable(Err(BoxError::from(MISSING)));
        };
        let held = self.decode(&row)?;
        let bytes = held.counted_bytes(&key);
        let new = held.new.map(|new| self.format.decode(new)).transpose()?;
        if new.is_some() || self.hold.tombstones {
            // Downstream knows the row as it was before the first change held back, not before the last one.
            let old = held.prior.map(|prior| self.format.decode(prior)).transpose()?;
            let record = Record {
                key: self.format.decode_key(&key)?,
                value: Change::new(new, old),
                timestamp: held.timestamp,
                headers: held.headers,
            };
            self.out.send(ctx, record)?;
        }
        all.order.remove(place, &key);
        all.records -= 1;
        all.bytes -= bytes;
        ctx.stores.key_value(id).delete(&key, held.timestamp);
        Ok(())
    }
}

const UNREADABLE: &str = "a row held back that is none in Kafka Streams' third format";
const MISSING: &str = "a row held back that is gone";

struct SuppressedRows<K, V> {
    suppress: Arc<Suppress<K, V>>,
    parent: Arc<dyn Rows<K, V>>,
}

impl<K: 'static, V: 'static> Rows<K, V> for SuppressedRows<K, V> {
    fn send_old(&self, _: &Builder, _: bool) -> bool {
        // They are sent in any case.
        true
    }

    fn lookup(&self, builder: &Builder) -> Lookup<K, V> {
        let parent = self.parent.lookup(builder);
        let mut stores = parent.stores;
        stores.push(self.suppress.index);
        Lookup {
            getter: Arc::new(SuppressedGetter {
                suppress: Arc::clone(&self.suppress),
                parent: parent.getter,
            }),
            stores,
        }
    }
}

/// Reads rows as downstream knows them: without what is held back.
struct SuppressedGetter<K, V> {
    suppress: Arc<Suppress<K, V>>,
    parent: Arc<dyn Getter<K, V>>,
}

impl<K: 'static, V: 'static> Getter<K, V> for SuppressedGetter<K, V> {
    fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<LookedUp<V>>, Halt> {
        let suppress = &*self.suppress;
        let Some(bytes) = suppress.format.encode_key(ctx, node, key, &Headers::new())? else {
            return Ok(None);
        };
        let id = suppress.id(ctx);
        let held = ctx.stores.key_value(id).get(&bytes)?.map(<[u8]>::to_vec);
        ctx.key = bytes;
        let Some(held) = held else {
            return self.parent.get(ctx, node, key);
        };
        let held = suppress.decode(&held)?;
        let prior = held
            .prior
            .map(|prior| suppress.format.decode(prior))
            .transpose()?;
        // The time and headers of the value before are not kept, in Kafka Streams' format neither.
        Ok(prior.map(|prior| LookedUp::new(Stamped::new(prior, Timestamp::MIN), Headers::new())))
    }
}
