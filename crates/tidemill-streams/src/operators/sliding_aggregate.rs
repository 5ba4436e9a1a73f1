//! Aggregation over sliding windows: which windows there are follows from the records.
//!
//! A record at `t` has a window to its left, `[t - d, t]`, and makes one to its right, `[t + 1, t + 1 + d]`, once that
//! holds a record. Since each record was taken in with all its windows, the aggregate of a new window is always that of
//! a window that is there already, or a beginning. Before time `d` no window reaches to the left of 0: `[0, d]` stands
//! for the left windows of all those records.

use std::{collections::BTreeSet, sync::Arc};

use tidemill_data::{BoxError, Headers, Place, Wire};
use tidemill_store::Direction;

use crate::{
    Change, Record,
    context::Context,
    edge::{Edge, Flow},
    window_rows::RawRow,
};

use super::window_aggregate::{Arrival, WindowAggregate};

pub(super) struct Sliding<K, V, A, I, F> {
    pub(super) aggregate: Arc<WindowAggregate<K, V, A, I, F>>,
    pub(super) difference_ms: i64,
    /// Tells null values, which sliding windows drop as Kafka Streams' do.
    pub(super) nulls: Wire<V>,
}

/// What the windows around a record say of its neighbours.
#[derive(Default)]
struct Around {
    starts: BTreeSet<i64>,
    /// The record next before, where its right window may have to be made.
    previous_ms: Option<i64>,
    /// A window that ends before the record.
    left: Option<RawRow>,
    left_exists: bool,
    /// The latest window that reaches beyond the record.
    right: Option<RawRow>,
    right_exists: bool,
}

impl<K, V, A, I, F> Edge<K, V> for Sliding<K, V, A, I, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    A: 'static,
    I: Fn() -> Option<A> + Send + Sync,
    F: Fn(&K, V, Option<A>) -> Result<Option<A>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        if self
            .nulls
            .is_null(Place::value("", &Headers::new()), &record.value)
        {
            ctx.drop_record();
            return Ok(());
        }
        let aggregate = &*self.aggregate;
        let Some(bytes) = aggregate.store.format.key_bytes(ctx, aggregate.node, &record)? else {
            return Ok(());
        };
        let taken = self.take_in(ctx, &bytes, record);
        ctx.key = bytes;
        taken
    }
}

impl<K, V, A, I, F> Sliding<K, V, A, I, F>
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
        let at_ms = timestamp.millis();
        if at_ms.saturating_add(self.difference_ms) < close_ms {
            ctx.drop_record();
            return aggregate.late(ctx, &arrival, value);
        }
        if at_ms < self.difference_ms {
            // Kafka Streams does not look for windows to emit here.
            return self.take_in_early(ctx, &arrival, &value);
        }
        self.take_in_at(ctx, &arrival, &value)?;
        aggregate.emit_after(ctx, close_ms, &headers)
    }

    fn take_in_at(&self, ctx: &mut Context, arrival: &Arrival<'_, K>, value: &V) -> Flow {
        let at_ms = arrival.timestamp.millis();
        let reach = (
            at_ms.saturating_sub(self.difference_ms.saturating_mul(2)).max(0),
            at_ms.saturating_add(1),
        );
        let store = &self.aggregate.store;
        let rows = store.fetch(ctx, arrival.bytes, reach, Direction::Backward)?;
        let mut around = Around::default();
        for row in rows {
            let (start_ms, end_ms) = (row.start_ms, store.end_ms(row.start_ms));
            let greatest_ms = row.timestamp.millis();
            around.starts.insert(start_ms);
            if start_ms == reach.1 {
                around.right_exists = true;
            } else if end_ms > at_ms {
                self.update(ctx, arrival, value, &row)?;
                around.right.get_or_insert(row);
            } else if end_ms == at_ms {
                around.left_exists = true;
                self.update(ctx, arrival, value, &row)?;
                if greatest_ms >= at_ms {
                    // Another record of this very time has made all other windows.
                    return Ok(());
                }
                around.previous_ms = Some(greatest_ms);
            } else {
                around.previous_ms = Some(greatest_ms);
                around.left = Some(row);
                break;
            }
        }
        self.make_windows(ctx, arrival, value, around)
    }

    fn make_windows(&self, ctx: &mut Context, arrival: &Arrival<'_, K>, value: &V, around: Around) -> Flow {
        let at_ms = arrival.timestamp.millis();
        if let Some(previous_ms) = around.previous_ms {
            let start_ms = previous_ms.saturating_add(1);
            if !around.starts.contains(&start_ms) && self.aggregate.store.end_ms(start_ms) >= at_ms {
                self.begin(ctx, arrival, value, start_ms)?;
            }
        }
        if !around.left_exists {
            let start_ms = at_ms - self.difference_ms;
            let previous_in_reach = around
                .previous_ms
                .is_some_and(|previous_ms| start_ms <= previous_ms);
            match around.left {
                Some(left) if previous_in_reach => {
                    let left = RawRow {
                        start_ms,
                        value: left.value,
                        timestamp: arrival.timestamp,
                    };
                    self.update(ctx, arrival, value, &left)?;
                }
                _ => self.begin(ctx, arrival, value, start_ms)?,
            }
        }
        match around.right {
            Some(right) if !around.right_exists => self.make_right(ctx, arrival, right),
            _ => Ok(()),
        }
    }

    /// Takes in a record of a time before `d`.
    fn take_in_early(&self, ctx: &mut Context, arrival: &Arrival<'_, K>, value: &V) -> Flow {
        let at_ms = arrival.timestamp.millis();
        let store = &self.aggregate.store;
        let rows = store.fetch(ctx, arrival.bytes, (0, at_ms + 1), Direction::Forward)?;
        let mut around = Around::default();
        for row in rows {
            let greatest_ms = row.timestamp.millis();
            around.starts.insert(row.start_ms);
            if row.start_ms == 0 {
                around.previous_ms = (greatest_ms < at_ms).then_some(greatest_ms);
                around.left = Some(row);
            } else if row.start_ms <= at_ms {
                self.update(ctx, arrival, value, &row)?;
                around.right = Some(row);
            } else {
                around.right_exists = true;
            }
        }
        let left = around.left;
        if !around.right_exists {
            // Without a window between, all that [0, d] holds lies to the right.
            let right = around.right.or_else(|| {
                left.as_ref().map(|left| RawRow {
                    start_ms: left.start_ms,
                    value: left.value.clone(),
                    timestamp: left.timestamp,
                })
            });
            if let Some(right) = right {
                self.make_right(ctx, arrival, right)?;
            }
        }
        if let Some(start_ms) = around
            .previous_ms
            .map(|previous_ms| previous_ms.saturating_add(1))
            && !around.starts.contains(&start_ms)
        {
            self.begin(ctx, arrival, value, start_ms)?;
        }
        match left {
            Some(left) => self.update(ctx, arrival, value, &left),
            None => self.begin(ctx, arrival, value, 0),
        }
    }

    /// Works the record into a window that is there, unless it has closed.
    fn update(&self, ctx: &mut Context, arrival: &Arrival<'_, K>, value: &V, row: &RawRow) -> Flow {
        let aggregate = &*self.aggregate;
        if aggregate.store.end_ms(row.start_ms) < arrival.close_ms {
            ctx.drop_record();
            return Ok(());
        }
        let before = aggregate.standing(&row.value, row.timestamp)?;
        aggregate.update(ctx, arrival, value.clone(), row.start_ms, before)
    }

    /// Begins a window with the record, unless it has closed.
    fn begin(&self, ctx: &mut Context, arrival: &Arrival<'_, K>, value: &V, start_ms: i64) -> Flow {
        let aggregate = &*self.aggregate;
        if aggregate.store.end_ms(start_ms) < arrival.close_ms {
            ctx.drop_record();
            return Ok(());
        }
        match aggregate.beginning(ctx, arrival.timestamp)? {
            Some(before) => aggregate.update(ctx, arrival, value.clone(), start_ms, before),
            None => Ok(()),
        }
    }

    /// Makes the window to the record's right of what lies there, if anything does.
    fn make_right(&self, ctx: &mut Context, arrival: &Arrival<'_, K>, right: RawRow) -> Flow {
        if right.timestamp <= arrival.timestamp {
            return Ok(());
        }
        let aggregate = &*self.aggregate;
        let row = RawRow {
            start_ms: arrival.timestamp.millis().saturating_add(1),
            ..right
        };
        aggregate.store.put_raw(ctx, arrival.bytes, &row, arrival.headers);
        aggregate.opened(ctx, arrival, row.start_ms);
        let change = Change::new(Some(aggregate.store.format.decode(&row.value)?), None);
        aggregate.forward(ctx, arrival, row.start_ms, change, row.timestamp)
    }
}
