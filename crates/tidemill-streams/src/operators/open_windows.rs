//! The windows that `emit_on_close` has yet to emit, in the order in which they close, so that emitting them is no
//! search through the store.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    context::Context,
    edge::Flow,
    failure::Halt,
    graph::{Graph, NodeId, SlotIndex},
};

/// When a window comes in order: for windows of a fixed size their start, for sessions end and start.
pub(super) type Place = (i64, i64);

/// A window that closed, and its key.
pub(super) type Closed = (Place, Box<[u8]>);

/// Keys by their windows' places.
type Order = BTreeMap<Place, BTreeSet<Box<[u8]>>>;

/// Says where windows are, and their keys.
pub(super) type Found<'a> = &'a mut dyn FnMut(Place, &[u8]);

pub(super) struct OpenWindows {
    slot: SlotIndex,
}

#[derive(Default)]
struct Known {
    order: Order,
    // The epoch of the task's state that this is of; `None` before the store was looked at.
    epoch: Option<u64>,
}

impl OpenWindows {
    pub(super) fn declare(graph: &mut Graph, node: NodeId) -> Self {
        Self {
            slot: graph.slot(
                node,
                Arc::new(|| Box::new(Known::default()) as Box<dyn Any + Send>),
            ),
        }
    }

    fn with<R>(&self, ctx: &mut Context, work: impl FnOnce(&mut Known, &mut Context) -> R) -> Option<R> {
        let mut state = ctx.take_slot(self.slot)?;
        let known: &mut Known = state
            .downcast_mut()
            .expect("an operator's slot is of the type it made");
        let worked = work(known, ctx);
        ctx.put_slot(self.slot, state);
        Some(worked)
    }

    /// Notes a window that was written.
    pub(super) fn add(&self, ctx: &mut Context, place: Place, key: &[u8]) {
        self.with(ctx, |known, ctx| {
            // Until the store was looked at, it has this one for then.
            if known.epoch == Some(ctx.epoch) {
                add(&mut known.order, place, key);
            }
        });
    }

    /// Notes that a window went.
    pub(super) fn remove(&self, ctx: &mut Context, place: Place, key: &[u8]) {
        self.with(ctx, |known, _| {
            if let Some(keys) = known.order.get_mut(&place) {
                keys.remove(key);
                if keys.is_empty() {
                    known.order.remove(&place);
                }
            }
        });
    }

    /// Takes out the windows up to a time, in order. `look` finds all that are in the store and were not emitted; it is
    /// called after a start, and when the state went back.
    pub(super) fn take_until(
        &self,
        ctx: &mut Context,
        last_ms: i64,
        look: impl FnOnce(&mut Context, Found<'_>) -> Flow,
    ) -> Result<Vec<Closed>, Halt> {
        let taken = self.with(ctx, |known, ctx| {
            if known.epoch != Some(ctx.epoch) {
                known.order.clear();
                look(ctx, &mut |place, key| add(&mut known.order, place, key))?;
                known.epoch = Some(ctx.epoch);
            }
            let later = match last_ms.checked_add(1) {
                Some(next_ms) => known.order.split_off(&(next_ms, i64::MIN)),
                None => Order::new(),
            };
            let closed = std::mem::replace(&mut known.order, later).into_iter();
            Ok(closed
                .flat_map(|(place, keys)| keys.into_iter().map(move |key| (place, key)))
                .collect())
        });
        taken.unwrap_or_else(|| Ok(Vec::new()))
    }
}

fn add(order: &mut Order, place: Place, key: &[u8]) {
    let keys = order.entry(place).or_default();
    if !keys.contains(key) {
        keys.insert(key.into());
    }
}
