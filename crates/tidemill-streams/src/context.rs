//! What a task may change, handed along the edges.

use std::any::Any;

use std::sync::Arc;

use tidemill_data::{BoxError, Headers, Place, Presence, Timestamp, Wire};
use tidemill_store::{StateStores, StoreId};

use crate::{
    Outputs, RawRecord, Topology,
    calls::Calls,
    clocks::{ClockIndex, Clocks},
    dead_letter::dead_letter_headers,
    edge::Flow,
    failure::{Failure, Policy, SourceRecord, Step, TaskError, TooLarge, guard},
    graph::{NodeId, SlotIndex, StoreIndex},
    outputs::{Encoded, OutputRecord, OutputTopic, PartitionChoice, TopicIndex},
    punctuation::Schedules,
    task::TaskConfig,
};

/// The record being processed, as its topic has it.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) topic: TopicIndex,
    pub(crate) record: RawRecord,
}

/// One of several attempts at a record.
pub(crate) struct Attempt {
    pub(crate) node: NodeId,
    /// Whether there is another if this one fails.
    pub(crate) more: bool,
    pub(crate) failed: bool,
}

/// A task's state while it processes.
pub(crate) struct Context {
    pub(crate) topology: Arc<Topology>,
    pub(crate) partition: i32,
    pub(crate) stores: StateStores,
    // By the position of a store in the topology.
    pub(crate) store_ids: Vec<Option<StoreId>>,
    /// What the instance keeps of global tables, in the order in which the topology declares them.
    pub(crate) globals: Option<StateStores>,
    pub(crate) slots: Vec<Option<Box<dyn Any + Send>>>,
    pub(crate) schedules: Schedules,
    pub(crate) calls: Calls,
    pub(crate) outputs: Outputs,
    pub(crate) current: Option<Current>,
    /// The attempt at a record that an operator makes now, if it may make more than one.
    pub(crate) attempt: Option<Attempt>,
    pub(crate) config: TaskConfig,
    pub(crate) clocks: Clocks,
    pub(crate) wall_time: Timestamp,
    /// Grows when state goes back to the last commit, so that what operators keep of it beside stores is made anew.
    pub(crate) epoch: u64,
    // What operators keep in memory of the order in which rows of their stores come due, and how much each of them may.
    pub(crate) order_bytes: usize,
    pub(crate) order_bytes_max: usize,
    pub(crate) dropped: u64,
    // By the position of a node: how many records reached it. Only nodes that read a topic or run user code count.
    pub(crate) reached: Vec<u64>,
    /// Failures that a policy other than `Fail` dealt with.
    pub(crate) failures: Vec<Failure>,
    // Buffers that are taken, used and put back, so that no lookup allocates.
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    // Internal topics of this task, whose records loop.
    pub(crate) loops: Vec<bool>,
    pub(crate) looped: Vec<(TopicIndex, RawRecord)>,
}

/// What a record takes in a batch of its own beside key, value and headers: the batch's header, and lengths.
const RECORD_OVERHEAD_BYTES: usize = 61 + 21;

/// Failures kept until the runtime takes them; more only count.
const FAILURES_MAX: usize = 1_000;

impl Context {
    pub(crate) fn store_id(&self, store: StoreIndex) -> StoreId {
        self.store_ids
            .get(store.0)
            .copied()
            .flatten()
            .expect("a task opens the stores of all its operators")
    }

    /// An operator's own state, taken out while it is used, so that the operator may use the context too.
    pub(crate) fn take_slot(&mut self, slot: SlotIndex) -> Option<Box<dyn Any + Send>> {
        self.slots.get_mut(slot.0)?.take()
    }

    pub(crate) fn put_slot(&mut self, slot: SlotIndex, state: Box<dyn Any + Send>) {
        if let Some(place) = self.slots.get_mut(slot.0) {
            *place = Some(state);
        }
    }

    /// The largest timestamp that the task has taken up.
    pub(crate) fn stream_time(&self) -> Timestamp {
        self.clocks.task()
    }

    /// An operator's own stream time: the largest timestamp it has observed.
    pub(crate) fn clock(&self, clock: ClockIndex) -> Timestamp {
        self.clocks.operator(clock)
    }

    /// Takes a timestamp into an operator's own stream time, and gives that.
    pub(crate) fn observe(&mut self, clock: ClockIndex, timestamp: Timestamp) -> Timestamp {
        self.clocks.observe(clock, timestamp)
    }

    /// From when on something may wait in an operator for its time: `MAX` for nothing, `MIN` when nobody has looked.
    pub(crate) fn waiting(&self, clock: ClockIndex) -> Timestamp {
        self.clocks.waiting(clock)
    }

    pub(crate) fn set_waiting(&mut self, clock: ClockIndex, from: Timestamp) {
        self.clocks.set_waiting(clock, from);
    }

    /// Whether headers are kept beside what is stored.
    pub(crate) fn preserves_headers(&self) -> bool {
        self.topology.preserves_headers
    }

    /// Of a record's headers what is stored with it: none, unless the app preserves headers.
    pub(crate) fn stored<'a>(&self, headers: &'a Headers) -> &'a Headers {
        const NONE: &Headers = &Headers::new();
        if self.topology.preserves_headers {
            headers
        } else {
            NONE
        }
    }

    /// Counts a record that reached a node.
    #[inline]
    pub(crate) fn reach(&mut self, node: NodeId) {
        if let Some(count) = self.reached.get_mut(node.0) {
            *count += 1;
        }
    }

    /// Why the record that came in is not to be processed, where its time is asked of a closure that may fail.
    pub(crate) fn refusal(&self) -> Option<BoxError> {
        let current = self.current.as_ref()?;
        let decl = self.topology.topics.get(current.topic.position())?;
        decl.input.extract.as_ref()?.refusal(&current.record)
    }

    pub(crate) fn drop_record(&mut self) {
        self.dropped += 1;
    }

    /// Runs user code of an operator; an error or panic in it is dealt with by the policy, and gives `None`.
    #[inline]
    pub(crate) fn call<R>(
        &mut self,
        node: NodeId,
        call: impl FnOnce() -> R,
    ) -> Result<Option<R>, crate::failure::Halt> {
        self.reach(node);
        match guard(call) {
            Ok(result) => Ok(Some(result)),
            Err(panic) => self.failed(node, Step::Process, panic).map(|()| None),
        }
    }

    /// As [`call`](Self::call), for user code that may fail.
    #[inline]
    pub(crate) fn try_call<R>(
        &mut self,
        node: NodeId,
        call: impl FnOnce() -> Result<R, BoxError>,
    ) -> Result<Option<R>, crate::failure::Halt> {
        self.reach(node);
        match guard(call).and_then(|result| result) {
            Ok(result) => Ok(Some(result)),
            Err(error) => self.failed(node, Step::Process, error).map(|()| None),
        }
    }

    /// Applies the policy to a failure of the current record in `node`.
    #[cold]
    pub(crate) fn failed(&mut self, node: NodeId, step: Step, error: BoxError) -> Flow {
        let attempt = self.attempt.as_mut().filter(|attempt| attempt.node == node);
        if let Some(attempt) = attempt.filter(|attempt| attempt.more && step == Step::Process) {
            tracing::debug!(operator = self.topology.node_name(node), %error, "a failed record is tried again");
            attempt.failed = true;
            return Ok(());
        }
        let source_record = self.current.as_ref().map(|current| {
            Box::new(SourceRecord {
                topic: self.topology.topic_name(current.topic),
                partition: self.partition,
                record: current.record.clone(),
            })
        });
        let operator = self.topology.node_name(node).to_owned();
        let failure = Failure {
            operator,
            step,
            error,
            source_record,
        };
        match self.topology.policy_of(node).finally().clone() {
            Policy::Fail => return Err(TaskError::Failed(failure).into()),
            Policy::Skip => {}
            Policy::DeadLetter(topic) => self.dead_letter(&topic, &failure),
            Policy::Retry(..) => unreachable!("what comes after the last attempt is no further attempt"),
        }
        self.dropped += 1;
        tracing::warn!(operator = failure.operator, step = %failure.step, error = %failure.error, "a record was skipped");
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(failure);
        }
        Ok(())
    }

    fn dead_letter(&mut self, topic: &str, failure: &Failure) {
        let headers = dead_letter_headers(failure);
        let record = failure.source_record.as_deref().map(|source| &source.record);
        self.outputs.push(OutputRecord {
            topic: OutputTopic::Named(topic),
            partition: PartitionChoice::ByKey,
            key: record.and_then(|record| record.key.as_deref()),
            value: record.and_then(|record| record.value.as_deref()),
            timestamp: record.map_or(self.wall_time, |record| record.timestamp),
            headers: &headers,
        });
    }

    /// Does something that may fail as often as the operator's policy says, until it succeeds.
    pub(crate) fn attempt<R>(
        &mut self,
        node: NodeId,
        mut attempt: impl FnMut(&mut Self) -> Result<R, BoxError>,
    ) -> Result<R, BoxError> {
        let mut failed = 0;
        loop {
            let error = match attempt(self) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            failed += 1;
            match self.topology.policy_of(node).attempts().pause_after(failed) {
                Some(pause) => self.config.pause.wait(pause),
                None => return Err(error),
            }
        }
    }

    /// Decodes the current record's key.
    pub(crate) fn decode_key<K: 'static>(&self, wire: &Wire<K>) -> Result<K, BoxError> {
        let current = self
            .current
            .as_ref()
            .expect("entries are only called for a current record");
        let topic = self.topology.place_name(current.topic);
        let record = &current.record;
        guard(|| wire.decode(Place::key(topic, &record.headers), record.key.as_deref()))?.map_err(Into::into)
    }

    /// Decodes the current record's value.
    pub(crate) fn decode_value<V: 'static>(&self, wire: &Wire<V>) -> Result<V, BoxError> {
        let current = self
            .current
            .as_ref()
            .expect("entries are only called for a current record");
        let topic = self.topology.place_name(current.topic);
        let record = &current.record;
        guard(|| wire.decode(Place::value(topic, &record.headers), record.value.as_deref()))?
            .map_err(Into::into)
    }

    /// Encodes a record to an output topic, or, for an internal topic of this task, to its queue.
    pub(crate) fn emit<K: 'static, V: 'static>(
        &mut self,
        sink: &Sink<'_, K, V>,
        record: crate::Record<K, V>,
    ) -> Flow {
        let encoded = self.attempt(sink.node, |ctx| {
            let buffer = ctx.outputs.buffer();
            let start = buffer.len();
            encode(sink, &record, buffer).inspect_err(|_| buffer.truncate(start))
        });
        let (key, value) = match encoded {
            Ok(both) => both,
            Err(error) => return self.failed(sink.node, Step::Encode, error),
        };
        let length =
            |range: &Option<std::ops::Range<usize>>| range.as_ref().map_or(0, ExactSizeIterator::len);
        let bytes = length(&key) + length(&value) + record.headers.byte_len() + RECORD_OVERHEAD_BYTES;
        if let Some(most) = self.config.record_bytes_max.filter(|most| bytes > *most) {
            let written = length(&key) + length(&value);
            let buffer = self.outputs.buffer();
            buffer.truncate(buffer.len() - written);
            return self.failed(sink.node, Step::Produce, TooLarge { bytes, most }.into());
        }
        self.outputs.finish(Encoded {
            topic: sink.target,
            partition: sink.partition,
            key,
            value,
            timestamp: record.timestamp,
            headers: record.headers,
        });
        if let OutputTopic::Known(topic) = sink.target
            && self.loops.get(topic.position()).is_some_and(|loops| *loops)
        {
            let raw = self.outputs.take_last(|output| RawRecord {
                offset: 0,
                timestamp: output.timestamp,
                key: output.key.map(bytes::Bytes::copy_from_slice),
                value: output.value.map(bytes::Bytes::copy_from_slice),
                headers: output.headers.clone(),
            });
            self.looped.extend(raw.map(|raw| (topic, raw)));
        }
        Ok(())
    }
}

/// How and where to one operator writes its records.
pub(crate) struct Sink<'a, K, V> {
    pub(crate) node: NodeId,
    pub(crate) target: OutputTopic<'a>,
    pub(crate) topic_name: &'a str,
    pub(crate) partition: PartitionChoice,
    pub(crate) key: &'a Wire<K>,
    pub(crate) value: &'a Wire<V>,
}

type Ranges = (Option<std::ops::Range<usize>>, Option<std::ops::Range<usize>>);

fn encode<K: 'static, V: 'static>(
    sink: &Sink<'_, K, V>,
    record: &crate::Record<K, V>,
    buffer: &mut Vec<u8>,
) -> Result<Ranges, BoxError> {
    let headers: &Headers = &record.headers;
    guard(|| {
        let start = buffer.len();
        let key = sink
            .key
            .encode(Place::key(sink.topic_name, headers), &record.key, buffer)?;
        let middle = buffer.len();
        let value = sink
            .value
            .encode(Place::value(sink.topic_name, headers), &record.value, buffer)?;
        let range = |presence, range| (presence == Presence::Value).then_some(range);
        Ok((range(key, start..middle), range(value, middle..buffer.len())))
    })?
}
