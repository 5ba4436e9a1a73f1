//! Calls of `map_async` in a running program: their futures find the timers of the program's own Tokio runtime.

use std::time::Duration;

use tidemill_client::{MemoryCluster, Record, TopicPartition};
use tidemill_data::{Headers, Timestamp, Topic};
use tidemill_runtime::{Config, Start};
use tidemill_streams::{App, InFlight};

const IN: Topic<Option<String>, String> = Topic::new("in");
const OUT: Topic<Option<String>, String> = Topic::new("out");
const RECORDS: i64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn futures_that_wait_for_timers_go_on_and_keep_their_order() {
    let cluster = MemoryCluster::new();
    cluster.topic("in", 1);
    cluster.topic("out", 1);
    let (input, output) = (TopicPartition::new("in", 0), TopicPartition::new("out", 0));
    let app = App::new("app");
    app.stream(&IN)
        .map_async(InFlight::ordered(16), |_, value: String| async move {
            let ms = value.len() as u64 % 3;
            // A call that is answered by a timer of Tokio's.
            let never = std::future::pending::<()>();
            let _ = tokio::time::timeout(Duration::from_millis(ms), never).await;
            value
        })
        .to(&OUT);
    let state = tempfile::tempdir().expect("a temporary folder");
    let config = Config::new().state_dir(state.path());
    let running = app
        .launch(config)
        .transport(cluster.clone())
        .start()
        .await
        .expect("the program starts");
    for number in 0..RECORDS {
        let record = Record {
            offset: 0,
            timestamp: Timestamp::from_millis(number),
            key: None,
            value: Some("x".repeat(number as usize).into()),
            headers: Headers::new(),
        };
        cluster.append(&input, record).expect("the topic is there");
    }
    let lengths = loop {
        let records = cluster.records(&output).expect("the topic is there");
        if records.len() as i64 == RECORDS {
            let length = |record: Record| record.value.map_or(0, |value| value.len() as i64);
            break records.into_iter().map(length).collect::<Vec<_>>();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(lengths, (0..RECORDS).collect::<Vec<_>>());
    running.stop().await.expect("the program stops");
    assert_eq!(cluster.committed("app", &input), Some(RECORDS));
}
