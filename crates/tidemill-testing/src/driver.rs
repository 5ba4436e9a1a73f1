//! `TestDriver`: the tasks of a topology, driven by hand.

use std::{collections::BTreeMap, sync::Arc, task::Waker, time::Duration};

use tidemill_data::{BoxError, Headers, Place, Timestamp, Topic};
use tidemill_store::{ByteStore, ChangelogPosition, Family, KeyRange, MemoryByteStore, TopicId, WriteOp};
use tidemill_streams::{
    App, Changelog, OutputTopic, Outputs, PartitionChoice, RawRecord, Record, Task, TaskConfig, TaskId,
    Topology,
};

use crate::{TestError, cluster::Cluster, global::Global};

mod reading;

/// Opens the database of a task, with a family for each of the named stores. It is called again after a restart.
pub type Opener = Box<dyn FnMut(TaskId, &[String]) -> Result<Arc<dyn ByteStore>, BoxError>>;

/// A topology in virtual time.
///
/// Methods panic where a test would fail anyway; those that start with `try_` give the error instead.
pub struct TestDriver {
    topology: Arc<Topology>,
    cluster: Cluster,
    opener: Opener,
    tasks: Vec<Task>,
    globals: Option<Global>,
    now: Timestamp,
    // By topic and partition: where readers of the test, and committed tasks, stand.
    read: BTreeMap<(String, i32), usize>,
    committed: BTreeMap<(String, i32), Committed>,
    outputs: Outputs,
}

/// A committed offset with the metadata that tells the task's stream times.
#[derive(Clone, Default)]
struct Committed {
    next: i64,
    metadata: String,
}

/// What becomes of the tasks' databases when they start again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disks {
    Kept,
    Lost,
}

/// How many records a task takes before others get their turn.
const RECORDS_PER_TURN: usize = 1_000;

impl TestDriver {
    /// Every topic has one partition, and state is in memory.
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
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// assert_eq!(t.row(&COUNTS, "u1").map(|row| row.value), Some(1));
    /// ```
    ///
    /// # Panics
    /// When the program cannot run.
    #[must_use]
    #[track_caller]
    pub fn new(app: &App) -> Self {
        Self::with_partitions(app, 1)
    }

    /// Every topic has this many partitions, if the app does not say otherwise.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::with_partitions(&app, 3);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.pipe(&CLICKS, "u2", "home", ms(2)); // maybe in another task
    /// assert_eq!(t.rows(&COUNTS).len(), 2);
    /// ```
    ///
    /// # Panics
    /// When the program cannot run.
    #[must_use]
    #[track_caller]
    pub fn with_partitions(app: &App, partitions: i32) -> Self {
        pass(Self::try_new(app, partitions, &[], in_memory()))
    }

    /// With partitions chosen for some topics, and with databases that the test opens.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tidemill_data::Topic;
    /// # use tidemill_store::MemoryByteStore;
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, TestError, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const SEEN: Topic<String, String> = Topic::new("seen");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).to(&SEEN);
    /// let opener = Box::new(|_task, stores: &[String]| Ok(Arc::new(MemoryByteStore::new(stores)) as Arc<_>));
    /// let mut t = TestDriver::try_new(&app, 1, &[("clicks", 4)], opener)?; // all topics have one, clicks have four
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// # assert_eq!(t.read(&SEEN).len(), 1);
    /// # Ok::<(), TestError>(())
    /// ```
    ///
    /// # Errors
    /// When the program cannot run with these topics, or a database cannot be opened.
    pub fn try_new(
        app: &App,
        partitions: i32,
        chosen: &[(&str, i32)],
        opener: Opener,
    ) -> Result<Self, TestError> {
        let topology = app.topology()?;
        let mut cluster = Cluster::new(partitions);
        for part in topology.subtopologies() {
            for topic in &part.repartition_sources {
                if let Some(count) = topic.partitions.and_then(|count| i32::try_from(count).ok()) {
                    cluster.choose(&topic.name, count);
                }
            }
        }
        for (topic, count) in chosen {
            cluster.choose(topic, *count);
        }
        for topics in topology.copartitioned_topics() {
            let partitions: Vec<i32> = topics.iter().map(|topic| cluster.partitions(topic)).collect();
            if partitions.windows(2).any(|pair| pair.first() != pair.last()) {
                return Err(TestError::NotCopartitioned { topics, partitions });
            }
        }
        let mut driver = Self {
            topology,
            cluster,
            opener,
            tasks: Vec::new(),
            globals: None,
            now: Timestamp::default(),
            read: BTreeMap::new(),
            committed: BTreeMap::new(),
            outputs: Outputs::new(),
        };
        driver.open_tasks(Disks::Kept)?;
        Ok(driver)
    }

    fn open_tasks(&mut self, disks: Disks) -> Result<(), TestError> {
        self.tasks.clear();
        self.globals = Global::open(&self.topology, &self.cluster)?;
        let config = TaskConfig {
            globals: self.globals.as_ref().map(Global::base),
            ..TaskConfig::default()
        };
        for (subtopology, part) in self.topology.subtopologies().iter().enumerate() {
            let internal = part.repartition_sources.iter().map(|topic| &topic.name);
            let counts = part
                .source_topics
                .iter()
                .chain(internal)
                .map(|topic| self.cluster.partitions(topic));
            for partition in 0..counts.max().unwrap_or(0) {
                let id = TaskId {
                    subtopology,
                    partition,
                };
                let base = (self.opener)(id, &part.stores).map_err(|source| TestError::Open {
                    task: id.to_string(),
                    source,
                })?;
                if disks == Disks::Lost {
                    wipe(&*base, &part.stores)?;
                }
                let topology = Arc::clone(&self.topology);
                let mut task = Task::new(topology, id, base, &config, self.now)?;
                let committed = |input: &str| next_of(&self.committed, input, partition);
                restore(&self.cluster, &mut task, committed)?;
                self.tasks.push(task);
            }
        }
        Ok(())
    }

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
    fn run(&mut self) -> Result<(), TestError> {
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
            if done == 0 && !self.poll_calls()? {
                return Ok(());
            }
        }
    }

    /// Polls the calls of all tasks that were woken or whose time has come; whether there were any.
    fn poll_calls(&mut self) -> Result<bool, TestError> {
        let mut polled = false;
        for at in 0..self.tasks.len() {
            let Some(task) = self.tasks.get_mut(at) else { break };
            if task.calls_in_flight() == 0 && task.next_call_deadline().is_none() {
                continue;
            }
            polled |= task.poll_calls(self.now, Waker::noop(), &mut self.outputs)?;
            self.deliver()?;
        }
        Ok(polled)
    }

    fn deliver(&mut self) -> Result<(), TestError> {
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

    /// The wall clock.
    ///
    /// ```
    /// # use tidemill_data::{SECOND, StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// let before = t.now();
    /// t.advance(SECOND);
    /// assert_eq!(t.now(), before.saturating_add(SECOND));
    /// # t.pipe(&CLICKS, "u1", "home", ms(1));
    /// ```
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves the wall clock, and calls what is then due.
    ///
    /// ```
    /// # use tidemill_data::{MINUTE, SECOND, StoreName, Topic, Windowed};
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
    /// # const CLOSED: Topic<String, Option<i64>> = Topic::new("closed");
    /// # let app = App::new("docs");
    /// app.stream(&CLICKS)
    ///     .group_by_key()
    ///     .window(Tumbling::of(SECOND).close_when_idle(MINUTE))
    ///     .emit_on_close()
    ///     .count(&COUNTS)
    ///     .to_stream()
    ///     .map(|window, count| (window.key, count))
    ///     .to(&CLOSED);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.advance(2 * MINUTE); // nothing came for a minute
    /// assert_eq!(t.read(&CLOSED).len(), 1);
    /// ```
    ///
    /// # Panics
    /// When something fails and the policy is to fail.
    #[track_caller]
    pub fn advance(&mut self, span: Duration) {
        pass(self.try_advance(span));
    }

    /// As [`advance`](Self::advance).
    ///
    /// ```
    /// # use tidemill_data::{SECOND, StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, TestError};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.try_advance(SECOND)?;
    /// # Ok::<(), TestError>(())
    /// ```
    ///
    /// # Errors
    /// When something fails and the policy is to fail.
    pub fn try_advance(&mut self, span: Duration) -> Result<(), TestError> {
        self.now = self.now.saturating_add(span);
        for task in &mut self.tasks {
            task.punctuate_wall(self.now, &mut self.outputs)?;
        }
        self.deliver()?;
        self.run()
    }

    /// Commits all tasks: changelogs, offsets, state.
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
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// assert!(t.read_raw("docs-counts-changelog").is_empty());
    /// t.commit();
    /// assert_eq!(t.read_raw("docs-counts-changelog").len(), 1);
    /// ```
    ///
    /// # Panics
    /// When state cannot be written.
    #[track_caller]
    pub fn commit(&mut self) {
        pass(self.try_commit());
    }

    fn try_commit(&mut self) -> Result<(), TestError> {
        self.run()?;
        if let calls @ 1.. = self.calls_in_flight() {
            return Err(TestError::CallsInFlight { calls });
        }
        for task in &mut self.tasks {
            let mut changelog = Outputs::new();
            let commit = task.prepare_commit(&mut changelog);
            for output in changelog.iter() {
                if let OutputTopic::Named(topic) = output.topic {
                    let record = self.cluster.owned(&output);
                    self.cluster.append(topic, output.partition, record);
                }
            }
            let partition = task.id().partition;
            for (topic, next) in commit.offsets {
                let metadata = commit.metadata.clone();
                self.committed
                    .insert((topic, partition), Committed { next, metadata });
            }
            let changelogs = task.changelogs();
            let (cluster, committed) = (&self.cluster, &self.committed);
            let ends = changelogs.into_iter().map(|log| {
                let end = end(cluster, &log, partition, |input| {
                    next_of(committed, input, partition)
                });
                (log.topic, end)
            });
            task.committed(&ends.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Commits, stops all tasks and starts them again on the state they left.
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
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.restart();
    /// t.pipe(&CLICKS, "u1", "news", ms(2));
    /// assert_eq!(t.row(&COUNTS, "u1").map(|row| row.value), Some(2));
    /// ```
    ///
    /// # Panics
    /// When state cannot be written or opened.
    #[track_caller]
    pub fn restart(&mut self) {
        pass(self.try_commit());
        self.crash();
    }

    /// Stops all tasks without a commit and starts them again: what was not committed is lost and done again.
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
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.crash(); // nothing was committed: the click is read again
    /// assert_eq!(t.row(&COUNTS, "u1").map(|row| row.value), Some(1));
    /// ```
    ///
    /// # Panics
    /// When state cannot be opened, or a record fails this time.
    #[track_caller]
    pub fn crash(&mut self) {
        self.start_again(Disks::Kept);
    }

    #[track_caller]
    fn start_again(&mut self, disks: Disks) {
        pass(self.open_tasks(disks));
        for task in &mut self.tasks {
            let partition = task.id().partition;
            for topic in task.inputs() {
                let committed = self
                    .committed
                    .get(&(topic.clone(), partition))
                    .cloned()
                    .unwrap_or_default();
                let _ = committed.metadata.is_empty() || task.resume(&committed.metadata);
                let records = self.cluster.records(&topic, partition);
                let from = usize::try_from(committed.next).unwrap_or(0);
                let again = records.get(from..).unwrap_or_default().to_vec();
                pass(task.enqueue(&topic, again).map_err(TestError::from));
            }
        }
        pass(self.run());
    }

    /// Commits, loses all state, and starts the tasks again: state comes back from the changelogs. Databases that the
    /// test opens are emptied.
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
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.restart_without_state(); // as on a new machine
    /// assert_eq!(t.row(&COUNTS, "u1").map(|row| row.value), Some(1));
    /// ```
    ///
    /// # Panics
    /// When state cannot be written or opened.
    #[track_caller]
    pub fn restart_without_state(&mut self) {
        pass(self.try_commit());
        self.start_again(Disks::Lost);
    }
}

/// Empties a database: rows, and what the stores know of themselves.
fn wipe(base: &dyn ByteStore, stores: &[String]) -> Result<(), TestError> {
    let families = stores.iter().filter_map(|name| base.family(name));
    let families = families.chain([Family::METADATA]);
    let range = KeyRange::ALL;
    base.write(&mut families.map(|family| WriteOp::DeleteRange { family, range }))?;
    Ok(())
}

fn next_of(committed: &BTreeMap<(String, i32), Committed>, topic: &str, partition: i32) -> i64 {
    let known = committed.get(&(topic.to_owned(), partition));
    known.map_or(0, |committed| committed.next)
}

/// Databases in memory, the same one for a task each time it is opened.
fn in_memory() -> Opener {
    let mut bases: BTreeMap<TaskId, Arc<dyn ByteStore>> = BTreeMap::new();
    Box::new(move |id, stores| {
        Ok(Arc::clone(
            bases
                .entry(id)
                .or_insert_with(|| Arc::new(MemoryByteStore::new(stores))),
        ))
    })
}

/// Restores a task's stores; `committed` is how far an input is.
pub(crate) fn restore(
    cluster: &Cluster,
    task: &mut Task,
    committed: impl Fn(&str) -> i64,
) -> Result<(), TestError> {
    let partition = task.id().partition;
    for changelog in task.changelogs() {
        let from = changelog.position.map_or(0, |position| position.next_offset);
        let records = cluster.records(&changelog.topic, partition);
        let end = end(cluster, &changelog, partition, &committed);
        let place = |offset: i64| usize::try_from(offset).unwrap_or(0);
        let missing = records
            .get(place(from)..place(end.next_offset))
            .unwrap_or_default();
        task.restore(&changelog.topic, missing, end)?;
    }
    Ok(())
}

/// How far a store contains its changelog once all is written, or an input once so much of it is committed.
pub(crate) fn end(
    cluster: &Cluster,
    changelog: &Changelog,
    partition: i32,
    committed: impl Fn(&str) -> i64,
) -> ChangelogPosition {
    let next_offset = if changelog.is_input {
        committed(&changelog.topic)
    } else {
        i64::try_from(cluster.records(&changelog.topic, partition).len()).unwrap_or(i64::MAX)
    };
    ChangelogPosition {
        topic_id: TopicId::default(),
        next_offset,
        committed_at: Timestamp::default(),
    }
}

#[track_caller]
pub(crate) fn pass<T>(result: Result<T, TestError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// A time as milliseconds.
///
/// ```
/// # use tidemill_testing::ms;
/// assert_eq!(ms(1_500).millis(), 1_500);
/// ```
#[must_use]
pub fn ms(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// A time of the first day of 1970, as `10:00` or `10:00:30`.
///
/// ```
/// # use tidemill_testing::{at, ms};
/// assert_eq!(at("00:01"), ms(60_000));
/// assert_eq!(at("00:01:30"), ms(90_000));
/// ```
///
/// # Panics
/// When it is no such time.
#[must_use]
#[track_caller]
pub fn at(time: &str) -> Timestamp {
    let parts: Option<Vec<i64>> = time.split(':').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([hours, minutes]) => ms((hours * 60 + minutes) * 60_000),
        Some([hours, minutes, seconds]) => ms(((hours * 60 + minutes) * 60 + seconds) * 1_000),
        _ => panic!("{time:?} is no time of a day, such as 10:00"),
    }
}
