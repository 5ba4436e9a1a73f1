//! `process`: an operator of the user's own, with state, timers, and any number of results.

use std::{any::Any, sync::Arc, time::Duration};

use tidemill_data::{BoxError, Timestamp};

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::{Halt, Step, guard},
    graph::{NodeId, Punctuated, SlotIndex},
    punctuation::{Clock, ScheduleId},
};

/// An operator of the user's own. Every task has one of its own, made by the closure given to [`KStream::process`].
///
/// What it keeps in its fields is lost when the task moves or restarts.
pub trait Processor<K, V, L, W>: Send + 'static {
    /// Called once, when the task starts: the place to make schedules.
    fn start(&mut self, _timers: &mut Timers<'_>) {}

    /// Called with each record.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    fn process(&mut self, record: Record<K, V>, to: &mut Forward<'_, L, W>) -> Result<(), BoxError>;

    /// Called when a schedule is due: by stream time after a record, by the wall clock at any time.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    fn punctuate(
        &mut self,
        _schedule: ScheduleId,
        _now: Timestamp,
        _to: &mut Forward<'_, L, W>,
    ) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Makes schedules for one processor.
pub struct Timers<'a> {
    ctx: &'a mut Context,
    node: NodeId,
}

impl Timers<'_> {
    /// Calls the processor's `punctuate` every `interval`. By stream time it is first due with the first record, and
    /// then at multiples of the interval; by the wall clock after one interval. Late, it is called once.
    pub fn every(&mut self, interval: Duration, clock: Clock) -> ScheduleId {
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let now = self.ctx.wall_time;
        self.ctx.schedules.add(self.node, clock, interval_ms, now)
    }
}

/// Hands on a processor's results.
pub struct Forward<'a, L, W> {
    ctx: &'a mut Context,
    node: NodeId,
    out: &'a Outlet<L, W>,
    // Set when an operator behind stopped the task; nothing is forwarded after that.
    halted: Option<Halt>,
}

impl<L: 'static, W: 'static> Forward<'_, L, W> {
    /// Hands on a record: it has gone through everything behind this operator when this returns.
    pub fn forward(&mut self, record: Record<L, W>) {
        if self.halted.is_none() {
            self.halted = self.out.send(self.ctx, record).err();
        }
    }

    /// The largest timestamp of all records the task has taken up.
    #[must_use]
    pub fn stream_time(&self) -> Timestamp {
        self.ctx.stream_time()
    }

    /// The wall clock, as the task was last told.
    #[must_use]
    pub fn wall_clock(&self) -> Timestamp {
        self.ctx.wall_time
    }

    /// Ends a schedule.
    pub fn cancel(&mut self, schedule: ScheduleId) {
        self.ctx.schedules.cancel(schedule);
    }

    /// More schedules for this processor.
    pub fn timers(&mut self) -> Timers<'_> {
        Timers {
            ctx: self.ctx,
            node: self.node,
        }
    }
}

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Sends each record through a processor of the user's own, which `make` makes for every task. It may change keys.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, SECOND, Timestamp, Topic};
    /// # use tidemill_streams::{App, Clock, Forward, Processor, Record, ScheduleId, Timers};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// #[derive(Default)]
    /// struct PerSecond {
    ///     seen: i64,
    /// }
    ///
    /// impl Processor<String, String, String, i64> for PerSecond {
    ///     fn start(&mut self, timers: &mut Timers<'_>) {
    ///         timers.every(SECOND, Clock::WallClock);
    ///     }
    ///
    ///     fn process(
    ///         &mut self,
    ///         _: Record<String, String>,
    ///         _: &mut Forward<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         self.seen += 1;
    ///         Ok(())
    ///     }
    ///
    ///     fn punctuate(
    ///         &mut self,
    ///         _: ScheduleId,
    ///         now: Timestamp,
    ///         to: &mut Forward<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         let value = std::mem::take(&mut self.seen);
    ///         to.forward(Record { key: "seen".into(), value, timestamp: now, headers: Default::default() });
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// app.stream(&IN).process(PerSecond::default).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn process<L: 'static, W: 'static, P: Processor<K, V, L, W>>(
        self,
        make: impl Fn() -> P + Send + Sync + 'static,
    ) -> KStream<L, W> {
        let builder = self.builder.clone();
        let outlet = Outlet::new();
        let mut graph = builder.lock();
        let node = graph.processor("KSTREAM-PROCESSOR-", &[self.node]);
        let slot = graph.slot(node, Arc::new(move || Box::new(make()) as Box<dyn Any + Send>));
        let types = std::marker::PhantomData::<fn(K, V) -> P>;
        let process = Arc::new(Process {
            node,
            slot,
            out: Arc::clone(&outlet),
            types,
        });
        graph
            .punctuated
            .push((node, Arc::<Process<_, _, _>>::clone(&process)));
        drop(graph);
        self.outlet.attach(node.0, process);
        KStream {
            key_changed: true,
            ..KStream::new(builder, node, outlet)
        }
    }
}

struct Process<L, W, T> {
    node: NodeId,
    slot: SlotIndex,
    out: Arc<Outlet<L, W>>,
    types: std::marker::PhantomData<T>,
}

impl<L: 'static, W: 'static, T> Process<L, W, T> {
    /// Calls user code with the task's processor, which is taken out of its slot meanwhile.
    fn with<P: 'static>(
        &self,
        ctx: &mut Context,
        call: impl FnOnce(&mut P, &mut Forward<'_, L, W>) -> Result<(), BoxError>,
    ) -> Flow {
        let Some(mut state) = ctx.take_slot(self.slot) else {
            return Ok(());
        };
        let processor: &mut P = state
            .downcast_mut()
            .expect("an operator's slot is of the type it made");
        let mut forward = Forward {
            ctx,
            node: self.node,
            out: &self.out,
            halted: None,
        };
        let done = guard(|| call(processor, &mut forward)).and_then(|done| done);
        let halted = forward.halted.take();
        ctx.put_slot(self.slot, state);
        match (halted, done) {
            (Some(halt), _) => Err(halt),
            (None, Err(error)) => ctx.failed(self.node, Step::Process, error),
            (None, Ok(())) => Ok(()),
        }
    }
}

impl<K: 'static, V: 'static, L: 'static, W: 'static, P> Edge<K, V> for Process<L, W, fn(K, V) -> P>
where
    P: Processor<K, V, L, W>,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        self.with(ctx, |processor: &mut P, to| processor.process(record, to))
    }
}

impl<K: 'static, V: 'static, L: 'static, W: 'static, P> Punctuated for Process<L, W, fn(K, V) -> P>
where
    P: Processor<K, V, L, W>,
{
    fn start(&self, ctx: &mut Context) {
        let Some(mut state) = ctx.take_slot(self.slot) else {
            return;
        };
        if let Some(processor) = state.downcast_mut::<P>() {
            processor.start(&mut Timers { ctx, node: self.node });
        }
        ctx.put_slot(self.slot, state);
    }

    fn punctuate(&self, ctx: &mut Context, schedule: ScheduleId, now: Timestamp) -> Flow {
        self.with(ctx, |processor: &mut P, to| {
            processor.punctuate(schedule, now, to)
        })
    }
}
