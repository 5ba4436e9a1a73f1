//! A source that reads the topics whose names it wants, of those there are when the program starts.

use bytes::Bytes;
use tidemill_client::{MemoryCluster, Record, TopicPartition};
use tidemill_data::{Headers, Timestamp, Topic};
use tidemill_runtime::{Config, Start};
use tidemill_streams::App;

const ALL: Topic<String, String> = Topic::new("all-orders");

fn compose() -> App {
    let app = App::new("app");
    app.stream_matching(|topic| topic.starts_with("orders-")).to(&ALL);
    app
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_topics_of_the_pattern_are_read_and_no_other() {
    let cluster = MemoryCluster::new();
    for topic in ["orders-eu", "orders-us", "payments", "all-orders"] {
        cluster.topic(topic, 1);
        let record = Record {
            offset: 0,
            timestamp: Timestamp::from_millis(1),
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(topic.as_bytes())),
            headers: Headers::new(),
        };
        if topic != "all-orders" {
            cluster
                .append(&TopicPartition::new(topic, 0), record)
                .expect("the topic is there");
        }
    }
    let state = tempfile::tempdir().expect("a temporary folder");
    let launch = compose().launch(Config::new().state_dir(state.path()));
    let running = launch
        .transport(cluster.clone())
        .start()
        .await
        .expect("the program starts");
    let out = TopicPartition::new("all-orders", 0);
    let committed = |topic| cluster.committed("app", &TopicPartition::new(topic, 0));
    while committed("orders-eu") != Some(1) || committed("orders-us") != Some(1) {
        tokio::task::yield_now().await;
    }
    running.stop().await.expect("the program stops");
    let records = cluster.records(&out).expect("the topic is there");
    let mut found: Vec<_> = records.into_iter().filter_map(|record| record.value).collect();
    found.sort();
    assert_eq!(found, ["orders-eu", "orders-us"]);
}

#[tokio::test]
async fn a_pattern_that_no_topic_has_is_refused() {
    let cluster = MemoryCluster::new();
    cluster.topic("payments", 1);
    let state = tempfile::tempdir().expect("a temporary folder");
    let launch = compose().launch(Config::new().state_dir(state.path()));
    let error = launch
        .transport(cluster)
        .start()
        .await
        .err()
        .expect("there is nothing to read");
    assert!(error.to_string().contains("KSTREAM-SOURCE-0000000000"), "{error}");
}
