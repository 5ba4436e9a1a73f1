//! The windows that `emit_on_close` has yet to emit, in the order in which they close, so that emitting them is no
//! search through the store.
//!
//! However many windows are open, this takes no more than so many bytes: it then knows only the first to close, and looks
//! through the store again when it has emitted those.

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

/// Bytes of the windows that one operator knows in a task. Each time that so many were emitted, the store is looked
/// through once: at 100 bytes a window, once for 160,000 of them.
const BYTES_MAX: usize = 16 << 20;

/// About what a window takes beside its key.
const WINDOW_BYTES: usize = 64;

struct Known {
    order: Order,
    // Invariant: those of `order`, and at most `bytes_max` between calls.
    bytes: usize,
    bytes_max: usize,
    // Windows from here on are only in the store. Invariant: all of `order` come before.
    beyond: Option<Closed>,
    // The last one taken out by a look at the clock that is not done yet.
    taken: Option<Closed>,
    // The epoch of the task's state that this is of; `None` before the store was looked at.
    epoch: Option<u64>,
}

impl Known {
    fn new(bytes_max: usize) -> Self {
        Self {
            order: Order::new(),
            bytes: 0,
            bytes_max,
            beyond: None,
            taken: None,
            epoch: None,
        }
    }

    fn forget(&mut self) {
        *self = Self {
            taken: self.taken.take(),
            ..Self::new(self.bytes_max)
        };
    }

    fn add(&mut self, place: Place, key: &[u8]) {
        let is_beyond = |beyond: &Closed| (place, key) >= (beyond.0, &*beyond.1);
        if self.beyond.as_ref().is_some_and(is_beyond) {
            return;
        }
        let keys = self.order.entry(place).or_default();
        if keys.contains(key) {
            return;
        }
        keys.insert(key.into());
        self.bytes += WINDOW_BYTES + key.len();
        while self.bytes > self.bytes_max {
            let Some(last) = self.pop_last() else { break };
            self.beyond = Some(last);
        }
    }

    fn pop_last(&mut self) -> Option<Closed> {
        let mut last = self.order.last_entry()?;
        let place = *last.key();
        let key = last.get_mut().pop_last()?;
        if last.get().is_empty() {
            last.remove();
        }
        self.bytes -= WINDOW_BYTES + key.len();
        Some((place, key))
    }

    fn remove(&mut self, place: Place, key: &[u8]) {
        let Some(keys) = self.order.get_mut(&place) else {
            return;
        };
        if keys.remove(key) {
            self.bytes -= WINDOW_BYTES + key.len();
        }
        if keys.is_empty() {
            self.order.remove(&place);
        }
    }

    /// Whether windows up to a time may be in the store of which this knows nothing.
    fn lacks(&self, last_ms: i64) -> bool {
        let beyond = self.beyond.as_ref();
        self.order.is_empty() && beyond.is_some_and(|(place, _)| place.0 <= last_ms)
    }

    /// Takes in a window that is in the store, unless it was taken out just now.
    fn found(&mut self, place: Place, key: &[u8]) {
        let is_taken = |taken: &Closed| (place, key) <= (taken.0, &*taken.1);
        if !self.taken.as_ref().is_some_and(is_taken) {
            self.add(place, key);
        }
    }

    fn take(&mut self, last_ms: i64) -> Vec<Closed> {
        let later = match last_ms.checked_add(1) {
            Some(next_ms) => self.order.split_off(&(next_ms, i64::MIN)),
            None => Order::new(),
        };
        let closed = std::mem::replace(&mut self.order, later).into_iter();
        let closed: Vec<Closed> = closed
            .flat_map(|(place, keys)| keys.into_iter().map(move |key| (place, key)))
            .collect();
        let taken = closed.iter().map(|(_, key)| WINDOW_BYTES + key.len());
        self.bytes -= taken.sum::<usize>();
        self.taken = closed.last().cloned();
        closed
    }
}

impl OpenWindows {
    pub(super) fn declare(graph: &mut Graph, node: NodeId) -> Self {
        Self {
            slot: graph.slot(
                node,
                Arc::new(|| Box::new(Known::new(BYTES_MAX)) as Box<dyn Any + Send>),
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
                known.add(place, key);
            }
        });
    }

    /// Notes that a window went.
    pub(super) fn remove(&self, ctx: &mut Context, place: Place, key: &[u8]) {
        self.with(ctx, |known, _| known.remove(place, key));
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
            if known.epoch != Some(ctx.epoch) || known.lacks(last_ms) {
                known.forget();
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
    use super::*;

    /// Opens and takes windows as numbers say, beside a set of all of them; what was taken, in order.
    fn taken(bytes_max: usize, steps: &[u64]) -> (Vec<Closed>, Vec<Closed>) {
        let mut known = Known::new(bytes_max);
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
                    known.remove(window.0, &window.1);
                    store.remove(&window);
                }
                1 => {
                    let last_ms = start;
                    expected.extend(store.iter().filter(|(place, _)| place.0 <= last_ms).cloned());
                    loop {
                        if known.lacks(last_ms) {
                            known.forget();
                            store.iter().for_each(|(place, key)| known.found(*place, key));
                        }
                        let closed = known.take(last_ms);
                        assert!(closed.len() <= bytes_max / WINDOW_BYTES);
                        if closed.is_empty() {
                            break;
                        }
                        seen.extend(closed);
                    }
                    store.retain(|(place, _)| place.0 > last_ms);
                    emitted_ms = last_ms;
                }
                _ => {
                    known.add(window.0, &window.1);
                    store.insert(window);
                }
            }
            assert!(known.bytes <= bytes_max);
            let counted = known.order.values().flatten().map(|key| WINDOW_BYTES + key.len());
            assert_eq!(known.bytes, counted.sum::<usize>());
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
            let (seen, expected) = taken(windows * (WINDOW_BYTES + 4), &steps);
            assert!(expected.len() > 1_000);
            assert_eq!(seen, expected, "{windows} known");
        }
    }
}
