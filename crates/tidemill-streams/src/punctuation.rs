//! Punctuations: calls of an operator that are due by stream time or by the wall clock.

use tidemill_data::Timestamp;

use crate::graph::NodeId;

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

#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) id: ScheduleId,
    pub(crate) node: NodeId,
    pub(crate) clock: Clock,
    interval_ms: i64,
    due_ms: i64,
}

/// The schedules of a task.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    all: Vec<Schedule>,
    ids: u64,
}

impl Schedules {
    pub(crate) fn add(&mut self, node: NodeId, clock: Clock, interval_ms: i64, now: Timestamp) -> ScheduleId {
        self.ids += 1;
        let id = ScheduleId(self.ids);
        let interval_ms = interval_ms.max(1);
        let due_ms = match clock {
            Clock::StreamTime => 0,
            Clock::WallClock => now.millis().saturating_add(interval_ms),
        };
        self.all.push(Schedule {
            id,
            node,
            clock,
            interval_ms,
            due_ms,
        });
        id
    }

    pub(crate) fn cancel(&mut self, id: ScheduleId) {
        self.all.retain(|schedule| schedule.id != id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The schedules that are due at `now`, each of which counts as fired: what was missed is skipped, and the next
    /// firing stays on the schedule's grid.
    pub(crate) fn take_due(&mut self, clock: Clock, now: Timestamp) -> Vec<Schedule> {
        let now = now.millis();
        let mut due = Vec::new();
        for schedule in &mut self.all {
            if schedule.clock != clock || now < schedule.due_ms {
                continue;
            }
            let missed = (now - schedule.due_ms) / schedule.interval_ms + 1;
            schedule.due_ms = schedule
                .due_ms
                .saturating_add(missed.saturating_mul(schedule.interval_ms));
            due.push(*schedule);
        }
        due
    }

    pub(crate) fn next_wall_clock(&self) -> Option<Timestamp> {
        let wall = self
            .all
            .iter()
            .filter(|schedule| schedule.clock == Clock::WallClock);
        wall.map(|schedule| Timestamp::from_millis(schedule.due_ms)).min()
    }
}
