//! Workers turned by hand over the cluster in memory: no threads, no clock, the same order every time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill_client::{Isolation, MemoryCluster, Record, Subscription, TopicPartition, Transport};
use tidemill_data::{Headers, StoreName, Timestamp, Topic, partition_for_key};
use tidemill_store::ByteStore;
use tidemill_streams::{App, TaskId};

use super::{Command, Instance, Post, Turn, Worker};
use crate::config::Config;
use crate::control::Control;
use crate::databases::Databases;
use crate::error::RunError;
use crate::plan::{Fit, Missing, prepare};
use crate::restore::{RestoreProgress, RestoreStage, Restoring};
use crate::state::ThreadPhase;
use crate::state_dir::StateDir;

const CLICKS: Topic<String, String> = Topic::new("clicks");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");
const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
const PARTITIONS: i32 = 4;
const KEYS: i32 = 20;

fn counting() -> App {
    let app = App::new("app");
    app.stream(&CLICKS)
        .group_by_key()
        .count(&COUNTS)
        .to_stream()
        .to(&TOTALS);
    app
}

/// A cluster, a clock, and what was clicked so far.
struct World {
    cluster: MemoryCluster,
    now: i64,
    clicked: BTreeMap<String, i64>,
    guarantee: &'static str,
    settings: Vec<(&'static str, &'static str)>,
    // Databases that outlive the members, by task.
    disks: Vec<(TaskId, Arc<dyn ByteStore>)>,
}

/// One instance with one worker.
struct Node {
    worker: Worker,
    commands: Sender<Command>,
    restored: Arc<Mutex<Vec<RestoreProgress>>>,
}

impl World {
    fn new() -> Self {
        let cluster = MemoryCluster::new();
        cluster.topic("clicks", PARTITIONS);
        cluster.topic("totals", PARTITIONS);
        Self {
            cluster,
            now: 1_000,
            clicked: BTreeMap::new(),
            guarantee: "at_least_once",
            settings: Vec::new(),
            disks: Vec::new(),
        }
    }

    fn exactly_once() -> Self {
        Self {
            guarantee: "exactly_once_v2",
            ..Self::new()
        }
    }

    fn append(&self, at: &TopicPartition, key: &str, value: Vec<u8>) {
        let record = Record {
            offset: 0,
            timestamp: Timestamp::from_millis(self.now),
            key: Some(key.to_owned().into()),
            value: Some(value.into()),
            headers: Headers::default(),
        };
        self.cluster.append(at, record).unwrap();
    }

    /// A key that was never seen is clicked.
    fn click_new_key(&mut self) {
        let key = format!("new-{}", self.clicked.len());
        let partition = partition_for_key(key.as_bytes(), PARTITIONS);
        self.append(&TopicPartition::new("clicks", partition), &key, b"x".to_vec());
        self.clicked.insert(key, 1);
    }

    /// Every key is clicked once.
    fn click_all(&mut self) {
        for key in 0..KEYS {
            let key = format!("k{key}");
            let partition = partition_for_key(key.as_bytes(), PARTITIONS);
            let timestamp = Timestamp::from_millis(self.now);
            let (bytes, headers) = (Some(key.clone().into()), Headers::default());
            let click = Record {
                offset: 0,
                timestamp,
                key: bytes,
                value: Some("x".into()),
                headers,
            };
            self.cluster
                .append(&TopicPartition::new("clicks", partition), click)
                .unwrap();
            *self.clicked.entry(key).or_default() += 1;
        }
    }

    fn join(&self, name: &str, state: &Path, app: &App) -> Node {
        let restored = Arc::new(Mutex::new(Vec::new()));
        let config = Config::new()
            .state_dir(state)
            .set("processing.guarantee", self.guarantee)
            .unwrap();
        let given = self.settings.iter();
        let config = given.fold(config, |config, (name, value)| config.set(name, *value).unwrap());
        let topology = app.topology().unwrap();
        let transport: Arc<dyn Transport> = Arc::new(self.cluster.clone());
        let plan = prepare(&topology, &*transport, None, Missing::Refuse, Fit::Exact).unwrap();
        let databases = Databases::new(StateDir::open(state, "app").unwrap(), &config);
        for (task, disk) in &self.disks {
            databases.put(*task, disk.clone());
        }
        let heard = restored.clone();
        let listener = move |progress: &RestoreProgress| heard.lock().unwrap().push(progress.clone());
        let topics = topology.subtopologies().iter().flat_map(|part| {
            part.source_topics
                .iter()
                .cloned()
                .chain(part.repartition_sources.iter().map(|t| t.name.clone()))
        });
        let subscription = Subscription {
            queued_bytes_max: config.polled_bytes_max(),
            isolation: if config.exactly_once {
                Isolation::ReadCommitted
            } else {
                Isolation::ReadUncommitted
            },
            ..Subscription::new("app", name, topics.collect())
        };
        let member = transport.join(&subscription).unwrap();
        let restore_listener: Option<crate::restore::RestoreListener> = Some(Arc::new(listener));
        let control = Control::open(transport.clone(), "app", None).unwrap();
        let instance = Instance {
            topology,
            plan,
            config,
            transport,
            databases: Arc::new(databases),
            control: Arc::new(control),
            paused: Arc::default(),
            restore_listener,
            metrics: Arc::default(),
            globals: None,
            global_position: crate::globals::GlobalPosition::default(),
            patterns: None,
        };
        let instance = Arc::new(instance);
        let listener = instance.restore_listener.clone();
        let restorer = Restoring::between(instance.transport.clone(), format!("{name}-restore"), listener);
        let (commands, receiver) = channel();
        let post = Post {
            name: name.into(),
            number: 1,
        };
        let now = Timestamp::from_millis(self.now);
        let worker = Worker::new(instance, post, member, receiver, restorer, now).unwrap();
        Node {
            worker,
            commands,
            restored,
        }
    }

    /// Turns the nodes, one after the other, for a while in which commits are due.
    fn run(&mut self, nodes: &mut [&mut Node]) {
        for _ in 0..12 {
            self.now += 60;
            for node in nodes.iter_mut() {
                node.turn(self.now).unwrap();
            }
        }
    }

    /// Every click led to one total, in order, and to no other.
    fn assert_each_total_once(&self) {
        let mut seen: BTreeMap<String, i64> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let at = TopicPartition::new("totals", partition);
            for record in self.cluster.records(&at).unwrap() {
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                let total = i64::from_be_bytes(record.value.unwrap().as_ref().try_into().unwrap());
                let before = seen.insert(key.clone(), total).unwrap_or(0);
                assert_eq!(total, before + 1, "{key}");
            }
        }
        assert_eq!(seen, self.clicked);
    }

    /// The last total of every key, as the output topic has it, and whether they ever went down.
    fn totals(&self) -> BTreeMap<String, i64> {
        let mut totals = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for record in self
                .cluster
                .records(&TopicPartition::new("totals", partition))
                .unwrap()
            {
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                let total = i64::from_be_bytes(record.value.unwrap().as_ref().try_into().unwrap());
                totals.insert(key, total);
            }
        }
        totals
    }

    fn committed(&self) -> i64 {
        let at = |p| {
            self.cluster
                .committed("app", &TopicPartition::new("clicks", p))
                .unwrap_or(0)
        };
        (0..PARTITIONS).map(at).sum()
    }
}

impl Node {
    fn turn(&mut self, now: i64) -> Result<Turn, RunError> {
        self.worker.turn(Timestamp::from_millis(now), Duration::ZERO)
    }

    fn tasks(&self) -> Vec<String> {
        self.worker.tasks.keys().map(ToString::to_string).collect()
    }

    /// How many changelog records it has read so far.
    fn restored_records(&self) -> u64 {
        let restored = self.restored.lock().unwrap();
        let complete = restored
            .iter()
            .filter(|progress| progress.stage == RestoreStage::Completed);
        complete.map(|progress| progress.records).sum()
    }

    fn stop(mut self, now: i64) {
        self.commands.send(Command::Stop).unwrap();
        assert_eq!(self.turn(now).unwrap(), Turn::Stopped);
        self.worker.leave().unwrap();
    }
}

mod budget;
mod calls;
mod exactly_once;
mod full_disk;
mod inputs;
mod outputs;
mod read_only;
mod spans;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn members_that_join_and_leave_share_the_work_and_count_everything_once() {
    let (mut world, app, dirs) = (World::new(), counting(), [dir(), dir()]);
    let mut a = world.join("a", dirs[0].path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    assert_eq!(a.tasks(), ["0_0", "0_1", "0_2", "0_3"]);
    let mut b = world.join("b", dirs[1].path(), &app);
    world.click_all();
    world.run(&mut [&mut a, &mut b]);
    assert_eq!(
        (a.tasks(), b.tasks()),
        (vec!["0_0".into(), "0_1".into()], vec!["0_2".into(), "0_3".into()])
    );
    assert_eq!(world.totals(), world.clicked);
    world.click_all();
    world.run(&mut [&mut a, &mut b]);
    a.stop(world.now);
    world.click_all();
    world.run(&mut [&mut b]);
    assert_eq!(b.tasks().len(), 4);
    assert_eq!(world.totals(), world.clicked);
    assert_eq!(world.committed(), i64::from(4 * KEYS));
}

#[test]
fn a_member_that_dies_between_commits_loses_nothing_and_counts_nothing_twice() {
    let (mut world, app, dirs) = (World::new(), counting(), [dir(), dir()]);
    let mut a = world.join("a", dirs[0].path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    // Processed, and not committed: the clock stands still.
    world.click_all();
    a.turn(world.now).unwrap();
    assert_eq!(world.totals(), world.clicked);
    assert_eq!(world.committed(), i64::from(KEYS));
    drop(a);
    world.cluster.expire("app", "a");
    let mut b = world.join("b", dirs[1].path(), &app);
    world.run(&mut [&mut b]);
    assert_eq!(world.totals(), world.clicked);
    assert_eq!(world.committed(), i64::from(2 * KEYS));
}

#[test]
fn a_member_that_paused_and_lost_its_partitions_commits_nothing_of_them() {
    let (mut world, app, dirs) = (World::new(), counting(), [dir(), dir()]);
    let mut a = world.join("a", dirs[0].path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    world.click_all();
    a.turn(world.now).unwrap();
    // It pauses here with work that is not committed, until the group has given up on it.
    world.cluster.expire("app", "a");
    let mut b = world.join("b", dirs[1].path(), &app);
    world.run(&mut [&mut b]);
    let changelog = |world: &World| {
        let at = (0..PARTITIONS)
            .map(|p| TopicPartition::new("app-counts-changelog", p))
            .collect::<Vec<_>>();
        world.cluster.end_offsets(&at).unwrap()
    };
    let (committed, written) = (world.committed(), changelog(&world));
    a.turn(world.now + 1_000).unwrap();
    assert!(a.tasks().is_empty());
    assert_eq!((world.committed(), changelog(&world)), (committed, written));
    // It is welcome again.
    world.click_all();
    world.run(&mut [&mut a, &mut b]);
    assert_eq!((a.tasks().len(), b.tasks().len()), (2, 2));
    assert_eq!(world.totals(), world.clicked);
}

#[test]
fn state_that_is_there_is_not_restored_again() {
    let (mut world, app, state) = (World::new(), counting(), dir());
    let mut a = world.join("a", state.path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    a.stop(world.now);
    let mut a = world.join("a", state.path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    assert_eq!(world.totals(), world.clicked);
    let expected = if cfg!(feature = "rocksdb") { 0 } else { KEYS as u64 };
    assert_eq!(a.restored_records(), expected);
    a.stop(world.now);
    // On another machine everything is.
    let elsewhere = dir();
    let mut b = world.join("b", elsewhere.path(), &app);
    world.click_all();
    world.run(&mut [&mut b]);
    assert_eq!(world.totals(), world.clicked);
    assert_eq!(b.restored_records(), 2 * KEYS as u64);
}

#[test]
fn a_commit_that_fails_is_tried_again_and_counts_nothing_twice() {
    let (mut world, app, state) = (World::new(), counting(), dir());
    let mut a = world.join("a", state.path(), &app);
    world.run(&mut [&mut a]);
    world.cluster.fail_commits(3);
    world.click_all();
    world.run(&mut [&mut a]);
    assert_eq!(world.committed(), i64::from(KEYS));
    a.stop(world.now);
    let mut a = world.join("a", state.path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    assert_eq!(world.totals(), world.clicked);
}

#[test]
fn lost_output_stops_the_worker_before_anything_is_committed() {
    let (mut world, app, dirs) = (World::new(), counting(), [dir(), dir()]);
    let mut a = world.join("a", dirs[0].path(), &app);
    world.run(&mut [&mut a]);
    world.cluster.fail_sends("totals", 1);
    world.click_all();
    let failed = (0..12).find_map(|turn| a.turn(world.now + 60 * turn).err());
    assert!(matches!(failed, Some(RunError::Transport(_))), "{failed:?}");
    assert_eq!(world.committed(), 0);
    drop(a);
    world.cluster.expire("app", "a");
    let mut b = world.join("b", dirs[1].path(), &app);
    world.run(&mut [&mut b]);
    assert_eq!(world.totals(), world.clicked);
}

#[test]
fn a_changelog_made_anew_means_state_made_anew() {
    let (mut world, app, state) = (World::new(), counting(), dir());
    let mut a = world.join("a", state.path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    a.stop(world.now);
    world.cluster.delete_topic("app-counts-changelog");
    world.clicked.clear();
    let mut a = world.join("a", state.path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    assert_eq!(world.totals(), world.clicked);
}

#[test]
fn a_task_waits_for_the_input_that_may_still_have_earlier_records() {
    const PROFILES: Topic<String, String> = Topic::new("profiles");
    const JOINED: Topic<String, String> = Topic::new("totals");
    let app = App::new("app");
    let profiles = app.table(&PROFILES);
    app.stream(&CLICKS)
        .join_table(&profiles, |_, click, profile| format!("{click}{profile}"))
        .to(&JOINED);
    let (mut world, state) = (World::new(), dir());
    world.cluster.topic("profiles", PARTITIONS);
    // Far more rows than one turn reads, all earlier than the clicks.
    let at = TopicPartition::new("profiles", partition_for_key(b"k0", PARTITIONS));
    let row = |value: String| Record {
        offset: 0,
        timestamp: Timestamp::from_millis(1),
        key: Some("k0".into()),
        value: Some(value.into()),
        headers: Headers::default(),
    };
    for n in 0..30_000 {
        world.cluster.append(&at, row(n.to_string())).unwrap();
    }
    world.click_all();
    let mut a = world.join("a", state.path(), &app);
    world.run(&mut [&mut a]);
    let joined = world
        .cluster
        .records(&TopicPartition::new("totals", at.partition))
        .unwrap();
    let values: Vec<_> = joined.iter().filter_map(|record| record.value.clone()).collect();
    assert_eq!(values, ["x29999"]);
}

#[test]
fn a_member_with_only_part_of_a_tasks_inputs_refuses_it_by_name() {
    let app = App::new("app");
    let more: Topic<String, String> = Topic::new("more");
    app.stream(&CLICKS)
        .merge(app.stream(&more))
        .to(&Topic::<String, String>::new("totals"));
    let (mut world, dirs) = (World::new(), [dir(), dir()]);
    world.cluster.topic("more", 2);
    let mut a = world.join("a", dirs[0].path(), &app);
    let mut b = world.join("b", dirs[1].path(), &app);
    let failed = (0..6).find_map(|_| {
        world.now += 60;
        a.turn(world.now).err().or(b.turn(world.now).err())
    });
    let failed = failed.unwrap().to_string();
    assert!(failed.contains("task 0_1 reads clicks-1, more-1"), "{failed}");
}

#[test]
fn a_worker_says_when_it_works() {
    let (world, app, state) = (World::new(), counting(), dir());
    let mut a = world.join("a", state.path(), &app);
    assert_eq!(a.turn(world.now).unwrap(), Turn::Next(ThreadPhase::Working));
    drop(world);
}

#[test]
fn a_task_commits_when_its_writes_outgrow_its_memory() {
    let (mut world, app, state) = (World::exactly_once(), counting(), dir());
    world.settings = vec![
        ("task.memory.max.bytes", "4096"),
        ("commit.interval.ms", "1000000"),
    ];
    let mut a = world.join("a", state.path(), &app);
    a.turn(world.now).unwrap();
    for _ in 0..40 {
        // 100 new keys a turn; the clock stands still, so no commit is due by time.
        for _ in 0..100 {
            world.click_new_key();
        }
        a.turn(world.now).unwrap();
    }
    for _ in 0..80 {
        a.turn(world.now).unwrap();
    }
    let waiting: usize = a.worker.tasks.values().map(|live| live.task.dirty_bytes()).sum();
    assert!(world.committed() > 3_000, "{} committed", world.committed());
    assert!(waiting < 4 * 4096, "{waiting} bytes wait");
}

#[test]
fn a_poisoned_record_at_any_position_is_skipped_or_stops_the_program_before_it() {
    const NUMBERS: Topic<String, i64> = Topic::new("clicks");
    for position in 0..KEYS {
        for skip in [true, false] {
            let app = App::new("app");
            if skip {
                app.on_error(tidemill_streams::Policy::Skip);
            }
            app.stream(&NUMBERS)
                .group_by_key()
                .count(&COUNTS)
                .to_stream()
                .to(&TOTALS);
            let (mut world, state) = (World::exactly_once(), dir());
            let at = TopicPartition::new("clicks", 0);
            for n in 0..KEYS {
                let good = 7_i64.to_be_bytes().to_vec();
                let value = if n == position { b"poison".to_vec() } else { good };
                world.append(&at, "k", value);
            }
            let mut a = world.join("a", state.path(), &app);
            let failed = (0..12).find_map(|_| {
                world.now += 60;
                a.turn(world.now).err()
            });
            let totals = world.cluster.records(&TopicPartition::new(
                "totals",
                partition_for_key(b"k", PARTITIONS),
            ));
            if skip {
                assert!(failed.is_none(), "{failed:?}");
                assert_eq!(totals.unwrap().len() as i32, KEYS - 1);
                assert_eq!(world.committed(), i64::from(KEYS));
            } else {
                let failed = failed.unwrap().to_string();
                assert!(failed.contains(&format!("(at clicks-0@{position})")), "{failed}");
                assert!(world.committed() <= i64::from(position));
            }
        }
    }
}
