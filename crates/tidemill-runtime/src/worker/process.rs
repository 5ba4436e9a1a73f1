//! Tasks process, and what that gave is sent.

use std::time::{Duration, Instant};

use tidemill_client::Member;
use tidemill_data::Timestamp;
use tidemill_streams::{Outputs, TaskId};

use super::assignment::resume;
use super::{Instance, Worker};
use crate::live_task::{LiveTask, task_error};
use crate::metrics::Recorder;
use crate::producer::Setback;
use crate::sender::Sender;

impl Worker {
    /// Lets every task process what it may, and sends what that gave.
    pub(super) fn process(&mut self, now: Timestamp) -> Result<(), Setback> {
        let mut full = false;
        for (id, live) in &mut self.tasks {
            let mut run = Run {
                instance: &self.instance,
                sender: &mut self.sender,
                outputs: &mut self.outputs,
                recorder: &mut self.recorder,
                now,
            };
            full |= run.task(*id, live)?;
            balance(&mut *self.member, live, &self.instance);
        }
        self.unfinished = full;
        if full { self.commit(now) } else { Ok(()) }
    }

    /// Keeps what arrives within its bounds while nothing is processed.
    pub(super) fn hold_back(&mut self) {
        for live in self.tasks.values_mut() {
            balance(&mut *self.member, live, &self.instance);
        }
    }

    pub(super) fn until_due(&self, now: Timestamp) -> Duration {
        let tasks = || self.tasks.values().map(|live| &live.task);
        let open = self.sender.producer.is_open() || tasks().any(|task| task.needs_commit());
        // A commit that waits for calls is not what the thread would wake up for: they wake it.
        let commit = (open && !self.draining).then(|| {
            self.last_commit
                .saturating_add(self.instance.config.commit_interval)
        });
        let punctuation = tasks().filter_map(|task| task.next_punctuation()).min();
        let calls = tasks().filter_map(|task| task.next_call_deadline()).min();
        let idle = self.instance.config.max_task_idle;
        let idle = self.tasks.values().filter_map(|live| live.idle_until(idle)).min();
        let due = commit
            .into_iter()
            .chain(idle)
            .chain(punctuation)
            .chain(calls)
            .min();
        due.map_or(Duration::MAX, |due| {
            Duration::from_millis(u64::try_from(due.millis().saturating_sub(now.millis())).unwrap_or(0))
        })
    }
}

/// One task's share of a turn.
struct Run<'a> {
    instance: &'a Instance,
    sender: &'a mut Sender,
    outputs: &'a mut Outputs,
    recorder: &'a mut Recorder,
    now: Timestamp,
}

impl Run<'_> {
    /// Says whether a commit is wanted before more is processed.
    fn task(&mut self, id: TaskId, live: &mut LiveTask) -> Result<bool, Setback> {
        let failed = |e| task_error(id, e);
        if live.task.next_punctuation().is_some_and(|due| due <= self.now) {
            live.task.punctuate_wall(self.now, self.outputs).map_err(failed)?;
            self.recorder.punctuated();
            live.held.note(&live.task, self.outputs);
            self.send()?;
        }
        let idle = self.instance.config.max_task_idle;
        loop {
            let ready = live.ready(idle, self.now);
            if ready == 0 {
                return Ok(false);
            }
            let batch = tracing::debug_span!("batch", task = %id, ready).entered();
            let began = Instant::now();
            // What was taken up is gone from the queues, and counts where it went.
            live.held.note(&live.task, self.outputs);
            let done = live.task.process(ready, self.now, self.outputs).map_err(failed)?;
            live.held.note(&live.task, self.outputs);
            self.send()?;
            self.recorder.processed(done.records, began);
            drop(batch);
            if done.full || done.records == 0 {
                return Ok(done.full);
            }
        }
    }

    fn send(&mut self) -> Result<(), Setback> {
        let Instance { topology, plan, .. } = self.instance;
        let sent = self.sender.send(topology, plan, self.outputs);
        // Cleared even when it failed: what could not be sent is not to be sent after a fresh start.
        self.outputs.clear();
        sent
    }
}

/// Pauses inputs of which too much waits for a slower input, and takes pauses back. An input with nothing waiting is
/// never paused: its records are those that the others wait for.
fn balance(member: &mut dyn Member, live: &mut LiveTask, instance: &Instance) {
    let records_max = instance.config.buffered_records;
    // One more poll may bring as much again, and together that is the inputs' share.
    let crowded = live.task.buffered().1 > instance.config.polled_bytes_max();
    let LiveTask { task, inputs, .. } = live;
    let too_much = |topic: &str| {
        let waiting = task.buffered_of(topic);
        waiting > records_max || (crowded && waiting > 0)
    };
    resume(member, inputs, |partition| !too_much(&partition.topic));
    for input in inputs.iter_mut().filter(|input| !input.paused) {
        if too_much(&input.partition.topic) {
            input.paused = true;
            member.pause(std::slice::from_ref(&input.partition));
        }
    }
}
