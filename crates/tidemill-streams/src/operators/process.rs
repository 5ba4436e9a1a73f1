//! `process`, `process_values`: operators of the user's own, with state, timers, and any number of results.

use std::{any::Any, marker::PhantomData, sync::Arc};

use tidemill_data::{BoxError, Headers, Timestamp};

use crate::{
    FixedKeyProcessor, Forward, KStream, KeyTimers, Processor, ProcessorContext, Record, Stores, Timers,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::{Halt, Step, guard},
    graph::{NodeId, Punctuated, SlotIndex},
    processor::{Children, Connected, DueStore, Fixed},
    punctuation::{Calls, Schedule},
};

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
        self.process_with((), move |()| make())
    }

    /// As [`process`](Self::process), with stores: `make` is given the handles that the operator is connected to.
    ///
    /// A store may be given to several operators, which then run in one task. The kinds of store are
    /// [`App::key_values`], [`App::windows`], [`App::sessions`], [`App::versions`] and [`App::key_timers`].
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, Forward, KeyValues, Processor, Record};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// const BEFORE: StoreName<String, i64> = StoreName::new("before");
    /// const STEPS: StoreName<String, i64> = StoreName::new("steps");
    ///
    /// struct Difference {
    ///     before: KeyValues<String, i64>,
    ///     steps: KeyValues<String, i64>,
    /// }
    ///
    /// impl Processor<String, i64, String, i64> for Difference {
    ///     fn process(
    ///         &mut self,
    ///         record: Record<String, i64>,
    ///         to: &mut Forward<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         let before = self.before.get(to, &record.key)?.unwrap_or(0);
    ///         self.before.put(to, &record.key, &record.value)?;
    ///         let steps = self.steps.get(to, &record.key)?.unwrap_or(0);
    ///         self.steps.put(to, &record.key, &(steps + 1))?;
    ///         let difference = record.value - before;
    ///         to.forward(record.with_value(difference));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let stores = (app.key_values(&BEFORE), app.key_values(&STEPS));
    /// app.stream(&IN).process_with(stores, |(before, steps)| Difference { before, steps }).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    ///
    /// [`App::key_values`]: crate::App::key_values
    /// [`App::windows`]: crate::App::windows
    /// [`App::sessions`]: crate::App::sessions
    /// [`App::versions`]: crate::App::versions
    /// [`App::key_timers`]: crate::App::key_timers
    pub fn process_with<S: Stores, L: 'static, W: 'static, P: Processor<K, V, L, W>>(
        self,
        stores: S,
        make: impl Fn(S) -> P + Send + Sync + 'static,
    ) -> KStream<L, W> {
        KStream {
            key_changed: true,
            ..self.processed("KSTREAM-PROCESSOR-", stores, make)
        }
    }

    /// Sends each record through a processor that cannot change the key, so that no repartition follows.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// struct Twice;
    ///
    /// impl FixedKeyProcessor<String, String, String> for Twice {
    ///     fn process(
    ///         &mut self,
    ///         record: FixedKeyRecord<String, String>,
    ///         to: &mut ForwardValues<'_, String, String>,
    ///     ) -> Result<(), BoxError> {
    ///         to.forward(record.clone());
    ///         to.forward(record);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// app.stream(&IN).process_values(|| Twice).to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn process_values<W: 'static, P: FixedKeyProcessor<K, V, W>>(
        self,
        make: impl Fn() -> P + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.process_values_with((), move |()| make())
    }

    /// As [`process_values`](Self::process_values), with stores: `make` is given the handles that the operator is
    /// connected to. See [`process_with`](Self::process_with).
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KeyValues};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// const SEEN: StoreName<String, String> = StoreName::new("seen");
    ///
    /// struct OnlyNew(KeyValues<String, String>);
    ///
    /// impl FixedKeyProcessor<String, String, String> for OnlyNew {
    ///     fn process(
    ///         &mut self,
    ///         record: FixedKeyRecord<String, String>,
    ///         to: &mut ForwardValues<'_, String, String>,
    ///     ) -> Result<(), BoxError> {
    ///         if self.0.put_if_absent(to, record.key(), &record.value)?.is_none() {
    ///             to.forward(record);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let seen = app.key_values(&SEEN);
    /// app.stream(&IN).process_values_with(seen, OnlyNew).to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn process_values_with<S: Stores, W: 'static, P: FixedKeyProcessor<K, V, W>>(
        self,
        stores: S,
        make: impl Fn(S) -> P + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let (key, key_changed) = (self.key.clone(), self.key_changed);
        KStream {
            key,
            key_changed,
            ..self.processed("KSTREAM-PROCESSVALUES-", stores, move |stores| {
                Fixed(make(stores))
            })
        }
    }

    pub(super) fn processed<S: Stores, L: 'static, W: 'static, P: Processor<K, V, L, W>>(
        self,
        prefix: &str,
        stores: S,
        make: impl Fn(S) -> P + Send + Sync + 'static,
    ) -> KStream<L, W> {
        let mut connected = Connected::default();
        stores.connect(&mut connected);
        let (builder, outlet) = (self.builder.clone(), Outlet::new());
        let mut graph = builder.lock();
        let node = graph.processor(prefix, &[self.node]);
        graph.connect(node, &connected.stores);
        if !connected.sources.is_empty() {
            let mut sources = graph.sources_of(node);
            sources.extend(connected.sources);
            graph.copartitioned.push((node, sources));
        }
        let mut timers = Vec::new();
        let mut expiring = Vec::new();
        for due in connected.due {
            let index = due.index();
            let alone = graph.watch(index);
            match KeyTimers::of(&*due) {
                Some(Ok(known)) if alone => timers.push((due, known)),
                Some(Ok(_)) => graph.misuse(index, "they are given to two operators"),
                Some(Err(why)) => graph.misuse(index, why),
                // Of several operators the one that wrote last is to look at the store next.
                None => expiring.push(due),
            }
        }
        let make = move || Box::new(make(stores.clone())) as Box<dyn Any + Send>;
        let process = Arc::new(Process::<K, V, L, W, P> {
            node,
            slot: graph.slot(node, Arc::new(make)),
            timers,
            expiring,
            out: Arc::clone(&outlet),
            children: Arc::default(),
            types: PhantomData,
        });
        let children = Arc::clone(&process.children);
        graph.processors.push((node, children));
        let punctuated: Arc<dyn Punctuated> = Arc::<Process<K, V, L, W, P>>::clone(&process);
        graph.punctuated.push((node, punctuated));
        drop(graph);
        self.outlet.attach(node.0, process);
        KStream::new(builder, node, outlet)
    }
}

struct Process<K, V, L, W, P> {
    node: NodeId,
    slot: SlotIndex,
    timers: Vec<(Arc<dyn DueStore>, KeyTimers<K>)>,
    expiring: Vec<Arc<dyn DueStore>>,
    out: Arc<Outlet<L, W>>,
    children: Arc<Children>,
    types: PhantomData<fn(K, V) -> P>,
}

/// What a processor is called for: a record, or a time that has come.
struct Called {
    at: Timestamp,
    headers: Headers,
    punctuating: Option<Timestamp>,
}

impl Called {
    fn by_clock(now: Timestamp) -> Self {
        Self {
            at: now,
            headers: Headers::new(),
            punctuating: Some(now),
        }
    }
}

impl<K: 'static, V: 'static, L: 'static, W: 'static, P: Processor<K, V, L, W>> Process<K, V, L, W, P> {
    /// Calls user code with the task's processor, which is taken out of its slot meanwhile.
    fn with(
        &self,
        ctx: &mut Context,
        called: Called,
        call: impl FnOnce(&mut P, &mut Forward<'_, L, W>) -> Result<(), BoxError>,
    ) -> Flow {
        let Some(mut state) = ctx.take_slot(self.slot) else {
            return Ok(());
        };
        let processor: &mut P = state
            .downcast_mut()
            .expect("an operator's slot is of the type it made");
        let mut halted = None;
        let context = ProcessorContext {
            ctx,
            node: self.node,
            timestamp: called.at,
            headers: called.headers,
            punctuating: called.punctuating,
            halted: &mut halted,
        };
        let mut forward = Forward {
            context,
            out: &self.out,
            children: &self.children,
        };
        let done = guard(|| call(processor, &mut forward)).and_then(|done| done);
        ctx.put_slot(self.slot, state);
        match (halted, done) {
            (Some(halt), _) => Err(halt),
            (None, Err(error)) => ctx.failed(self.node, Step::Process, error),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Calls the processor for each key whose timer is due.
    fn fire(
        &self,
        ctx: &mut Context,
        timers: &KeyTimers<K>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Halt> {
        let mut due = None;
        self.with(ctx, Called::by_clock(now), |_, to| {
            due = Some(timers.take_due(to, now)?);
            Ok(())
        })?;
        let Some(due) = due else { return Ok(None) };
        for (time, key) in due.entries {
            self.with(ctx, Called::by_clock(now), |processor, to| {
                processor.timer(key, time, to)
            })?;
        }
        Ok(due.next)
    }

    fn look(&self, ctx: &mut Context, schedule: &Schedule, now: Timestamp) -> Flow {
        let Calls::DueIn(store) = schedule.calls else {
            return Ok(());
        };
        let mut next = None;
        if let Some((_, timers)) = self.timers.iter().find(|(due, _)| due.index() == store) {
            next = self.fire(ctx, timers, now)?;
        } else if let Some(expiring) = self.expiring.iter().find(|due| due.index() == store) {
            self.with(ctx, Called::by_clock(now), |_, to| {
                next = expiring.expire(to, now)?;
                Ok(())
            })?;
        }
        if let Some(next) = next {
            let after = Timestamp::from_millis(now.millis().saturating_add(1));
            ctx.schedules
                .due_in(self.node, schedule.clock, store, next.max(after));
        }
        Ok(())
    }
}

impl<K: 'static, V: 'static, L: 'static, W: 'static, P> Edge<K, V> for Process<K, V, L, W, P>
where
    P: Processor<K, V, L, W>,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let called = Called {
            at: record.timestamp,
            headers: ctx.stored(&record.headers).clone(),
            punctuating: None,
        };
        self.with(ctx, called, |processor, to| processor.process(record, to))
    }
}

impl<K: 'static, V: 'static, L: 'static, W: 'static, P> Punctuated for Process<K, V, L, W, P>
where
    P: Processor<K, V, L, W>,
{
    fn start(&self, ctx: &mut Context) {
        let Some(mut state) = ctx.take_slot(self.slot) else {
            return;
        };
        if let Some(processor) = state.downcast_mut::<P>() {
            processor.start(&mut Timers::new(ctx, self.node));
        }
        ctx.put_slot(self.slot, state);
        // What an earlier task left due is found when the clock is first looked at.
        let due = self.timers.iter().map(|(due, _)| due).chain(&self.expiring);
        for due in due {
            ctx.schedules
                .due_in(self.node, due.clock(), due.index(), Timestamp::MIN);
        }
    }

    fn punctuate(&self, ctx: &mut Context, schedule: Schedule, now: Timestamp) -> Flow {
        match schedule.calls {
            Calls::Punctuation { .. } => self.with(ctx, Called::by_clock(now), |processor, to| {
                processor.punctuate(schedule.id, now, to)
            }),
            Calls::DueIn(_) => self.look(ctx, &schedule, now),
        }
    }
}
