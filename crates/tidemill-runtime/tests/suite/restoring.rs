//! Stores are restored in the background of tasks that work.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill_client::{MemoryCluster, Record, TopicPartition};
use tidemill_data::{Headers, StoreName, Timestamp, Topic};
use tidemill_runtime::{Config, Position, RestoreProgress, RestoreStage, Running, Start, State};
use tidemill_streams::App;

const CLICKS: Topic<String, String> = Topic::new("clicks");
const COUNTS: StoreName<String, i64> = StoreName::new("counts");
const LINES: Topic<String, String> = Topic::new("lines");
const OUT: Topic<String, String> = Topic::new("out");

/// More than one batch.
const RECORDS: i64 = 12_000;
/// Longer than any test takes: a wait that ends by an event.
const LONG: Duration = Duration::from_secs(600);

fn app() -> App {
    let app = App::new("app");
    let _ = app.stream(&CLICKS).group_by_key().count(&COUNTS);
    app.stream(&LINES).to(&OUT);
    app
}

fn write(cluster: &MemoryCluster, topic: &str, key: &str) {
    let record = Record {
        offset: 0,
        timestamp: Timestamp::from_millis(1),
        key: Some(key.to_owned().into()),
        value: Some("x".into()),
        headers: Headers::default(),
    };
    cluster.append(&TopicPartition::new(topic, 0), record).unwrap();
}

/// A cluster on which the program has counted more than one batch.
async fn counted_once() -> MemoryCluster {
    let cluster = MemoryCluster::new();
    for topic in ["clicks", "lines", "out"] {
        cluster.topic(topic, 1);
    }
    for n in 0..RECORDS {
        write(&cluster, "clicks", &format!("k{n}"));
    }
    let first = tempfile::tempdir().unwrap();
    let config = Config::new().state_dir(first.path());
    let launch = app().launch(config).transport(cluster.clone());
    let running = launch.start().await.unwrap();
    let all = Position::new().with("clicks", 0, RECORDS - 1);
    running.store(&COUNTS).at_least(all, LONG).all().await.unwrap();
    running.stop().await.unwrap();
    cluster
}

/// The live snapshot shows a store of which a batch is there, and more is to come.
fn assert_tells_of_a_batch(running: &Running) {
    let [now] = &running.snapshot().restoring[..] else {
        panic!("one store is being restored");
    };
    assert_eq!((now.task.as_str(), now.store.as_str()), ("0_0", "counts"));
    assert_eq!(now.stage, RestoreStage::Batch);
    assert!(0 < now.records && now.records < RECORDS as u64, "{now:?}");
    assert_eq!(now.records + now.remaining(), RECORDS as u64);
    assert!(now.time_left.is_some(), "{now:?}");
}

/// What a listener heard of a store of more than one batch.
fn assert_told_in_order(heard: &[RestoreProgress]) {
    let stages: Vec<RestoreStage> = heard.iter().map(|progress| progress.stage).collect();
    assert_eq!(stages.first(), Some(&RestoreStage::Began));
    assert_eq!(stages.last(), Some(&RestoreStage::Completed));
    let between = &stages[1..stages.len() - 1];
    assert!(
        between.len() > 1 && between.iter().all(|stage| *stage == RestoreStage::Batch),
        "{stages:?}"
    );
    for progress in heard {
        assert_eq!(
            (progress.task.as_str(), progress.store.as_str()),
            ("0_0", "counts")
        );
        assert_eq!((progress.from, progress.to), (0, RECORDS));
        assert_eq!(
            progress.time_left.is_some(),
            progress.stage != RestoreStage::Began
        );
    }
    let last = heard.last().unwrap();
    assert!(
        last.is_complete() && i64::try_from(last.records) == Ok(RECORDS),
        "{last:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tasks_work_while_a_store_is_restored_and_a_listener_hears_how_far_it_is() {
    let cluster = counted_once().await;
    // With another directory there is all to restore; the listener holds it up until the other task was seen at work.
    let second = tempfile::tempdir().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let listener = {
        let heard = heard.clone();
        move |progress: &RestoreProgress| {
            heard.lock().unwrap().push(progress.clone());
            // Ends when the other end is dropped.
            let _ = held.lock().unwrap().recv();
        }
    };
    let config = Config::new().state_dir(second.path());
    let launch = app()
        .launch(config)
        .transport(cluster.clone())
        .on_restore(listener);
    let running = launch.start().await.unwrap();
    while heard.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    write(&cluster, "lines", "while it is restored");
    let out = TopicPartition::new("out", 0);
    while cluster.records(&out).unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.state(), State::Rebalancing);
    assert_eq!(heard.lock().unwrap().len(), 1);
    // The live snapshot tells how far each task's store is: at the start, and after the first batch.
    let restoring = running.snapshot().restoring;
    assert_eq!(restoring, *heard.lock().unwrap());
    assert_eq!(
        (restoring[0].records, restoring[0].remaining()),
        (0, RECORDS as u64)
    );
    release.send(()).unwrap();
    while heard.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_tells_of_a_batch(&running);
    drop(release);
    running.ready().await.unwrap();
    let rows = running.store(&COUNTS).all().await.unwrap();
    assert_eq!(i64::try_from(rows.len()), Ok(RECORDS));

    assert_eq!(running.snapshot().restoring, []);
    let heard = heard.lock().unwrap().clone();
    assert_told_in_order(&heard);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_of_the_only_batch_of_a_small_store() {
    let cluster = MemoryCluster::new();
    for topic in ["clicks", "lines", "out"] {
        cluster.topic(topic, 1);
    }
    write(&cluster, "clicks", "k");
    let heard = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..2 {
        let state = tempfile::tempdir().unwrap();
        let told = heard.clone();
        let launch = app()
            .launch(Config::new().state_dir(state.path()))
            .transport(cluster.clone())
            .on_restore(move |progress| {
                let at = (progress.stage, progress.records, progress.remaining());
                told.lock().unwrap().push(at);
            });
        let running = launch.start().await.unwrap();
        let all = Position::new().with("clicks", 0, 0);
        running.store(&COUNTS).at_least(all, LONG).all().await.unwrap();
        running.stop().await.unwrap();
    }
    assert_eq!(
        *heard.lock().unwrap(),
        [
            (RestoreStage::Began, 0, 1),
            (RestoreStage::Batch, 1, 0),
            (RestoreStage::Completed, 1, 0)
        ]
    );
}
