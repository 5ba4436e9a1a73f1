//! What knows when windows close: an operator's stream time, how far it has emitted, and the clock on the wall.

use std::{any::Any, sync::Arc, time::Duration};

use tidemill_data::Timestamp;

use crate::{
    clocks::ClockIndex,
    context::Context,
    graph::{Graph, NodeId, SlotIndex},
    punctuation::Clock,
    windows::Closing,
};

/// Whether a windowed aggregation emits each update, or each window once, when it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emission {
    OnUpdate,
    OnClose,
}

/// How often an operator looks at the wall clock to find that nothing came.
const IDLE_CHECK_MS_MAX: i64 = 1_000;

/// The times of one operator on windows.
pub(crate) struct Closer {
    node: NodeId,
    /// The largest timestamp it has taken in.
    time: ClockIndex,
    /// Up to where it has emitted what closed.
    emitted: ClockIndex,
    emission: Emission,
    idle_ms: Option<i64>,
    slot: SlotIndex,
}

/// What of it does not survive a restart.
struct OnTheWall {
    emits_next_ms: i64,
    arrived_ms: i64,
    time_at_arrival: Timestamp,
}

impl Closer {
    pub(crate) fn declare(graph: &mut Graph, node: NodeId, closing: Closing, emission: Emission) -> Self {
        let time = graph.clock(node);
        let emitted = match emission {
            Emission::OnUpdate => time,
            Emission::OnClose => graph.clock_of(node, "-emitted"),
        };
        let slot = graph.slot(
            node,
            Arc::new(|| {
                Box::new(OnTheWall {
                    emits_next_ms: 0,
                    arrived_ms: i64::MAX,
                    time_at_arrival: Timestamp::MIN,
                }) as Box<dyn Any + Send>
            }),
        );
        Self {
            node,
            time,
            emitted,
            emission,
            idle_ms: closing.idle_ms,
            slot,
        }
    }

    pub(crate) fn emits_on_close(&self) -> bool {
        self.emission == Emission::OnClose
    }

    /// Whether the wall clock can close windows, so that the operator has to be called by it.
    pub(crate) fn closes_when_idle(&self) -> bool {
        self.idle_ms.is_some()
    }

    fn with<R>(&self, ctx: &mut Context, look: impl FnOnce(&mut OnTheWall, &mut Context) -> R) -> Option<R> {
        let mut state = ctx.take_slot(self.slot)?;
        let wall: &mut OnTheWall = state
            .downcast_mut()
            .expect("an operator's slot is of the type it made");
        let seen = look(wall, ctx);
        ctx.put_slot(self.slot, state);
        Some(seen)
    }

    /// Takes a record's timestamp in; the operator's stream time, this record included.
    pub(crate) fn arrived(&self, ctx: &mut Context, timestamp: Timestamp) -> Timestamp {
        let time = ctx.observe(self.time, timestamp);
        if self.idle_ms.is_some() {
            self.with(ctx, |wall, ctx| {
                wall.arrived_ms = ctx.wall_time.millis();
                wall.time_at_arrival = time;
            });
        }
        time
    }

    /// The operator's stream time.
    pub(crate) fn time(&self, ctx: &Context) -> Timestamp {
        ctx.clock(self.time)
    }

    /// Starts looking at the wall clock.
    pub(crate) fn start(&self, ctx: &mut Context) {
        let Some(idle_ms) = self.idle_ms else { return };
        let now = ctx.wall_time;
        self.with(ctx, |wall, _| wall.arrived_ms = now.millis());
        let interval_ms = idle_ms.min(IDLE_CHECK_MS_MAX);
        ctx.schedules.add(self.node, Clock::WallClock, interval_ms, now);
    }

    /// If nothing came for long enough: the stream time that the wall clock makes of that.
    pub(crate) fn idle(&self, ctx: &mut Context, now: Timestamp) -> Option<Timestamp> {
        let idle_ms = self.idle_ms?;
        let known = ctx.clock(self.time);
        let (span_ms, from) = self.with(ctx, |wall, _| {
            // After a restart no record has come yet: the time before it goes on.
            let from = wall.time_at_arrival;
            let from = if from == Timestamp::MIN { known } else { from };
            wall.time_at_arrival = from;
            (now.millis().saturating_sub(wall.arrived_ms), from)
        })?;
        if span_ms < idle_ms || from == Timestamp::MIN {
            return None;
        }
        let span = Duration::from_millis(span_ms.unsigned_abs());
        Some(ctx.observe(self.time, from.saturating_add(span)))
    }

    /// Whether enough of the wall clock has passed to look for windows that closed. It looks at most so often, because
    /// that is a search.
    pub(crate) fn may_emit(&self, ctx: &mut Context) -> bool {
        if self.emission == Emission::OnUpdate {
            return false;
        }
        let (now, interval_ms) = (ctx.wall_time.millis(), ctx.topology.emit_interval_ms);
        self.with(ctx, |wall, _| {
            let may = now >= wall.emits_next_ms;
            if may {
                wall.emits_next_ms = now.saturating_add(interval_ms);
            }
            may
        })
        .unwrap_or(false)
    }

    /// Up to which close time windows were emitted; `None` before the first.
    pub(crate) fn emitted_ms(&self, ctx: &Context) -> Option<i64> {
        let emitted = ctx.clock(self.emitted);
        (emitted > Timestamp::MIN).then(|| emitted.millis())
    }

    pub(crate) fn emitted_until(&self, ctx: &mut Context, close_ms: i64) {
        let _ = ctx.observe(self.emitted, Timestamp::from_millis(close_ms));
    }
}
