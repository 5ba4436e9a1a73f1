//! The calls that a task has in flight: polled when their futures were woken, given up when they take too long.

use std::{sync::Arc, task::Waker};

use tidemill_data::Timestamp;

use super::Task;
use crate::{Outputs, TaskError, failure::Halt};

impl Task {
    /// How many calls are in flight. While there are any, nothing can be committed; while an operator has as many as
    /// it may, [`process`](Self::process) takes up no record.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.ctx.calls.in_flight()
    }

    /// The names of the operators that have calls in flight.
    #[must_use]
    pub fn operators_in_flight(&self) -> Vec<&str> {
        let topology = &self.ctx.topology;
        let operators = self.ctx.calls.operators();
        operators
            .filter_map(|operator| topology.calling.get(operator.0))
            .map(|(node, _)| topology.node_name(*node))
            .collect()
    }

    /// When a call takes too long, or is to be tried again.
    #[must_use]
    pub fn next_call_deadline(&self) -> Option<Timestamp> {
        self.ctx.calls.next_deadline()
    }

    /// Polls the calls that were woken, gives up those that take too long, begins those that may, and appends what
    /// all that led to. `waker` is woken when there is reason to call this again before the next deadline. Whether
    /// anything happened.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn poll_calls(
        &mut self,
        now: Timestamp,
        waker: &Waker,
        outputs: &mut Outputs,
    ) -> Result<bool, TaskError> {
        self.ctx.calls.tell(waker);
        std::mem::swap(&mut self.ctx.outputs, outputs);
        self.ctx.wall_time = now;
        let polled = self.poll_ready(now);
        std::mem::swap(&mut self.ctx.outputs, outputs);
        polled.map_err(|halt| *halt.0)
    }

    fn poll_ready(&mut self, now: Timestamp) -> Result<bool, Halt> {
        let ready = self.ctx.calls.take_ready(now);
        let topology = Arc::clone(&self.ctx.topology);
        for (operator, woken) in &ready {
            if let Some((_, calling)) = topology.calling.get(operator.0) {
                calling.poll(&mut self.ctx, woken)?;
            }
        }
        self.take_looped();
        Ok(!ready.is_empty())
    }

    pub(super) fn forget_calls(&mut self) {
        let topology = Arc::clone(&self.ctx.topology);
        for (_, calling) in &topology.calling {
            calling.forget(&mut self.ctx);
        }
    }
}
