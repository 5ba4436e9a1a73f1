//! The windows that `emit_on_close` has yet to emit, in the order in which they close, so that emitting them is no
//! search through the store. Of many only the first are known, see [`FirstDue`].

use std::{any::Any, sync::Arc};

use super::{
    closer::Emission,
    first_due::{Entry, FirstDue, Place},
};
use crate::{
    context::Context,
    edge::Flow,
    failure::Halt,
    graph::{Graph, NodeId, SlotIndex},
};

/// A window that closed, and its key.
pub(super) type Closed = Entry;

/// Says where windows are, and their keys.
pub(super) type Found<'a> = &'a mut dyn FnMut(Place, &[u8]);

pub(super) struct OpenWindows {
    slot: SlotIndex,
}

#[derive(Default)]
struct Known {
    order: FirstDue,
    // The last one taken out by a look at the clock that is not done yet.
    taken: Option<Closed>,
    // The epoch of the task's state that this is of; `None` before the store was looked at.
    epoch: Option<u64>,
}

impl Known {
    fn forget(&mut self, bytes_max: usize) {
        *self = Self {
            order: FirstDue::new(bytes_max),
            taken: self.taken.take(),
            epoch: None,
        };
    }

    /// Takes in a window that is in the store, unless it was taken out just now.
    fn found(&mut self, place: Place, key: &[u8]) {
        let is_taken = |taken: &Closed| (place, key) <= (taken.0, &*taken.1);
        if !self.taken.as_ref().is_some_and(is_taken) {
            self.order.add(place, key);
        }
    }

    fn take(&mut self, last_ms: i64) -> Vec<Closed> {
        let closed = self.order.take(last_ms);
        self.taken = closed.last().cloned();
        closed
    }
}

impl OpenWindows {
    pub(super) fn declare(graph: &mut Graph, node: NodeId, emission: Emission) -> Self {
        if emission == Emission::OnClose {
            graph.ordering.push(node);
        }
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
        let before = known.order.bytes();
        let worked = work(known, ctx);
        ctx.order_bytes = ctx.order_bytes.saturating_sub(before) + known.order.bytes();
        ctx.put_slot(self.slot, state);
        Some(worked)
    }

    /// Notes a window that was written.
    pub(super) fn add(&self, ctx: &mut Context, place: Place, key: &[u8]) {
        self.with(ctx, |known, ctx| {
            // Until the store was looked at, it has this one for then.
            if known.epoch == Some(ctx.epoch) {
                known.order.add(place, key);
            }
        });
    }

    /// Notes that a window went.
    pub(super) fn remove(&self, ctx: &mut Context, place: Place, key: &[u8]) {
        self.with(ctx, |known, _| known.order.remove(place, key));
    }

    /// Takes out windows up to a time, in order: as many as are known, and none once all are out. `look` finds all that
    /// are in the store and were not emitted; it is called after a start, when the state went back, and when more are
    /// open than are known.
    pub(super) fn take_until(
        &self,
        ctx: &mut Context,
        last_ms: i64,
        look: impl FnOnce(&mut Context, Found<'_>) -> Flow,
    ) -> Result<Vec<Closed>, Halt> {
        let taken = self.with(ctx, |known, ctx| {
            if known.epoch != Some(ctx.epoch) || known.order.lacks(last_ms) {
                known.forget(ctx.order_bytes_max);
                look(ctx, &mut |place, key| known.found(place, key))?;
                known.epoch = Some(ctx.epoch);
            }
            Ok(known.take(last_ms))
        });
        taken.unwrap_or_else(|| Ok(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Opens and takes windows as numbers say, beside a set of all of them; what was taken, in order.
    fn taken(bytes_max: usize, steps: &[u64]) -> (Vec<Closed>, Vec<Closed>) {
        let mut known = Known::default();
        known.forget(bytes_max);
        let mut store: BTreeSet<Closed> = BTreeSet::new();
        let (mut seen, mut expected) = (Vec::new(), Vec::new());
        let mut emitted_ms = 0;
        for step in steps {
            let (start, key) = (
                emitted_ms + 1 + (step % 7) as i64,
                vec![b'k'; (step / 7 % 5) as usize],
            );
            let window = ((start, 0), key.into_boxed_slice());
            match step / 35 % 9 {
                0 => {
                    known.order.remove(window.0, &window.1);
                    store.remove(&window);
                }
                1 => {
                    let last_ms = start;
                    expected.extend(store.iter().filter(|(place, _)| place.0 <= last_ms).cloned());
                    loop {
                        if known.order.lacks(last_ms) {
                            known.forget(bytes_max);
                            store.iter().for_each(|(place, key)| known.found(*place, key));
                        }
                        let closed = known.take(last_ms);
                        if closed.is_empty() {
                            break;
                        }
                        seen.extend(closed);
                    }
                    store.retain(|(place, _)| place.0 > last_ms);
                    emitted_ms = last_ms;
                }
                _ => {
                    known.order.add(window.0, &window.1);
                    store.insert(window);
                }
            }
            assert!(known.order.bytes() <= bytes_max);
        }
        (seen, expected)
    }

    #[test]
    fn all_windows_come_once_and_in_order_however_few_are_known() {
        let mut number = 1_u64;
        let mut next = || {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            number >> 33
        };
        for windows in [1, 2, 5, 1_000] {
            let steps: Vec<u64> = (0..20_000).map(|_| next()).collect();
            let (seen, expected) = taken(windows * 400, &steps);
            assert!(expected.len() > 1_000);
            assert_eq!(seen, expected, "{windows} known");
        }
    }
}
