//! Threads come and go, fail and are replaced; programs pause, and are refused when they changed too much.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use tidemill_client::{MemoryCluster, Record, TopicPartition};
use tidemill_data::{Headers, StoreName, Timestamp, Topic, partition_for_key};
use tidemill_runtime::{Config, Response, RunError, Running, Start, StartError, State};
use tidemill_streams::App;

const CLICKS: Topic<String, String> = Topic::new("clicks");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");
const PARTITIONS: i32 = 4;

struct World {
    cluster: MemoryCluster,
    clicked: i64,
}

impl World {
    fn new() -> Self {
        let cluster = MemoryCluster::new();
        cluster.topic("clicks", PARTITIONS);
        Self { cluster, clicked: 0 }
    }

    fn click(&mut self, value: &'static str) {
        for key in 0..20 {
            let key = format!("k{key}");
            let at = TopicPartition::new("clicks", partition_for_key(key.as_bytes(), PARTITIONS));
            let click = Record {
                offset: 0,
                timestamp: Timestamp::from_millis(0),
                key: Some(key.into()),
                value: Some(value.into()),
                headers: Headers::default(),
            };
            self.cluster.append(&at, click).unwrap();
            self.clicked += 1;
        }
    }

    /// Waits until all clicks are counted in these instances together.
    async fn counted(&self, instances: &[&Running]) {
        loop {
            let mut sum = 0;
            for instance in instances {
                let rows = instance.store(&COUNTS).all().await.unwrap();
                sum += rows.iter().map(|(_, count)| count).sum::<i64>();
            }
            if sum == self.clicked {
                return;
            }
            assert!(sum < self.clicked, "{sum} of {}", self.clicked);
            tokio::task::yield_now().await;
        }
    }
}

fn counting(check: impl Fn(&str) + Send + Sync + 'static) -> App {
    let app = App::new("app");
    let _ = app
        .stream(&CLICKS)
        .peek(move |_, click| check(click))
        .group_by_key()
        .count(&COUNTS);
    app
}

fn config(state: &Path) -> Config {
    let config = Config::new().state_dir(state);
    let config = config.set("processing.guarantee", "exactly_once_v2").unwrap();
    config.set("commit.interval.ms", 10).unwrap()
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_added_and_removed_while_records_flow() {
    let (mut world, state) = (World::new(), dir());
    let app = counting(|_| {});
    let launch = app.launch(config(state.path())).transport(world.cluster.clone());
    let running = launch.start().await.unwrap();
    world.click("a");
    world.counted(&[&running]).await;
    let added = running.add_thread().await.unwrap().unwrap();
    assert_eq!(running.threads().len(), 2);
    world.click("b");
    running.ready().await.unwrap();
    world.counted(&[&running]).await;
    let first = running.threads().first().unwrap().clone();
    assert_eq!(running.remove_thread_named(&first).await.unwrap(), Some(first));
    assert_eq!(running.threads(), std::slice::from_ref(&added));
    world.click("c");
    world.counted(&[&running]).await;
    assert_eq!(running.remove_thread_named("nobody").await.unwrap(), None);
    assert_eq!(running.remove_thread().await.unwrap(), Some(added));
    assert_eq!(running.remove_thread().await.unwrap(), None);
    world.click("d");
    running.add_thread().await.unwrap().unwrap();
    world.counted(&[&running]).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_panicked_is_replaced_and_nothing_is_counted_twice() {
    let (mut world, state) = (World::new(), dir());
    let failures = Arc::new(Mutex::new(Vec::new()));
    let poison = Arc::new(AtomicBool::new(true));
    let app = counting({
        let poison = poison.clone();
        move |click| {
            assert!(
                click != "poison" || !poison.swap(false, Ordering::SeqCst),
                "poisoned"
            )
        }
    });
    let launch = app
        .launch(config(state.path()))
        .transport(world.cluster.clone())
        .on_failure({
            let failures = failures.clone();
            move |failure| {
                failures.lock().unwrap().push(failure.to_string());
                Response::ReplaceThread
            }
        });
    let running = launch.start().await.unwrap();
    world.click("fine");
    world.click("poison");
    world.click("fine");
    world.counted(&[&running]).await;
    let failures = failures.lock().unwrap().clone();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].contains("poisoned"), "{failures:?}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_handler_a_failed_thread_stops_its_instance() {
    let (mut world, state) = (World::new(), dir());
    let app = counting(|click| assert!(click != "poison", "poisoned"));
    let config = config(state.path()).set("num.stream.threads", 3).unwrap();
    let running = app
        .launch(config)
        .transport(world.cluster.clone())
        .start()
        .await
        .unwrap();
    world.click("poison");
    assert_eq!(running.ended().await, State::Error);
    let error = running.stop().await.unwrap_err();
    assert!(matches!(&error, RunError::Task { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_has_the_whole_application_stopped() {
    let (mut world, states) = (World::new(), [dir(), dir(), dir()]);
    let mut instances = Vec::new();
    for state in &states[..2] {
        let app = counting(|click| assert!(click != "poison", "poisoned"));
        let launch = app
            .launch(config(state.path()))
            .transport(world.cluster.clone())
            .on_failure(|_| Response::ShutdownApplication);
        let running = launch.start().await.unwrap();
        running.ready().await.unwrap();
        instances.push(running);
    }
    // One record, so that one of them fails by itself and the other only hears of it.
    let key = "k0";
    let at = TopicPartition::new("clicks", partition_for_key(key.as_bytes(), PARTITIONS));
    let poison = Record {
        offset: 0,
        timestamp: Timestamp::from_millis(0),
        key: Some(key.into()),
        value: Some("poison".into()),
        headers: Headers::default(),
    };
    world.cluster.append(&at, poison).unwrap();
    let mut ordered = 0;
    for instance in instances {
        assert_eq!(instance.ended().await, State::Error);
        let error = instance.stop().await.unwrap_err();
        ordered += usize::from(matches!(error, RunError::ApplicationShutdown { .. }));
    }
    assert_eq!(ordered, 1);
    // An order counts for those that ran when it was given, not for who comes later.
    world.clicked = 1;
    let later = counting(|_| {});
    let launch = later
        .launch(config(states[2].path()))
        .transport(world.cluster.clone());
    let running = launch.start().await.unwrap();
    world.counted(&[&running]).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_program_processes_nothing_and_answers_queries() {
    let (mut world, state) = (World::new(), dir());
    let seen = Arc::new(AtomicI64::new(0));
    let app = counting({
        let seen = seen.clone();
        move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let launch = app.launch(config(state.path())).transport(world.cluster.clone());
    let running = launch.start().await.unwrap();
    world.click("a");
    world.counted(&[&running]).await;
    running.pause();
    // The answer comes from the worker's thread, so the turn that may have begun before the pause is over.
    running.store(&COUNTS).all().await.unwrap();
    running.store(&COUNTS).all().await.unwrap();
    let before = seen.load(Ordering::SeqCst);
    world.click("b");
    for _ in 0..20 {
        running.store(&COUNTS).all().await.unwrap();
    }
    assert_eq!(seen.load(Ordering::SeqCst), before);
    assert!(running.is_paused());
    running.resume();
    world.counted(&[&running]).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_would_lose_state_is_refused_until_that_is_accepted() {
    let (world, state) = (World::new(), dir());
    let start = |app: App, config: Config| app.launch(config).transport(world.cluster.clone()).start();
    let running = start(counting(|_| {}), config(state.path())).await.unwrap();
    running.stop().await.unwrap();
    let other = || {
        let app = App::new("app");
        let _ = app
            .stream(&CLICKS)
            .group_by_key()
            .count(&StoreName::<String, i64>::new("tallies"));
        app
    };
    let refused = start(other(), config(state.path())).await.err().unwrap();
    assert!(matches!(refused, StartError::Incompatible { .. }), "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains("store counts is gone") && text.contains("store tallies is new"),
        "{text}"
    );
    let accepting = config(state.path()).set("topology.changes", "accept").unwrap();
    start(other(), accepting).await.unwrap().stop().await.unwrap();
    // Accepted once, it is what ran before.
    start(other(), config(state.path()))
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_refused_until_accepted_when_nobody_can_tell_what_ran_before() {
    let (world, state) = (World::new(), dir());
    let start = |config: Config| {
        counting(|_| {})
            .launch(config)
            .transport(world.cluster.clone())
            .start()
    };
    start(config(state.path())).await.unwrap().stop().await.unwrap();
    let unreadable = Record {
        offset: 0,
        timestamp: Timestamp::from_millis(0),
        key: Some("topology".into()),
        value: Some("of a later version".into()),
        headers: Headers::default(),
    };
    let at = TopicPartition::new("app-control", 0);
    world.cluster.append(&at, unreadable).unwrap();
    let refused = start(config(state.path())).await.err().unwrap();
    let StartError::UnknownPredecessor { topic, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(topic, "app-control");
    let accepting = config(state.path()).set("topology.changes", "accept").unwrap();
    start(accepting).await.unwrap().stop().await.unwrap();
    // Accepted once, it is what ran before.
    start(config(state.path())).await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_prometheus_tell_what_was_processed() {
    let (mut world, state) = (World::new(), dir());
    let app = counting(|_| {});
    let launch = app.launch(config(state.path())).transport(world.cluster.clone());
    let running = launch.start().await.unwrap();
    world.click("a");
    world.counted(&[&running]).await;
    let snapshot = loop {
        let snapshot = running.snapshot();
        let published = |thread: &tidemill_runtime::ThreadSnapshot| {
            thread.processed == 20
                && thread
                    .tasks
                    .iter()
                    .flat_map(|task| task.lag.values())
                    .sum::<i64>()
                    == 0
        };
        if snapshot.threads.iter().any(published) {
            break snapshot;
        }
        running.store(&COUNTS).all().await.unwrap();
    };
    let thread = &snapshot.threads[0];
    assert_eq!(
        (thread.tasks.len(), thread.tasks_created, thread.tasks_closed),
        (4, 4, 0)
    );
    let source: u64 = thread
        .tasks
        .iter()
        .flat_map(|task| &task.nodes)
        .filter(|node| node.name.starts_with("KSTREAM-SOURCE"))
        .map(|node| node.processed)
        .sum();
    assert_eq!(source, 20);
    assert!(thread.tasks.iter().all(|task| task.lag.len() <= 1));
    let text = running.metrics();
    for expected in [
        "# TYPE kafka_streams_stream_thread_metrics_process counter",
        "kafka_streams_stream_thread_metrics_process_total{",
        "state=\"RUNNING\"} 1.0",
        "kafka_streams_stream_processor_node_metrics_process_total{",
        "processor_node_id=\"KSTREAM-SOURCE-0000000000\"",
        "topic_partition=\"clicks-0\"",
        "# EOF",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    running.stop().await.unwrap();
}
