//! `Simulation`: several instances of one program in virtual time, under faults that a seed decides.

mod chance;
mod instance;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidemill_data::{Headers, Place, Stamped, StoreName, Timestamp, Topic};
use tidemill_streams::{App, PartitionChoice, RawRecord, Record, TaskId, Topology};

use self::{
    chance::Chance,
    instance::{Instance, World},
};
use crate::{TestError, cluster::Cluster, driver::pass};

/// What the instances promise, as `processing.guarantee` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Outputs are there when they are written; a crash may repeat them.
    AtLeastOnce,
    /// Outputs are there when they are committed, once.
    ExactlyOnce,
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Partitions of every topic, if the app does not say otherwise.
    pub partitions: i32,
    /// Instances of the program.
    pub instances: usize,
    /// What they promise.
    pub guarantee: Guarantee,
    /// Decides everything that happens by chance. The same seed gives the same [`Simulation::trace`].
    pub seed: u64,
}

/// Several instances of one program in virtual time.
///
/// ```
/// use tidemill_data::{StoreName, Topic};
/// use tidemill_streams::App;
/// use tidemill_testing::{Guarantee, Scene, Simulation, ms};
///
/// const CLICKS: Topic<String, String> = Topic::new("clicks");
/// const COUNTS: StoreName<String, i64> = StoreName::new("counts");
/// const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
///
/// let app = App::new("articles");
/// app.stream(&CLICKS).group_by_key().count(&COUNTS).to_stream().to(&TOTALS);
///
/// let scene = Scene { partitions: 2, instances: 2, guarantee: Guarantee::ExactlyOnce, seed: 7 };
/// let mut simulation = Simulation::new(&app, &scene);
/// for n in 0..10 {
///     simulation.pipe(&CLICKS, "u1", "a", ms(n));
/// }
/// simulation.run(200); // instances work, commit, crash and come back, as the seed has it
/// simulation.settle(); // all come back and work everything off
/// let totals: Vec<_> = simulation.read(&TOTALS).into_iter().map(|record| record.value).collect();
/// assert_eq!(totals, (1..=10).map(Some).collect::<Vec<_>>());
/// ```
pub struct Simulation {
    world: World,
    instances: Vec<Instance>,
    chance: Chance,
    steps: u64,
    trace: Vec<String>,
    read: BTreeMap<(String, i32), usize>,
}

/// Where an instance can die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Between commits.
    AtWork,
    /// After its records are written, before its offsets are; within a transaction, so that nothing is.
    BeforeOffsets,
    /// After its offsets are committed, before its stores are.
    BeforeStores,
}

impl Simulation {
    /// All instances are there, and share the tasks.
    ///
    /// # Panics
    /// When the program cannot run.
    #[must_use]
    #[track_caller]
    pub fn new(app: &App, scene: &Scene) -> Self {
        let topology = pass(app.topology().map_err(TestError::from));
        let cluster = cluster_of(&topology, scene.partitions);
        let world = World::new(topology, cluster, scene.guarantee);
        let mut simulation = Self {
            instances: (0..scene.instances.max(1)).map(Instance::new).collect(),
            world,
            chance: Chance::new(scene.seed),
            steps: 0,
            trace: Vec::new(),
            read: BTreeMap::new(),
        };
        pass(simulation.rebalance());
        simulation
    }

    /// Writes a record to a topic. Nothing follows before [`run`](Self::run) or [`settle`](Self::settle).
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{Guarantee, Scene, Simulation, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS).to_stream().to(&TOTALS);
    /// # let scene = Scene { partitions: 2, instances: 2, guarantee: Guarantee::ExactlyOnce, seed: 7 };
    /// let mut simulation = Simulation::new(&app, &scene);
    /// simulation.pipe(&CLICKS, "u1", "home", ms(1));
    /// assert!(simulation.read(&TOTALS).is_empty()); // nobody has worked yet
    /// ```
    ///
    /// # Panics
    /// When it cannot be encoded.
    #[track_caller]
    pub fn pipe<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        key: impl Into<K>,
        value: impl Into<V>,
        timestamp: Timestamp,
    ) {
        let headers = Headers::new();
        let cluster = &mut self.world.cluster;
        let key = pass(cluster.encoded(topic.key(), Place::key(topic.name(), &headers), &key.into()));
        let value = pass(cluster.encoded(topic.value(), Place::value(topic.name(), &headers), &value.into()));
        let record = RawRecord {
            offset: 0,
            timestamp,
            key,
            value,
            headers,
        };
        cluster.append(topic.name(), PartitionChoice::ByKey, record);
    }

    /// Lets so many things happen: work, commits, crashes, returns and their rebalances, and time that passes.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{Guarantee, Scene, Simulation, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS).to_stream().to(&TOTALS);
    /// # let scene = Scene { partitions: 2, instances: 2, guarantee: Guarantee::ExactlyOnce, seed: 7 };
    /// let mut simulation = Simulation::new(&app, &scene);
    /// simulation.pipe(&CLICKS, "u1", "home", ms(1));
    /// simulation.run(50);
    /// assert!(!simulation.trace().is_empty());
    /// ```
    ///
    /// # Panics
    /// When a record fails and the policy is to fail, or a store cannot be read or written.
    #[track_caller]
    pub fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            pass(self.step());
        }
    }

    fn step(&mut self) -> Result<(), TestError> {
        self.steps += 1;
        let at = self.chance.below(self.instances.len());
        let alive = self.instances.get(at).is_some_and(Instance::is_alive);
        match (self.chance.below(100), alive) {
            (0..=59, true) => self.work(at),
            (60..=84, true) => self.commit(at),
            (85..=87, true) => self.die(at, Death::AtWork),
            (88..=89, true) => self.die(at, Death::BeforeOffsets),
            (90..=91, true) => self.die(at, Death::BeforeStores),
            (0..=49, false) => self.come_back(at),
            _ => {
                let ms = self.chance.below(1_000);
                self.note(format_args!("{ms} ms pass"));
                self.world.now = self.world.now.saturating_add(Duration::from_millis(ms as u64));
                Ok(())
            }
        }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.push(format!("{} {what}", self.steps));
    }

    fn work(&mut self, at: usize) -> Result<(), TestError> {
        const RECORDS_MAX: usize = 8;
        let (task, records) = (self.chance.below(usize::MAX), 1 + self.chance.below(RECORDS_MAX));
        let Some(instance) = self.instances.get_mut(at) else {
            return Ok(());
        };
        if let Some((id, done)) = instance.work(&mut self.world, task, records)? {
            self.note(format_args!("instance {at} task {id}: {done} records"));
        }
        Ok(())
    }

    fn commit(&mut self, at: usize) -> Result<(), TestError> {
        let Some(instance) = self.instances.get_mut(at) else {
            return Ok(());
        };
        instance.commit(&mut self.world)?;
        self.note(format_args!("instance {at} commits"));
        Ok(())
    }

    fn die(&mut self, at: usize, death: Death) -> Result<(), TestError> {
        let Some(instance) = self.instances.get_mut(at) else {
            return Ok(());
        };
        match death {
            Death::AtWork => {}
            Death::BeforeOffsets => instance.write_changelogs(&mut self.world),
            Death::BeforeStores => instance.commit_without_stores(&mut self.world)?,
        }
        instance.die();
        self.note(format_args!("instance {at} dies: {death:?}"));
        self.rebalance()
    }

    fn come_back(&mut self, at: usize) -> Result<(), TestError> {
        if let Some(instance) = self.instances.get_mut(at) {
            instance.come_back();
        }
        self.note(format_args!("instance {at} comes back"));
        self.rebalance()
    }

    /// Those that live commit, give up their tasks, and share all tasks anew.
    fn rebalance(&mut self) -> Result<(), TestError> {
        for instance in self.instances.iter_mut().filter(|instance| instance.is_alive()) {
            instance.commit(&mut self.world)?;
            instance.give_up();
        }
        let turn = self.chance.below(self.instances.len());
        let mut alive: Vec<&mut Instance> = self.instances.iter_mut().filter(|i| i.is_alive()).collect();
        let count = alive.len();
        for (n, id) in self.world.tasks().into_iter().enumerate() {
            if let Some(instance) = (n + turn).checked_rem(count).and_then(|at| alive.get_mut(at)) {
                instance.take_up(&mut self.world, id)?;
            }
        }
        self.note(format_args!("{count} instances share the tasks"));
        Ok(())
    }

    /// Lets all instances come back, and everything be worked off and committed, without faults.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{Guarantee, Scene, Simulation, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS).to_stream().to(&TOTALS);
    /// # let scene = Scene { partitions: 2, instances: 2, guarantee: Guarantee::ExactlyOnce, seed: 7 };
    /// let mut simulation = Simulation::new(&app, &scene);
    /// simulation.pipe(&CLICKS, "u1", "home", ms(1));
    /// simulation.run(50);
    /// simulation.settle();
    /// assert_eq!(simulation.read(&TOTALS).len(), 1); // once, whatever happened
    /// ```
    ///
    /// # Panics
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn settle(&mut self) {
        pass(self.try_settle());
    }

    fn try_settle(&mut self) -> Result<(), TestError> {
        for instance in &mut self.instances {
            instance.come_back();
        }
        self.rebalance()?;
        loop {
            let mut done = 0;
            for instance in &mut self.instances {
                done += instance.work_everything(&mut self.world)?;
                instance.commit(&mut self.world)?;
            }
            if done == 0 {
                self.note(format_args!("everything is worked off"));
                return Ok(());
            }
        }
    }

    /// Everything that happened, one line each.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{Guarantee, Scene, Simulation, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS).to_stream().to(&TOTALS);
    /// # let scene = Scene { partitions: 2, instances: 2, guarantee: Guarantee::ExactlyOnce, seed: 7 };
    /// let run = || {
    ///     let mut simulation = Simulation::new(&app, &scene);
    ///     simulation.run(50);
    ///     simulation.trace().to_vec()
    /// };
    /// assert_eq!(run(), run()); // one seed, one run
    /// # let _ = ms(1);
    /// ```
    #[must_use]
    pub fn trace(&self) -> &[String] {
        &self.trace
    }

    /// The records of a topic that were not read yet, partition by partition, as readers of committed records see them.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{Guarantee, Scene, Simulation, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS).to_stream().to(&TOTALS);
    /// # let scene = Scene { partitions: 2, instances: 2, guarantee: Guarantee::ExactlyOnce, seed: 7 };
    /// let mut simulation = Simulation::new(&app, &scene);
    /// simulation.pipe(&CLICKS, "u1", "home", ms(1));
    /// simulation.settle();
    /// let totals: Vec<_> = simulation.read(&TOTALS).into_iter().map(|record| record.value).collect();
    /// assert_eq!(totals, [Some(1)]);
    /// ```
    ///
    /// # Panics
    /// When a record cannot be read as these types.
    #[track_caller]
    pub fn read<K: 'static, V: 'static>(&mut self, topic: &Topic<K, V>) -> Vec<Record<K, V>> {
        let mut unread = Vec::new();
        for partition in 0..self.world.cluster.partitions(topic.name()) {
            let records = self.world.cluster.records(topic.name(), partition);
            let from = self.read.entry((topic.name().to_owned(), partition)).or_default();
            for record in records.get(*from..).unwrap_or_default() {
                let headers = record.headers.clone();
                let place = Place::key(topic.name(), &headers);
                let key = topic.key().decode(place, record.key.as_deref());
                let place = Place::value(topic.name(), &headers);
                let value = topic.value().decode(place, record.value.as_deref());
                unread.push(Record {
                    key: pass(key.map_err(TestError::from)),
                    value: pass(value.map_err(TestError::from)),
                    timestamp: record.timestamp,
                    headers,
                });
            }
            *from = records.len();
        }
        unread
    }

    /// All rows of a table's store, of all instances, task by task.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{Guarantee, Scene, Simulation, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS).to_stream().to(&TOTALS);
    /// # let scene = Scene { partitions: 2, instances: 2, guarantee: Guarantee::ExactlyOnce, seed: 7 };
    /// let mut simulation = Simulation::new(&app, &scene);
    /// simulation.pipe(&CLICKS, "u1", "home", ms(1));
    /// simulation.settle();
    /// let counts: Vec<_> = simulation.rows(&COUNTS).into_iter().map(|(user, row)| (user, row.value)).collect();
    /// assert_eq!(counts, [("u1".to_owned(), 1)]);
    /// ```
    ///
    /// # Panics
    /// When they cannot be read.
    #[track_caller]
    pub fn rows<K: 'static, V: 'static>(&mut self, store: &StoreName<K, V>) -> Vec<(K, Stamped<V>)> {
        let mut rows: BTreeMap<TaskId, Vec<(K, Stamped<V>)>> = BTreeMap::new();
        for task in self.instances.iter_mut().flat_map(Instance::tasks) {
            rows.insert(task.id(), pass(task.rows(store).map_err(TestError::from)));
        }
        rows.into_values().flatten().collect()
    }
}

fn cluster_of(topology: &Arc<Topology>, partitions: i32) -> Cluster {
    let mut cluster = Cluster::new(partitions);
    for topic in topology
        .subtopologies()
        .iter()
        .flat_map(|part| &part.repartition_sources)
    {
        if let Some(count) = topic.partitions.and_then(|count| i32::try_from(count).ok()) {
            cluster.choose(&topic.name, count);
        }
    }
    cluster
}
