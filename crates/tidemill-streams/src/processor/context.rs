//! What a processor sees besides its records: times, schedules, where a record came from, and its stores.

use std::time::Duration;

use tidemill_data::{BoxError, Headers, Timestamp};
use tidemill_store::StoreId;

use super::bound::Place;
use crate::{
    context::Context,
    failure::Halt,
    graph::{NodeId, StoreIndex},
    punctuation::{Clock, ScheduleId},
};

/// What a processor sees besides its records. [`Forward`](crate::Forward) and
/// [`ForwardValues`](crate::ForwardValues) lend it: wherever a store asks for one, give it the processor's `to`.
pub struct ProcessorContext<'a> {
    pub(crate) ctx: &'a mut Context,
    pub(crate) node: NodeId,
    // The timestamp of the record being processed, or the time of the punctuation: that of changelog records.
    pub(crate) timestamp: Timestamp,
    // What a row that is put keeps of headers, unless the processor says otherwise: those of the record being processed,
    // none where headers are not preserved.
    pub(crate) headers: Headers,
    // The time of the punctuation, if it is one.
    pub(crate) punctuating: Option<Timestamp>,
    // Set when the task has to stop; what user code makes of the error does not matter then.
    pub(crate) halted: &'a mut Option<Halt>,
}

/// Where the record being processed came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordMetadata {
    /// The topic that the task read it from.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Makes schedules for one processor.
pub struct Timers<'a> {
    ctx: &'a mut Context,
    node: NodeId,
}

impl<'a> Timers<'a> {
    pub(crate) fn new(ctx: &'a mut Context, node: NodeId) -> Self {
        Self { ctx, node }
    }

    /// Calls the processor's `punctuate` every `interval`. By stream time it is first due with the first record, and
    /// then at multiples of the interval; by the wall clock after one interval. Late, it is called once.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, Forward, Processor, Record, ScheduleId, Timers};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl Processor<String, i64, String, i64> for Own {
    /// fn start(&mut self, timers: &mut Timers<'_>) {
    ///     timers.every(MINUTE, Clock::WallClock);
    /// }
    ///
    /// # fn process(&mut self, _: Record<String, i64>, _: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    /// #     Ok(())
    /// # }
    /// fn punctuate(&mut self, _: ScheduleId, now: Timestamp, to: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    ///     to.forward(Record::new("minutes".to_owned(), now.millis() / 60_000, now));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.advance(MINUTE);
    /// test.advance(MINUTE);
    /// assert_eq!(test.read(&OUT).len(), 2);
    /// ```
    pub fn every(&mut self, interval: Duration, clock: Clock) -> ScheduleId {
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let now = self.ctx.wall_time;
        self.ctx.schedules.add(self.node, clock, interval_ms, now)
    }
}

impl ProcessorContext<'_> {
    /// The timestamp of the record being processed, or the time that a punctuation or timer is called for.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, ProcessorContext, ValueTransformer};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const CHANGED: StoreName<String, i64> = StoreName::new("changed");
    /// # struct Own;
    /// # impl ValueTransformer<String, i64, i64> for Own {
    /// fn transform(
    ///     &mut self,
    ///     _: &String,
    ///     value: Option<i64>,
    ///     at: &mut ProcessorContext<'_>,
    /// ) -> Result<Option<i64>, BoxError> {
    ///     let changed = at.timestamp().millis();
    ///     Ok(value.map(|_| changed))
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # let _ = app.table(&IN).transform_values_as(&CHANGED, (), |()| Own);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(10));
    /// assert_eq!(test.rows(&CHANGED)[0].1.value, 10);
    /// ```
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The largest timestamp of all records the task has taken up.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let late = to.stream_time().millis() - record.timestamp.millis();
    ///     to.forward(record.with_value(late));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(10));
    /// test.pipe(&IN, "a", 2, ms(4));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [0, 6]);
    /// ```
    #[must_use]
    pub fn stream_time(&self) -> Timestamp {
        self.ctx.stream_time()
    }

    /// The wall clock, as the task was last told.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, SECOND, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let now = to.wall_clock().millis();
    ///     to.forward(record.with_value(now));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.advance(SECOND);
    /// test.pipe(&IN, "a", 1, ms(10));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [test.now().millis()]);
    /// ```
    #[must_use]
    pub fn wall_clock(&self) -> Timestamp {
        self.ctx.wall_time
    }

    /// Where the record being processed came from; nowhere in a punctuation.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # struct Own;
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let from = to.metadata().ok_or("this is no punctuation")?;
    ///     let text = format!("{}-{} at {}", from.topic, from.partition, from.offset);
    ///     to.forward(record.with_value(text));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(10));
    /// test.pipe(&IN, "a", 2, ms(20));
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["in-0 at 0", "in-0 at 1"]);
    /// ```
    #[must_use]
    pub fn metadata(&self) -> Option<RecordMetadata> {
        let current = self.ctx.current.as_ref()?;
        Some(RecordMetadata {
            topic: self.ctx.topology.topic_name(current.topic),
            partition: self.ctx.partition,
            offset: current.record.offset,
        })
    }

    /// The app's name.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # struct Own;
    /// # impl FixedKeyProcessor<String, i64, String> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, String>,
    /// ) -> Result<(), BoxError> {
    ///     let text = format!("{} read by {}", record.value, to.app());
    ///     to.forward(record.with_value(text));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(10));
    /// let out: Vec<String> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, ["1 read by docs"]);
    /// ```
    #[must_use]
    pub fn app(&self) -> &str {
        self.ctx.topology.app()
    }

    /// The partition whose records the task processes.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl FixedKeyProcessor<String, i64, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: FixedKeyRecord<String, i64>,
    ///     to: &mut ForwardValues<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let partition = i64::from(to.partition());
    ///     to.forward(record.with_value(partition));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process_values(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(10));
    /// let out: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(out, [0]);
    /// ```
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.ctx.partition
    }

    /// Ends a schedule.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, Forward, Processor, Record, ScheduleId, Timers};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl Processor<String, i64, String, i64> for Own {
    /// fn start(&mut self, timers: &mut Timers<'_>) {
    ///     timers.every(MINUTE, Clock::WallClock);
    /// }
    ///
    /// # fn process(&mut self, _: Record<String, i64>, _: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    /// #     Ok(())
    /// # }
    /// fn punctuate(&mut self, schedule: ScheduleId, now: Timestamp, to: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    ///     to.forward(Record::new("once".to_owned(), 1, now));
    ///     to.cancel(schedule);
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.advance(MINUTE);
    /// test.advance(MINUTE);
    /// assert_eq!(test.read(&OUT).len(), 1);
    /// ```
    pub fn cancel(&mut self, schedule: ScheduleId) {
        self.ctx.schedules.cancel(schedule);
    }

    /// More schedules for this processor.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, MINUTE, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, Forward, Processor, Record, ScheduleId};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl Processor<String, i64, String, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: Record<String, i64>,
    ///     to: &mut Forward<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     to.timers().every(MINUTE, Clock::WallClock); // a minute from now
    ///     to.forward(record);
    ///     Ok(())
    /// }
    /// fn punctuate(&mut self, _: ScheduleId, now: Timestamp, to: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    ///     to.forward(Record::new("minutes".to_owned(), now.millis() / 60_000, now));
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.advance(MINUTE);
    /// assert_eq!(test.read(&OUT).len(), 2);
    /// ```
    pub fn timers(&mut self) -> Timers<'_> {
        Timers::new(self.ctx, self.node)
    }

    /// A clock's time.
    pub(crate) fn now(&self, clock: Clock) -> Timestamp {
        match clock {
            Clock::StreamTime => self.stream_time(),
            Clock::WallClock => self.wall_clock(),
        }
    }

    /// The store, if this processor was connected to it.
    pub(crate) fn store(&self, place: &Place) -> Result<StoreId, NotConnected> {
        let node = self.ctx.topology.nodes.get(self.node.0);
        let connected = node.is_some_and(|node| node.stores.contains(&place.index));
        let id = self.ctx.store_ids.get(place.index.0).copied().flatten();
        id.filter(|_| connected).ok_or_else(|| NotConnected {
            operator: self.ctx.topology.node_name(self.node).to_owned(),
            store: place.name.to_string(),
        })
    }

    /// An error unless this processor was connected to all these stores.
    pub(crate) fn connected(&self, stores: &[StoreIndex], name: &str) -> Result<(), NotConnected> {
        let node = self.ctx.topology.nodes.get(self.node.0);
        let has = |store: &StoreIndex| node.is_some_and(|node| node.stores.contains(store));
        if stores.iter().all(has) {
            return Ok(());
        }
        Err(NotConnected {
            operator: self.ctx.topology.node_name(self.node).to_owned(),
            store: name.to_owned(),
        })
    }

    /// Stops the task, whatever the processor makes of the error.
    pub(crate) fn stop(&mut self, halt: impl Into<Halt>) -> BoxError {
        stop(self.halted, halt)
    }
}

pub(crate) fn stop(halted: &mut Option<Halt>, halt: impl Into<Halt>) -> BoxError {
    let halt = halt.into();
    let text = halt.0.to_string();
    halted.get_or_insert(halt);
    text.into()
}

/// A processor used a store it was not given.
#[derive(Debug, thiserror::Error)]
#[error("{operator} uses store {store:?} and is not connected to it: hand the store to process_with")]
pub(crate) struct NotConnected {
    operator: String,
    store: String,
}
