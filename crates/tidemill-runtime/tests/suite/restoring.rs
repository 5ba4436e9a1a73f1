//! Stores are restored in the background of tasks that work.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill_client::{MemoryCluster, Record, TopicPartition};
use tidemill_data::{Headers, StoreName, Timestamp, Topic};
use tidemill_runtime::{Config, Position, RestoreStage, Start, State};
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

#[tokio::test(flavor = "multi_thread")]
async fn other_tasks_work_while_a_store_is_restored_and_a_listener_hears_how_far_it_is() {
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

    // With another directory there is all to restore; the listener holds it up until the other task was seen at work.
    let second = tempfile::tempdir().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let listener = {
        let heard = heard.clone();
        move |progress: &tidemill_runtime::RestoreProgress| {
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
    drop(release);
    running.ready().await.unwrap();
    let rows = running.store(&COUNTS).all().await.unwrap();
    assert_eq!(i64::try_from(rows.len()), Ok(RECORDS));

    let heard = heard.lock().unwrap().clone();
    let stages: Vec<RestoreStage> = heard.iter().map(|progress| progress.stage).collect();
    assert_eq!(stages.first(), Some(&RestoreStage::Began));
    assert_eq!(stages.last(), Some(&RestoreStage::Completed));
    assert!(stages.contains(&RestoreStage::Batch), "{stages:?}");
    for progress in &heard {
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
    running.stop().await.unwrap();
}
