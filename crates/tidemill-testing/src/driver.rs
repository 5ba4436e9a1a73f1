//! `TestDriver`: the tasks of a topology, driven by hand.

use std::{collections::BTreeMap, sync::Arc};

use tidemill_data::{BoxError, Timestamp};
use tidemill_store::{ByteStore, MemoryByteStore};
use tidemill_streams::{App, Outputs, Task, TaskConfig, TaskId, Topology};

use self::restarting::wipe;
use crate::{TestError, cluster::Cluster, global::Global, restore::restore};

mod clock;
mod piping;
mod reading;
mod restarting;

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

#[track_caller]
pub(crate) fn pass<T>(result: Result<T, TestError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
