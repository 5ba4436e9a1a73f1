//! The counters of one thread.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tidemill_client::Member;
use tidemill_data::Timestamp;
use tidemill_streams::TaskId;

use super::{Desk, NodeSnapshot, TaskSnapshot, ThreadSnapshot};
use crate::live_task::LiveTask;

/// How often a thread publishes.
const INTERVAL: Duration = Duration::from_millis(250);

/// Counts for one thread, and publishes now and then.
pub(crate) struct Recorder {
    desk: Desk,
    totals: ThreadSnapshot,
    published: Option<Timestamp>,
    // Of the last publication, for the rates.
    processed_then: u64,
    reached_then: HashMap<(TaskId, String), u64>,
}

impl Recorder {
    pub(crate) fn new(desk: Desk, name: &str) -> Self {
        let totals = ThreadSnapshot {
            name: name.to_owned(),
            ..ThreadSnapshot::default()
        };
        Self {
            desk,
            totals,
            published: None,
            processed_then: 0,
            reached_then: HashMap::new(),
        }
    }

    pub(crate) fn polled(&mut self) {
        self.totals.polls += 1;
    }

    pub(crate) fn processed(&mut self, records: usize, began: Instant) {
        self.totals.processed += records as u64;
        self.totals.process_time += began.elapsed();
    }

    pub(crate) fn punctuated(&mut self) {
        self.totals.punctuations += 1;
    }

    pub(crate) fn committed(&mut self, began: Instant) {
        let took = began.elapsed();
        self.totals.commits += 1;
        self.totals.commit_time += took;
        self.totals.commit_time_max = self.totals.commit_time_max.max(took);
    }

    pub(crate) fn set_back(&mut self) {
        self.totals.setbacks += 1;
    }

    pub(crate) fn created(&mut self, tasks: usize) {
        self.totals.tasks_created += tasks as u64;
    }

    pub(crate) fn closed(&mut self, tasks: usize) {
        self.totals.tasks_closed += tasks as u64;
    }

    /// Publishes, if it is time.
    pub(crate) fn publish(
        &mut self,
        tasks: &BTreeMap<TaskId, LiveTask>,
        member: &dyn Member,
        now: Timestamp,
    ) {
        let due = |then: Timestamp| then.saturating_add(INTERVAL) <= now;
        if !self.published.is_none_or(due) {
            return;
        }
        let spent = self.published.map_or(0, |then| now.millis() - then.millis());
        let rate = |more: u64| {
            if spent > 0 {
                more as f64 * 1_000.0 / spent as f64
            } else {
                0.0
            }
        };
        let mut snapshot = self.totals.clone();
        snapshot.process_rate = rate(snapshot.processed - self.processed_then);
        let mut reached_now = HashMap::with_capacity(self.reached_then.len());
        for (id, live) in tasks {
            let nodes = live.task.reached().map(|(name, processed)| {
                let key = (*id, name.to_owned());
                let before = self.reached_then.get(&key).copied().unwrap_or(processed);
                reached_now.insert(key, processed);
                NodeSnapshot {
                    name: name.to_owned(),
                    processed,
                    rate: rate(processed.saturating_sub(before)),
                }
            });
            snapshot.tasks.push(TaskSnapshot {
                id: id.to_string(),
                nodes: nodes.collect(),
                dropped: live.task.dropped(),
                buffered: live.task.buffered(),
                uncommitted_bytes: live.task.dirty_bytes(),
                lag: live.lag(|partition| member.known_end(partition)),
            });
        }
        self.published = Some(now);
        self.processed_then = snapshot.processed;
        self.reached_then = reached_now;
        self.desk.metrics.publish(self.desk.thread, snapshot);
    }
}
