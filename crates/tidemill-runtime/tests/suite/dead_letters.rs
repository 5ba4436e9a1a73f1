//! Dead letters are replayed to where they came from, once the program can read them.

use bytes::Bytes;
use tidemill_client::{MemoryCluster, Record, TopicPartition, Transport};
use tidemill_data::{Headers, Timestamp, Topic};
use tidemill_runtime::{Config, Replayed, Start, replay_dead_letters};
use tidemill_streams::{App, Policy};

const IN: Topic<Option<String>, String> = Topic::new("in");
const OUT: Topic<Option<String>, i64> = Topic::new("out");

fn record(value: &'static str) -> Record {
    Record {
        offset: 0,
        timestamp: Timestamp::from_millis(5),
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::from_static(value.as_bytes())),
        headers: Headers::new().with("trace", "7"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dead_letter_goes_back_to_its_partition_and_only_once() {
    let cluster = MemoryCluster::new();
    for (topic, partitions) in [("in", 2), ("out", 2), ("dead", 3)] {
        cluster.topic(topic, partitions);
    }
    let input = TopicPartition::new("in", 1);
    let app = App::new("app");
    app.on_error(Policy::DeadLetter("dead".into()));
    app.stream(&IN).try_map_values(|text| Ok(text.parse()?)).to(&OUT);
    let state = tempfile::tempdir().expect("a temporary folder");
    let launch = app
        .launch(Config::new().state_dir(state.path()))
        .transport(cluster.clone());
    let running = launch.start().await.expect("the program starts");
    for value in ["one", "2"] {
        cluster.append(&input, record(value)).expect("the topic is there");
    }
    while cluster.committed("app", &input) != Some(2) {
        tokio::task::yield_now().await;
    }
    running.stop().await.expect("the program stops");
    let transport: &dyn Transport = &cluster;
    let replayed = replay_dead_letters(transport, "dead").expect("the topic is there");
    assert_eq!(replayed, Replayed { records: 1, left: 0 });
    let last = cluster.records(&input).expect("the topic is there").pop();
    assert_eq!(
        last,
        Some(Record {
            offset: 2,
            ..record("one")
        })
    );
    let again = replay_dead_letters(transport, "dead").expect("the topic is there");
    assert_eq!(again, Replayed::default());
}

#[test]
fn a_record_that_says_no_source_is_left_and_nothing_is_deleted() {
    let cluster = MemoryCluster::new();
    cluster.topic("dead", 1);
    let dead = TopicPartition::new("dead", 0);
    cluster.append(&dead, record("?")).expect("the topic is there");
    let replayed = replay_dead_letters(&cluster, "dead").expect("the topic is there");
    assert_eq!(replayed, Replayed { records: 0, left: 1 });
    assert_eq!(cluster.records(&dead).expect("the topic is there").len(), 1);
    let error = replay_dead_letters(&cluster, "no-such").expect_err("there is no such topic");
    assert!(error.to_string().contains("no-such"), "{error}");
}
