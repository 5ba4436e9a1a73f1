//! `Consumer`, for programs that only read a log: patterns, places to begin at, commits by hand.

use futures::StreamExt as _;
use tidemill::broker::{Broker, BrokerConfig};
use tidemill::client::Received;
use tidemill::prelude::*;

const LINES: Topic<String, i64> = Topic::new("lines");

async fn broker() -> Broker {
    Broker::start(BrokerConfig::embedded()).await.unwrap()
}

async fn create(broker: &Broker, topic: &str) {
    let admin = Admin::connect(broker.bootstrap()).unwrap();
    admin.create_topics(&[TopicSpec::new(topic, 1)]).await.unwrap();
}

/// Writes these values at these times, to partition 0.
async fn write(broker: &Broker, topic: &str, values: &[(i64, i64)]) {
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let topic = Topic::<String, i64>::named(topic);
    for (value, at) in values {
        let record = Produced::to(&topic, &"k".to_owned(), value)
            .unwrap()
            .timestamp(*at);
        producer.send(record).await.unwrap().await.unwrap();
    }
}

async fn next(consumer: &mut Consumer) -> Received {
    consumer.next().await.unwrap().unwrap()
}

async fn value(consumer: &mut Consumer) -> i64 {
    next(consumer).await.decode(&LINES).unwrap().1
}

fn lines() -> TopicPartition {
    TopicPartition::new("lines", 0)
}

#[tokio::test]
async fn a_pattern_also_finds_topics_that_are_made_later() {
    let broker = broker().await;
    create(&broker, "logs-a").await;
    create(&broker, "other").await;
    write(&broker, "logs-a", &[(1, 10)]).await;
    write(&broker, "other", &[(7, 10)]).await;
    let mut consumer = Consumer::in_group(broker.bootstrap(), "readers")
        .set("topic.metadata.refresh.interval.ms", "100")
        .subscribe(&["^logs-.*"])
        .unwrap();
    let first = next(&mut consumer).await;
    assert_eq!(&*first.partition.topic, "logs-a");
    // The group rebalances when it finds the other topic, and goes on after what is committed.
    consumer.commit(&first).await.unwrap();

    create(&broker, "logs-b").await;
    write(&broker, "logs-b", &[(2, 10)]).await;
    assert_eq!(&*next(&mut consumer).await.partition.topic, "logs-b");
    drop(consumer);
    broker.shutdown().await;
}

#[tokio::test]
async fn reading_begins_at_a_time_an_offset_or_either_end() {
    let broker = broker().await;
    create(&broker, "lines").await;
    write(
        &broker,
        "lines",
        &[(0, 1_000), (1, 2_000), (2, 3_000), (3, 4_000)],
    )
    .await;
    let begin = async |from: ReadFrom| {
        let consumer = Consumer::builder(broker.bootstrap());
        consumer.assign(&[(lines(), from)]).await.unwrap()
    };

    assert_eq!(value(&mut begin(ReadFrom::Earliest).await).await, 0);
    assert_eq!(value(&mut begin(ReadFrom::Offset(2)).await).await, 2);
    // The first record that is not older.
    assert_eq!(value(&mut begin(ReadFrom::Time(2_000)).await).await, 1);
    assert_eq!(value(&mut begin(ReadFrom::Time(2_001)).await).await, 2);

    let mut latest = begin(ReadFrom::Offset(4)).await;
    write(&broker, "lines", &[(4, 5_000)]).await;
    assert_eq!(value(&mut latest).await, 4);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_consumer_seeks_back_to_an_offset_and_to_a_time() {
    let broker = broker().await;
    create(&broker, "lines").await;
    write(&broker, "lines", &[(0, 1_000), (1, 2_000), (2, 3_000)]).await;
    let mut consumer = Consumer::builder(broker.bootstrap())
        .assign(&[(lines(), ReadFrom::Earliest)])
        .await
        .unwrap();
    for wanted in 0..3 {
        assert_eq!(value(&mut consumer).await, wanted);
    }
    consumer.seek(&[(lines(), ReadFrom::Offset(1))]).await.unwrap();
    assert_eq!(value(&mut consumer).await, 1);
    consumer.seek(&[(lines(), ReadFrom::Time(2_500))]).await.unwrap();
    assert_eq!(value(&mut consumer).await, 2);
    consumer.seek(&[(lines(), ReadFrom::Earliest)]).await.unwrap();
    assert_eq!(value(&mut consumer).await, 0);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_group_goes_on_after_what_was_committed_by_hand() {
    let broker = broker().await;
    create(&broker, "lines").await;
    write(&broker, "lines", &[(0, 1_000), (1, 2_000), (2, 3_000)]).await;
    let join = || {
        Consumer::in_group(broker.bootstrap(), "readers")
            .subscribe(&["lines"])
            .unwrap()
    };

    let mut first = join();
    let _ = next(&mut first).await;
    let second = next(&mut first).await;
    first.commit(&second).await.unwrap();
    drop(first);

    assert_eq!(value(&mut join()).await, 2);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_record_of_the_first_millisecond_of_time_is_not_sent_as_of_now() {
    let broker = broker().await;
    create(&broker, "lines").await;
    write(&broker, "lines", &[(1, 0), (2, 5)]).await;
    let consumer = Consumer::builder(broker.bootstrap());
    let mut consumer = consumer.assign(&[(lines(), ReadFrom::Earliest)]).await.unwrap();
    let times = [
        next(&mut consumer).await.timestamp,
        next(&mut consumer).await.timestamp,
    ];
    assert_eq!(times, [1, 5]);
    drop(consumer);
    broker.shutdown().await;
}
