//! `map_async`, `try_map_async`: a value made by a call that takes its time.

mod table;

use std::{any::Any, marker::PhantomData, sync::Arc, time::Duration};

use tidemill_data::BoxError;

use crate::{
    KStream, Record, Retry,
    calls::{Calling, CallsIndex, Load},
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::{Halt, Step},
    graph::{NodeId, SlotIndex},
};

use self::table::{Call, Finished, InFlightTable};

/// How many calls may be in flight, in which order their results go on, and how long each may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    order: Order,
    most: usize,
    timeout: Duration,
    retry: Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Ordered,
    PerKey,
    Unordered,
}

/// How long a call may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(30);

impl InFlight {
    /// At most `most` calls; results go on in the order of the records.
    ///
    /// ```
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::{App, InFlight};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .map_async(InFlight::ordered(8), |_, value| async move {
    ///         if value == 1 {
    ///             std::future::pending::<()>().await; // an answer that does not come
    ///         }
    ///         value
    ///     })
    ///     .to(&OUT);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// test.pipe(&IN, "b", 3, ms(3));
    /// let done: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(done, [0_i64; 0]);
    /// ```
    #[must_use]
    pub const fn ordered(most: usize) -> Self {
        Self::new(Order::Ordered, most)
    }

    /// At most `most` calls, of one key one after the other; results of one key go on in the order of its records.
    ///
    /// ```
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::{App, InFlight};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .map_async(InFlight::per_key(8), |_, value| async move {
    ///         if value == 1 {
    ///             std::future::pending::<()>().await; // an answer that does not come
    ///         }
    ///         value
    ///     })
    ///     .to(&OUT);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// test.pipe(&IN, "b", 3, ms(3));
    /// let done: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(done, [3]);
    /// ```
    #[must_use]
    pub const fn per_key(most: usize) -> Self {
        Self::new(Order::PerKey, most)
    }

    /// At most `most` calls; results go on as they come.
    ///
    /// ```
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::{App, InFlight};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .map_async(InFlight::unordered(8), |_, value| async move {
    ///         if value == 1 {
    ///             std::future::pending::<()>().await; // an answer that does not come
    ///         }
    ///         value
    ///     })
    ///     .to(&OUT);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", 2, ms(2));
    /// test.pipe(&IN, "b", 3, ms(3));
    /// let done: Vec<i64> = test.read(&OUT).into_iter().map(|record| record.value).collect();
    /// assert_eq!(done, [2, 3]);
    /// ```
    #[must_use]
    pub const fn unordered(most: usize) -> Self {
        Self::new(Order::Unordered, most)
    }

    const fn new(order: Order, most: usize) -> Self {
        Self {
            order,
            most,
            timeout: TIMEOUT,
            retry: Retry::attempts(1),
        }
    }

    /// With this time for each attempt instead of 30 s. A call that takes longer is given up and has failed.
    ///
    /// ```
    /// # use tidemill_data::{SECOND, Topic};
    /// # use tidemill_streams::{App, InFlight, Policy};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .map_async(InFlight::ordered(8).timeout(SECOND), |_, _| std::future::pending::<i64>())
    ///     .on_error(Policy::Skip)
    ///     .to(&OUT);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.advance(2 * SECOND);
    /// assert_eq!(test.take_failures().len(), 1);
    /// ```
    #[must_use]
    pub const fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// With further attempts for calls that fail or take too long. Without, the first failure is final.
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicU32, Ordering};
    /// # use tidemill_data::{SECOND, Topic};
    /// # use tidemill_streams::{App, InFlight, Retry};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// # let calls = AtomicU32::new(0);
    /// app.stream(&IN)
    ///     .try_map_async(InFlight::ordered(8).retry(Retry::attempts(2)), move |_, value| {
    ///         let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
    ///         std::future::ready(if first { Err("busy".into()) } else { Ok(value) })
    ///     })
    ///     .to(&OUT);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.advance(SECOND);
    /// assert_eq!(test.read(&OUT).len(), 1);
    /// ```
    #[must_use]
    pub const fn retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }
}

impl<K, V> KStream<K, V>
where
    K: Clone + PartialEq + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Makes each record's value by a call that takes its time: the key is unchanged.
    ///
    /// The runtime polls the futures within its Tokio runtime, so clients made for Tokio work; the test driver polls
    /// them where it stands. While the bound is reached no further record is taken up. A commit waits for the calls in
    /// flight, so after a crash those that were not done are called again: under exactly-once, too, a call may
    /// happen twice, and only its result counts once.
    ///
    /// ```
    /// # use tidemill_streams::{App, InFlight};
    /// # use tidemill_data::Topic;
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # let app = App::new("docs");
    /// async fn city_of(address: String) -> String {
    ///     // ... ask a service ...
    ///     format!("the city of {address}")
    /// }
    ///
    /// app.stream(&CLICKS).map_async(InFlight::ordered(64), |_user, address| city_of(address)).to(&CLICKS);
    /// # app.topology().unwrap();
    /// ```
    pub fn map_async<W, F>(
        self,
        in_flight: InFlight,
        call: impl Fn(K, V) -> F + Send + Sync + 'static,
    ) -> KStream<K, W>
    where
        W: Send + 'static,
        F: Future<Output = W> + Send + 'static,
    {
        self.try_map_async(in_flight, move |key, value| {
            let made = call(key, value);
            async move { Ok(made.await) }
        })
    }

    /// As [`map_async`](Self::map_async), with a call that may fail: after its last attempt the policy decides.
    ///
    /// ```
    /// # use tidemill_streams::{App, InFlight, Policy, Retry};
    /// # use tidemill_data::{BoxError, SECOND, Topic};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # let app = App::new("docs");
    /// async fn city_of(address: String) -> Result<String, BoxError> {
    ///     // ... ask a service ...
    ///     Ok(format!("the city of {address}"))
    /// }
    ///
    /// let calls = InFlight::per_key(64).timeout(2 * SECOND).retry(Retry::attempts(3));
    /// app.stream(&CLICKS)
    ///     .try_map_async(calls, |_user, address| city_of(address))
    ///     .on_error(Policy::DeadLetter("unplaced".into()))
    ///     .to(&CLICKS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_map_async<W, F>(
        self,
        in_flight: InFlight,
        call: impl Fn(K, V) -> F + Send + Sync + 'static,
    ) -> KStream<K, W>
    where
        W: Send + 'static,
        F: Future<Output = Result<W, BoxError>> + Send + 'static,
    {
        let (key, key_changed) = (self.key.clone(), self.key_changed);
        let (builder, out) = (self.builder.clone(), Outlet::new());
        let mut graph = builder.lock();
        let node = graph.processor("KSTREAM-MAPASYNC-", &[self.node]);
        let make = move || Box::new(InFlightTable::<K, V, W>::new(in_flight)) as Box<dyn Any + Send>;
        let operator = Arc::new(MapAsync {
            node,
            slot: graph.slot(node, Arc::new(make)),
            index: CallsIndex(graph.calling.len()),
            call,
            out: Arc::clone(&out),
            types: PhantomData::<fn(V) -> F>,
        });
        let calling: Arc<dyn Calling> = Arc::<MapAsync<K, V, W, F, _>>::clone(&operator);
        graph.calling.push((node, calling));
        drop(graph);
        self.outlet.attach(node.0, operator);
        KStream {
            key,
            key_changed,
            ..KStream::new(builder, node, out)
        }
    }
}

struct MapAsync<K, V, W, F, C> {
    node: NodeId,
    slot: SlotIndex,
    index: CallsIndex,
    call: C,
    out: Arc<Outlet<K, W>>,
    types: PhantomData<fn(V) -> F>,
}

impl<K, V, W, F, C> MapAsync<K, V, W, F, C>
where
    K: Clone + PartialEq + Send + 'static,
    V: Clone + Send + 'static,
    W: Send + 'static,
    F: Future<Output = Result<W, BoxError>> + Send + 'static,
    C: Fn(K, V) -> F + Send + Sync,
{
    /// Works on the task's table of this operator, which is taken out of its slot meanwhile.
    fn with(
        &self,
        ctx: &mut Context,
        work: impl FnOnce(&mut Context, &mut InFlightTable<K, V, W>) -> Flow,
    ) -> Flow {
        let Some(mut state) = ctx.take_slot(self.slot) else {
            return Ok(());
        };
        let table: &mut InFlightTable<K, V, W> = state
            .downcast_mut()
            .expect("an operator's slot is of the type it made");
        let worked = work(ctx, table);
        ctx.calls.note(self.index, table.load());
        ctx.put_slot(self.slot, state);
        worked
    }

    /// Lets everything go on that can: calls begin, finish, are given up or tried again; results go downstream.
    fn advance(&self, ctx: &mut Context, table: &mut InFlightTable<K, V, W>, woken: &[u64]) -> Flow {
        let now = ctx.wall_time;
        let waker = |ctx: &Context, id| ctx.calls.waker(self.index, id);
        table.poll(woken, |id| waker(ctx, id));
        loop {
            table.give_up(now);
            let begun = table.begin(now, &self.call);
            table.poll(&begun, |id| waker(ctx, id));
            let mut finished = 0;
            while let Some(done) = table.take_finished(now) {
                finished += 1;
                self.hand_on(ctx, done)?;
            }
            if finished == 0 && begun.is_empty() {
                return Ok(());
            }
        }
    }

    fn hand_on(&self, ctx: &mut Context, done: Finished<K, V, W>) -> Flow {
        let Finished { call, result } = done;
        let Call { record, current, .. } = call;
        // What fails behind this operator names the record that the call was for.
        let other = std::mem::replace(&mut ctx.current, current);
        let handed_on = match result {
            Ok(value) => self.out.send(ctx, record.with_value(value)),
            Err(error) => ctx.failed(self.node, Step::Process, error),
        };
        ctx.current = other;
        handed_on
    }
}

impl<K, V, W, F, C> Edge<K, V> for MapAsync<K, V, W, F, C>
where
    K: Clone + PartialEq + Send + 'static,
    V: Clone + Send + 'static,
    W: Send + 'static,
    F: Future<Output = Result<W, BoxError>> + Send + 'static,
    C: Fn(K, V) -> F + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        self.with(ctx, |ctx, table| {
            table.add(record, ctx.current.clone());
            self.advance(ctx, table, &[])
        })
    }
}

impl<K, V, W, F, C> Calling for MapAsync<K, V, W, F, C>
where
    K: Clone + PartialEq + Send + 'static,
    V: Clone + Send + 'static,
    W: Send + 'static,
    F: Future<Output = Result<W, BoxError>> + Send + 'static,
    C: Fn(K, V) -> F + Send + Sync,
{
    fn poll(&self, ctx: &mut Context, woken: &[u64]) -> Result<(), Halt> {
        self.with(ctx, |ctx, table| self.advance(ctx, table, woken))
    }

    fn forget(&self, ctx: &mut Context) {
        let forgotten = self.with(ctx, |_, table| {
            table.clear();
            Ok(())
        });
        assert!(forgotten.is_ok(), "forgetting calls runs nothing that could fail");
        ctx.calls.note(self.index, Load::default());
    }
}
