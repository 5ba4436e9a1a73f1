//! Dead letters are replayed to where they came from, once the program can read them.

use std::ops::ControlFlow;

use bytes::Bytes;
use tidemill_client::{MemoryCluster, Record, TopicPartition, Transport};
use tidemill_data::{Headers, Timestamp, Topic};
use tidemill_runtime::{
    Config, Replayed, Start, WhichLetters, list_dead_letters, replay_dead_letters, replay_some_dead_letters,
};
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
    assert_eq!(
        replayed,
        Replayed {
            records: 1,
            ..Replayed::default()
        }
    );
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
    assert_eq!(
        replayed,
        Replayed {
            left: 1,
            ..Replayed::default()
        }
    );
    assert_eq!(cluster.records(&dead).expect("the topic is there").len(), 1);
    let error = replay_dead_letters(&cluster, "no-such").expect_err("there is no such topic");
    assert!(error.to_string().contains("no-such"), "{error}");
}

fn letter(exception: &str, topic: &str, ms: i64) -> Record {
    let headers = Headers::new()
        .with("__streams.errors.exception", exception.to_owned())
        .with("__streams.errors.topic", topic.to_owned())
        .with("__streams.errors.partition", "1")
        .with("__streams.errors.offset", "9");
    Record {
        timestamp: Timestamp::from_millis(ms),
        headers,
        ..record("x")
    }
}

#[test]
fn letters_are_chosen_by_exception_source_and_time_and_the_others_stay() {
    let cluster = MemoryCluster::new();
    for (topic, partitions) in [("dead", 1), ("in", 2), ("other", 2)] {
        cluster.topic(topic, partitions);
    }
    let dead = TopicPartition::new("dead", 0);
    for (exception, topic, ms) in [
        ("org.example.Bad", "in", 1),
        ("DecodeError", "in", 2),
        ("Bad", "other", 3),
        ("Bad", "in", 4),
    ] {
        cluster
            .append(&dead, letter(exception, topic, ms))
            .expect("the topic is there");
    }
    let offsets = |which: &WhichLetters| {
        let mut offsets = Vec::new();
        let foreign = list_dead_letters(&cluster, "dead", which, &mut |at, letter| {
            assert_eq!(*at, dead);
            offsets.push(letter.record.offset);
            ControlFlow::Continue(())
        });
        assert_eq!(foreign.expect("the topic is there"), 0);
        offsets
    };
    let all = WhichLetters::default;
    let bad = WhichLetters {
        exception: Some("Bad".into()),
        ..all()
    };
    assert_eq!(offsets(&all()), [0, 1, 2, 3]);
    assert_eq!(offsets(&bad), [0, 2, 3]);
    let of_other = WhichLetters {
        topic: Some("other".into()),
        ..all()
    };
    assert_eq!(offsets(&of_other), [2]);
    let of_partition = WhichLetters {
        partition: Some(0),
        ..all()
    };
    assert_eq!(offsets(&of_partition), [0_i64; 0]);
    let between = WhichLetters {
        since: Some(Timestamp::from_millis(2)),
        before: Some(Timestamp::from_millis(4)),
        ..all()
    };
    assert_eq!(offsets(&between), [1, 2]);
    // The letter before the first that is left can be deleted; the two behind it are told to be still there.
    let replayed = replay_some_dead_letters(&cluster, "dead", &bad).expect("the topic is there");
    let expected = Replayed {
        records: 3,
        left: 1,
        kept: 2,
    };
    assert_eq!(replayed, expected);
    assert_eq!(offsets(&all()), [1, 2, 3]);
    let back = |topic: &str| {
        let records = cluster.records(&TopicPartition::new(topic, 1));
        records.expect("the topic is there").len()
    };
    assert_eq!((back("in"), back("other")), (2, 1));
}
