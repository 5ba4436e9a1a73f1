//! Records taken up one at a time, by their timestamps, and the punctuations that follow from them.

use std::sync::Arc;

use tidemill_data::Timestamp;

use super::Task;
use crate::{Outputs, RawRecord, TaskError, context::Current, failure::Halt, punctuation::Clock};

/// What processing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processed {
    /// How many records were taken up.
    pub records: usize,
    /// Whether the caller should commit, because the state's overlay or the outputs have grown large.
    pub full: bool,
}

/// State written since the last commit, above which a task asks for one, unless it was told another bound.
const DIRTY_BYTES_MAX: usize = 64 << 20;

/// Outputs above which `process` returns early, so that they can be sent.
pub(super) const OUTPUT_BYTES_MAX: usize = 8 << 20;

impl Task {
    /// Adds records of an input topic, in the order of their offsets.
    ///
    /// # Errors
    /// When the task does not read this topic.
    pub fn enqueue(
        &mut self,
        topic: &str,
        records: impl IntoIterator<Item = RawRecord>,
    ) -> Result<(), TaskError> {
        let index = self.input(topic).ok_or_else(|| self.not_an_input(topic))?;
        let decl = self.ctx.topology.topics.get(index.position());
        let extract = decl.and_then(|topic| topic.input.extract.as_deref());
        for mut record in records {
            if let Some(extract) = extract {
                record.timestamp = extract.timestamp(&record);
            }
            self.queues.push(index, record);
        }
        Ok(())
    }

    /// How many records wait, and about the bytes they take.
    #[must_use]
    pub fn buffered(&self) -> (usize, usize) {
        (self.queues.records(), self.queues.bytes())
    }

    /// About the bytes in which operators keep the order of what they hold back: see
    /// [`TaskConfig::order_bytes_max`](crate::TaskConfig::order_bytes_max).
    #[must_use]
    pub fn order_bytes(&self) -> usize {
        self.ctx.order_bytes
    }

    /// How many records of one topic wait.
    #[must_use]
    pub fn buffered_of(&self, topic: &str) -> usize {
        self.ctx
            .topology
            .topic(topic)
            .map_or(0, |at| self.queues.records_of(at))
    }

    /// Takes up to `records_max` waiting records, earliest first, and appends what they led to.
    ///
    /// # Errors
    /// When a record fails and the policy is to fail, or state cannot be read. The task is then to be closed without a
    /// commit; what it appended is not to be sent.
    pub fn process(
        &mut self,
        records_max: usize,
        now: Timestamp,
        outputs: &mut Outputs,
    ) -> Result<Processed, TaskError> {
        std::mem::swap(&mut self.ctx.outputs, outputs);
        self.ctx.wall_time = now;
        let processed = self.process_some(records_max);
        std::mem::swap(&mut self.ctx.outputs, outputs);
        processed.map_err(|halt| *halt.0)
    }

    fn process_some(&mut self, records_max: usize) -> Result<Processed, Halt> {
        let mut processed = Processed::default();
        let dirty_bytes_max = self.ctx.config.uncommitted_bytes_max.unwrap_or(DIRTY_BYTES_MAX);
        let output_bytes_max = self.ctx.config.output_bytes_max.unwrap_or(OUTPUT_BYTES_MAX);
        while processed.records < records_max && self.ctx.outputs.byte_len() < output_bytes_max {
            if self.ctx.calls.is_full() {
                break;
            }
            let Some((topic, record)) = self.queues.pop() else {
                break;
            };
            processed.records += 1;
            let (offset, timestamp) = (record.offset, record.timestamp);
            self.ctx.clocks.observe_task(timestamp);
            self.ctx.current = Some(Current { topic, record });
            self.enter(topic)?;
            self.ctx.current = None;
            self.punctuate(Clock::StreamTime, self.ctx.stream_time())?;
            if let Some(next) = self.uncommitted.get_mut(topic.position()) {
                *next = Some(offset + 1);
            }
            self.reached.took(topic, offset);
            self.take_looped();
            if self.ctx.stores.dirty_bytes() > dirty_bytes_max {
                break;
            }
        }
        processed.full = self.ctx.stores.dirty_bytes() > dirty_bytes_max;
        Ok(processed)
    }

    fn enter(&mut self, topic: crate::TopicIndex) -> Result<(), Halt> {
        let topology = Arc::clone(&self.ctx.topology);
        let entries = topology
            .entries
            .get(topic.position())
            .map_or(&[][..], Vec::as_slice);
        for (_, entry) in entries {
            entry.enter(&mut self.ctx)?;
        }
        Ok(())
    }

    pub(super) fn take_looped(&mut self) {
        for (topic, record) in self.ctx.looped.drain(..) {
            self.queues.push(topic, record);
        }
    }

    fn punctuate(&mut self, clock: Clock, now: Timestamp) -> Result<(), Halt> {
        while let Some(schedule) = self.ctx.schedules.call_next(clock, now) {
            let topology = Arc::clone(&self.ctx.topology);
            let mut punctuated = topology.punctuated.iter();
            if let Some((_, punctuated)) = punctuated.find(|(node, _)| *node == schedule.node) {
                punctuated.punctuate(&mut self.ctx, schedule, now)?;
            }
            self.ctx.schedules.called(now);
        }
        self.take_looped();
        Ok(())
    }

    /// Calls what is due by the wall clock, and appends what that led to.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn punctuate_wall(&mut self, now: Timestamp, outputs: &mut Outputs) -> Result<(), TaskError> {
        std::mem::swap(&mut self.ctx.outputs, outputs);
        self.ctx.wall_time = now;
        let punctuated = self.punctuate(Clock::WallClock, now);
        std::mem::swap(&mut self.ctx.outputs, outputs);
        punctuated.map_err(|halt| *halt.0)
    }

    /// When the wall clock next has something to call.
    #[must_use]
    pub fn next_punctuation(&self) -> Option<Timestamp> {
        self.ctx.schedules.next_wall_clock()
    }
}
