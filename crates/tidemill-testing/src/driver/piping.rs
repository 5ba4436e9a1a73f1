//! Records go in, and everything happens that follows.

use std::{sync::Arc, task::Waker};

use tidemill_data::{Headers, Place, Timestamp, Topic};
use tidemill_streams::{OutputTopic, PartitionChoice, RawRecord, Record, Task};

use super::{TestDriver, pass};
use crate::{TestError, patience::Patience};

/// How many records a task takes before others get their turn.
const RECORDS_PER_TURN: usize = 1_000;

impl TestDriver {
    /// Writes a record to a topic, and lets everything happen that follows.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(10));
    /// t.pipe(&CLICKS, "u1", "news", ms(20));
    /// assert_eq!(t.row(&COUNTS, "u1").map(|row| (row.value, row.timestamp)), Some((2, ms(20))));
    /// ```
    ///
    /// # Panics
    /// When a record fails and the policy is to fail.
    #[track_caller]
    pub fn pipe<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        key: impl Into<K>,
        value: impl Into<V>,
        timestamp: Timestamp,
    ) {
        let (key, value) = (key.into(), value.into());
        pass(self.try_pipe(
            topic,
            Record {
                key,
                value,
                timestamp,
                headers: Headers::new(),
            },
        ));
    }

    /// As [`pipe`](Self::pipe), with headers.
    ///
    /// ```
    /// # use tidemill_data::{Headers, Topic};
    /// # use tidemill_streams::{App, Record};
    /// # use tidemill_testing::{TestDriver, TestError, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const SEEN: Topic<String, String> = Topic::new("seen");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).to(&SEEN);
    /// let mut t = TestDriver::new(&app);
    /// let headers = Headers::new().with("trace", "7");
    /// t.try_pipe(&CLICKS, Record { key: "u1".into(), value: "home".into(), timestamp: ms(1), headers })?;
    /// assert_eq!(t.read(&SEEN).first().map(|record| record.headers.len()), Some(1));
    /// # Ok::<(), TestError>(())
    /// ```
    ///
    /// # Errors
    /// When the record cannot be written, or one fails and the policy is to fail.
    pub fn try_pipe<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        record: Record<K, V>,
    ) -> Result<(), TestError> {
        let headers = &record.headers;
        let key = self
            .cluster
            .encoded(topic.key(), Place::key(topic.name(), headers), &record.key)?;
        let value =
            self.cluster
                .encoded(topic.value(), Place::value(topic.name(), headers), &record.value)?;
        let (timestamp, headers) = (record.timestamp, record.headers);
        self.try_pipe_raw(
            topic.name(),
            RawRecord {
                offset: 0,
                timestamp,
                key,
                value,
                headers,
            },
        )
    }

    /// Writes a record of bytes, which may be none that the program can read.
    ///
    /// ```
    /// # use tidemill_data::{Headers, Topic};
    /// # use tidemill_streams::{App, RawRecord};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// # const SEEN: Topic<String, i64> = Topic::new("seen");
    /// # let app = App::new("docs");
    /// # app.stream(&AMOUNTS).to(&SEEN);
    /// let mut t = TestDriver::new(&app);
    /// let value = Some(b"three"[..].into()); // an i64 has eight bytes
    /// let poison = RawRecord { offset: 0, timestamp: ms(1), key: None, value, headers: Headers::new() };
    /// assert!(t.try_pipe_raw("amounts", poison).is_err());
    /// ```
    ///
    /// # Errors
    /// When a record fails and the policy is to fail.
    pub fn try_pipe_raw(&mut self, topic: &str, record: RawRecord) -> Result<(), TestError> {
        self.append(topic, PartitionChoice::ByKey, record)?;
        self.run()
    }

    fn append(&mut self, topic: &str, choice: PartitionChoice, record: RawRecord) -> Result<(), TestError> {
        let (partition, Some(record)) = self.cluster.append(topic, choice, record) else {
            return Ok(());
        };
        for task in self
            .tasks
            .iter_mut()
            .filter(|task| task.id().partition == partition && task.reads(topic))
        {
            task.enqueue(topic, [record.clone()])?;
        }
        if let Some(globals) = &mut self.globals {
            globals.apply(topic, partition, std::slice::from_ref(record))?;
        }
        Ok(())
    }

    /// Runs all tasks until no record waits.
    pub(super) fn run(&mut self) -> Result<(), TestError> {
        let mut patience = Patience::default();
        loop {
            let mut done = 0;
            for at in 0..self.tasks.len() {
                let Some(task) = self.tasks.get_mut(at) else { break };
                if task.buffered().0 == 0 {
                    continue;
                }
                done += task
                    .process(RECORDS_PER_TURN, self.now, &mut self.outputs)?
                    .records;
                self.deliver()?;
            }
            if done == 0 && !self.poll_calls(&mut patience)? {
                return Ok(());
            }
        }
    }

    /// Polls the calls of all tasks that were woken or whose time has come; whether there were any.
    fn poll_calls(&mut self, patience: &mut Patience) -> Result<bool, TestError> {
        let (mut polled, mut came_out) = (false, false);
        for at in 0..self.tasks.len() {
            let Some(task) = self.tasks.get_mut(at) else { break };
            if task.calls_in_flight() == 0 && task.next_call_deadline().is_none() {
                continue;
            }
            polled |= task.poll_calls(self.now, Waker::noop(), &mut self.outputs)?;
            came_out |= !self.outputs.is_empty();
            self.deliver()?;
        }
        if polled {
            patience.polled(self.tasks.iter(), came_out)?;
        }
        Ok(polled)
    }

    pub(super) fn deliver(&mut self) -> Result<(), TestError> {
        if self.outputs.is_empty() {
            return Ok(());
        }
        let outputs = std::mem::take(&mut self.outputs);
        let topology = Arc::clone(&self.topology);
        for output in outputs.iter() {
            let topic = match output.topic {
                OutputTopic::Known(topic) => {
                    topology.topics().get(topic.position()).map_or("", String::as_str)
                }
                OutputTopic::Named(name) => name,
            };
            let record = self.cluster.owned(&output);
            self.append(topic, output.partition, record)?;
        }
        self.outputs = outputs;
        self.outputs.clear();
        Ok(())
    }

    /// How many calls of [`map_async`](tidemill_streams::KStream::map_async) are in flight. Those that can go on are
    /// polled whenever something happens: a record, a move of the clock, or [`settle`](Self::settle).
    ///
    /// ```
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::{App, InFlight};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const SEEN: Topic<String, String> = Topic::new("seen");
    /// # let app = App::new("docs");
    /// app.stream(&CLICKS)
    ///     .map_async(InFlight::ordered(10), |_, page| async move { std::future::pending::<()>().await; page })
    ///     .to(&SEEN);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// assert_eq!(t.calls_in_flight(), 1); // nobody answers
    /// ```
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.tasks.iter().map(Task::calls_in_flight).sum()
    }

    /// Lets calls go on whose futures the test has woken, and everything happen that follows.
    ///
    /// ```
    /// # use std::{future::poll_fn, sync::{Arc, Mutex}, task::{Poll, Waker}};
    /// # use tidemill_data::Topic;
    /// # use tidemill_streams::{App, InFlight};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const SEEN: Topic<String, String> = Topic::new("seen");
    /// # let app = App::new("docs");
    /// let asked: Arc<Mutex<Option<Waker>>> = Arc::default();
    /// # let waiting = Arc::clone(&asked);
    /// app.stream(&CLICKS)
    ///     .map_async(InFlight::ordered(10), move |_, page| {
    ///         let asked = Arc::clone(&asked);
    ///         poll_fn(move |cx| match asked.lock().unwrap().replace(cx.waker().clone()) {
    ///             None => Poll::Pending, // until it is woken
    ///             Some(_) => Poll::Ready(page.clone()),
    ///         })
    ///     })
    ///     .to(&SEEN);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// assert!(t.read(&SEEN).is_empty());
    /// let waker = waiting.lock().unwrap().clone();
    /// waker.expect("the call waits").wake();
    /// t.settle();
    /// assert_eq!(t.read(&SEEN).len(), 1);
    /// ```
    ///
    /// # Panics
    /// When something fails and the policy is to fail.
    #[track_caller]
    pub fn settle(&mut self) {
        pass(self.run());
    }
}
