//! A source that reads the topics whose names it wants: those there are, those that come, and no longer those that go.

use bytes::Bytes;
use tidemill_client::{MemoryCluster, Record, TopicPartition};
use tidemill_data::{Headers, StoreName, Timestamp, Topic};
use tidemill_runtime::{Config, Running, Start};
use tidemill_streams::{App, Pattern, Reset};

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

/// Appends a record whose value is the topic's name.
fn write(cluster: &MemoryCluster, topic: &str, partition: i32) {
    let record = Record {
        offset: 0,
        timestamp: Timestamp::from_millis(1),
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::copy_from_slice(topic.as_bytes())),
        headers: Headers::new(),
    };
    cluster
        .append(&TopicPartition::new(topic, partition), record)
        .expect("the topic is there");
}

/// Waits until the program has committed so much of a topic.
async fn until_committed(cluster: &MemoryCluster, topic: &str, partition: i32, next: i64) {
    let at = TopicPartition::new(topic, partition);
    while cluster.committed("app", &at) != Some(next) {
        tokio::task::yield_now().await;
    }
}

/// An instance with two threads that looks at the topics all the time.
async fn start(app: &App, cluster: &MemoryCluster, state: &std::path::Path) -> Running {
    let config = Config::new()
        .state_dir(state)
        .set("num.stream.threads", 2)
        .and_then(|config| config.set("metadata.max.age.ms", 1))
        .expect("these settings are known");
    let launch = app.launch(config).transport(cluster.clone());
    launch.start().await.expect("the program starts")
}

fn values(cluster: &MemoryCluster, topic: &str) -> Vec<Bytes> {
    let records = cluster.records(&TopicPartition::new(topic, 0));
    let records = records.expect("the topic is there").into_iter();
    records.filter_map(|record| record.value).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_topic_made_while_the_program_runs_is_read_in_all_its_partitions() {
    let cluster = MemoryCluster::new();
    cluster.topic("all-orders", 1);
    cluster.topic("orders-eu", 1);
    write(&cluster, "orders-eu", 0);
    let state = tempfile::tempdir().expect("a temporary folder");
    let running = start(&compose(), &cluster, state.path()).await;
    until_committed(&cluster, "orders-eu", 0, 1).await;

    cluster.topic("payments", 1);
    cluster.topic("orders-us", 3);
    for partition in 0..3 {
        write(&cluster, "orders-us", partition);
    }
    for partition in 0..3 {
        until_committed(&cluster, "orders-us", partition, 1).await;
    }
    write(&cluster, "orders-eu", 0);
    until_committed(&cluster, "orders-eu", 0, 2).await;

    running.stop().await.expect("the program stops");
    let mut found = values(&cluster, "all-orders");
    found.sort();
    assert_eq!(
        found,
        ["orders-eu", "orders-eu", "orders-us", "orders-us", "orders-us"]
    );
    let payments = TopicPartition::new("payments", 0);
    assert_eq!(cluster.committed("app", &payments), None);
}

/// The app's setting would leave out what was written before the program saw the topic, and this test would wait for it
/// for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_topic_that_comes_later_is_read_from_where_its_pattern_says() {
    let cluster = MemoryCluster::new();
    cluster.topic("all-orders", 1);
    cluster.topic("orders-eu", 1);
    write(&cluster, "orders-eu", 0);
    let app = App::new("app");
    let orders = Pattern::<String, String>::new(|topic| topic.starts_with("orders-"));
    app.stream_of_pattern(orders.reset(Reset::Earliest)).to(&ALL);
    let state = tempfile::tempdir().expect("a temporary folder");
    let config = Config::new()
        .state_dir(state.path())
        .set("auto.offset.reset", "latest")
        .and_then(|config| config.set("metadata.max.age.ms", 1))
        .expect("these settings are known");
    let launch = app.launch(config).transport(cluster.clone());
    let running = launch.start().await.expect("the program starts");
    until_committed(&cluster, "orders-eu", 0, 1).await;
    cluster.topic("orders-us", 1);
    write(&cluster, "orders-us", 0);
    until_committed(&cluster, "orders-us", 0, 1).await;
    running.stop().await.expect("the program stops");
    assert_eq!(values(&cluster, "all-orders"), ["orders-eu", "orders-us"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_topic_that_is_deleted_is_left_alone() {
    let cluster = MemoryCluster::new();
    for topic in ["all-orders", "orders-eu", "orders-us"] {
        cluster.topic(topic, 1);
    }
    let state = tempfile::tempdir().expect("a temporary folder");
    let running = start(&compose(), &cluster, state.path()).await;
    write(&cluster, "orders-us", 0);
    until_committed(&cluster, "orders-us", 0, 1).await;

    cluster.delete_topic("orders-us");
    write(&cluster, "orders-eu", 0);
    until_committed(&cluster, "orders-eu", 0, 1).await;

    cluster.delete_topic("orders-eu");
    cluster.topic("orders-asia", 1);
    write(&cluster, "orders-asia", 0);
    until_committed(&cluster, "orders-asia", 0, 1).await;
    running.ready().await.expect("it goes on");

    running.stop().await.expect("the program stops");
    let mut found = values(&cluster, "all-orders");
    found.dedup();
    assert_eq!(found, ["orders-us", "orders-eu", "orders-asia"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_new_topic_adds_is_counted_in_the_same_store() {
    const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    let cluster = MemoryCluster::new();
    cluster.topic("orders-eu", 1);
    let app = App::new("app");
    app.stream_matching::<String, String>(|topic| topic.starts_with("orders-"))
        .group_by(|_, topic| topic.split('-').next().unwrap_or_default().to_owned())
        .count(&COUNTS);
    let state = tempfile::tempdir().expect("a temporary folder");
    let running = start(&app, &cluster, state.path()).await;
    write(&cluster, "orders-eu", 0);
    until_committed(&cluster, "app-counts-repartition", 0, 1).await;

    // It has more partitions than the repartition topic, which stays as it is.
    cluster.topic("orders-us", 2);
    write(&cluster, "orders-us", 1);
    until_committed(&cluster, "app-counts-repartition", 0, 2).await;
    running.ready().await.expect("all tasks work");
    let count = running.store(&COUNTS).get(&"orders".to_owned()).await;
    assert_eq!(count.expect("the store can be read"), Some(2));
    running.stop().await.expect("the program stops");
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
