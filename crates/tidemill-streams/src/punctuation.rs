//! Punctuations: calls of an operator that are due by stream time or by the wall clock.

use tidemill_data::Timestamp;

use crate::{
    graph::{NodeId, StoreIndex},
    heap::Heap,
};

/// Which clock a schedule follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// The largest timestamp the task has seen.
    StreamTime,
    /// The wall clock, which goes on without records.
    WallClock,
}

/// Identifies one schedule of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScheduleId(pub(crate) u64);

/// What is called when a schedule is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// The operator's own punctuation, every so many milliseconds.
    Punctuation { interval_ms: i64 },
    /// Whatever has come due in this store, once: its next due time makes the next schedule.
    DueIn(StoreIndex),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) id: ScheduleId,
    pub(crate) node: NodeId,
    pub(crate) clock: Clock,
    pub(crate) calls: Calls,
    due_ms: i64,
    // Leaves the heap when it would have been due, as in Kafka Streams: an earlier removal could reorder equals.
    cancelled: bool,
}

fn due(schedule: &Schedule) -> i64 {
    schedule.due_ms
}

/// The schedules of a task.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    stream_time: Heap<Schedule>,
    wall_clock: Heap<Schedule>,
    // The schedule being called, unless it was cancelled meanwhile.
    called: Option<Schedule>,
    ids: u64,
}

impl Schedules {
    /// A schedule of punctuations: by stream time first due at once and then at multiples of the interval, by the wall
    /// clock after one interval.
    pub(crate) fn add(&mut self, node: NodeId, clock: Clock, interval_ms: i64, now: Timestamp) -> ScheduleId {
        let interval_ms = interval_ms.max(1);
        let due_ms = match clock {
            Clock::StreamTime => 0,
            Clock::WallClock => now.millis().saturating_add(interval_ms),
        };
        self.push(node, clock, Calls::Punctuation { interval_ms }, due_ms)
    }

    /// Lets a store be looked at when `due` has come, or earlier if that is scheduled already.
    pub(crate) fn due_in(&mut self, node: NodeId, clock: Clock, store: StoreIndex, due_at: Timestamp) {
        let calls = Calls::DueIn(store);
        let mut known = self.heap(clock).iter();
        if known.any(|known| known.calls == calls && known.due_ms <= due_at.millis()) {
            return;
        }
        self.heap(clock).retain(|known| known.calls != calls, due);
        self.push(node, clock, calls, due_at.millis());
    }

    /// Whether a store is to be looked at by now.
    pub(crate) fn is_due(&mut self, clock: Clock, store: StoreIndex, now: Timestamp) -> bool {
        let mut known = self.heap(clock).iter();
        known.any(|known| known.calls == Calls::DueIn(store) && known.due_ms <= now.millis())
    }

    /// Forgets when a store is to be looked at.
    pub(crate) fn not_due_in(&mut self, clock: Clock, store: StoreIndex) {
        let heap = self.heap(clock);
        heap.retain(|known| known.calls != Calls::DueIn(store), due);
    }

    fn push(&mut self, node: NodeId, clock: Clock, calls: Calls, due_ms: i64) -> ScheduleId {
        self.ids += 1;
        let id = ScheduleId(self.ids);
        let schedule = Schedule {
            id,
            node,
            clock,
            calls,
            due_ms,
            cancelled: false,
        };
        self.heap(clock).push(schedule, due);
        id
    }

    fn heap(&mut self, clock: Clock) -> &mut Heap<Schedule> {
        match clock {
            Clock::StreamTime => &mut self.stream_time,
            Clock::WallClock => &mut self.wall_clock,
        }
    }

    pub(crate) fn cancel(&mut self, id: ScheduleId) {
        self.called.take_if(|called| called.id == id);
        for heap in [&mut self.stream_time, &mut self.wall_clock] {
            for schedule in heap.iter_mut().filter(|schedule| schedule.id == id) {
                schedule.cancelled = true;
            }
        }
    }

    /// The next schedule that is due at `now`, to be called, and then [given back](Self::called).
    pub(crate) fn call_next(&mut self, clock: Clock, now: Timestamp) -> Option<Schedule> {
        let heap = self.heap(clock);
        let mut next = None;
        while next.is_none() && heap.first()?.due_ms <= now.millis() {
            next = heap.pop(due).filter(|schedule| !schedule.cancelled);
        }
        self.called = next;
        next
    }

    /// Ends a call: what was missed is skipped, and the next firing stays on the schedule's grid.
    pub(crate) fn called(&mut self, now: Timestamp) {
        let Some(mut schedule) = self.called.take() else {
            return;
        };
        let Calls::Punctuation { interval_ms } = schedule.calls else {
            return;
        };
        let missed = (now.millis().saturating_sub(schedule.due_ms)) / interval_ms + 1;
        schedule.due_ms = schedule.due_ms.saturating_add(missed.saturating_mul(interval_ms));
        // At the end of time there is no next firing.
        if schedule.due_ms > now.millis() {
            self.heap(schedule.clock).push(schedule, due);
        }
    }

    pub(crate) fn next_wall_clock(&self) -> Option<Timestamp> {
        let live = self.wall_clock.iter().filter(|schedule| !schedule.cancelled);
        live.map(|schedule| Timestamp::from_millis(schedule.due_ms)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(0);

    fn fired(schedules: &mut Schedules, clock: Clock, now: i64) -> Vec<u64> {
        let now = Timestamp::from_millis(now);
        let mut fired = Vec::new();
        while let Some(schedule) = schedules.call_next(clock, now) {
            fired.push(schedule.id.0);
            schedules.called(now);
        }
        fired
    }

    #[test]
    fn a_late_firing_skips_what_was_missed_and_stays_on_the_grid() {
        let mut schedules = Schedules::default();
        schedules.add(NODE, Clock::StreamTime, 10, Timestamp::MIN);
        let times = [0, 9, 25, 29, 30, 101, 109, 110];
        let fired = times.map(|now| fired(&mut schedules, Clock::StreamTime, now).len());
        assert_eq!(fired, [1, 0, 1, 0, 1, 1, 0, 1]);
    }

    #[test]
    fn the_wall_clock_fires_after_one_interval_from_the_start() {
        let mut schedules = Schedules::default();
        schedules.add(NODE, Clock::WallClock, 10, Timestamp::from_millis(5));
        assert_eq!(schedules.next_wall_clock(), Some(Timestamp::from_millis(15)));
        assert_eq!(fired(&mut schedules, Clock::WallClock, 14), [0; 0]);
        assert_eq!(fired(&mut schedules, Clock::WallClock, 15), [1]);
    }

    #[test]
    fn the_earliest_due_is_first_and_a_cancelled_one_does_not_fire() {
        let mut schedules = Schedules::default();
        let now = Timestamp::from_millis(0);
        let slow = schedules.add(NODE, Clock::WallClock, 30, now);
        let fast = schedules.add(NODE, Clock::WallClock, 10, now);
        assert_eq!(fired(&mut schedules, Clock::WallClock, 30), [fast.0, slow.0]);
        let first = schedules.call_next(Clock::WallClock, Timestamp::from_millis(60));
        assert_eq!(first.map(|schedule| schedule.id), Some(fast));
        schedules.cancel(fast);
        schedules.cancel(slow);
        schedules.called(Timestamp::from_millis(60));
        assert_eq!(schedules.next_wall_clock(), None);
    }

    #[test]
    fn a_store_is_looked_at_once_at_its_earliest_time() {
        let mut schedules = Schedules::default();
        for due in [50, 20, 40] {
            schedules.due_in(
                NODE,
                Clock::StreamTime,
                StoreIndex(0),
                Timestamp::from_millis(due),
            );
        }
        assert_eq!(fired(&mut schedules, Clock::StreamTime, 19).len(), 0);
        assert_eq!(fired(&mut schedules, Clock::StreamTime, 20).len(), 1);
        assert_eq!(fired(&mut schedules, Clock::StreamTime, 60).len(), 0);
    }
}
