//! Sources that follow topics, on both of our client libraries.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use tidemill::client::{Consumer, From, TopicPartition};

use super::*;

const ALL: Topic<String, String> = Topic::new("all-orders");

/// Writes a value into a partition.
async fn write(producer: &Producer, topic: &str, partition: i32, value: &str) {
    let record = Produced::to(&Topic::named(topic), &"k".to_owned(), &value.to_owned()).unwrap();
    let record = record.partition(partition);
    producer.send(record).await.unwrap().await.unwrap();
}

/// Reads what the program writes.
struct Written(Consumer);

impl Written {
    async fn open(broker: &Broker) -> Self {
        let from = [(TopicPartition::new(ALL.name(), 0), From::Earliest)];
        Self(Consumer::builder(broker.bootstrap()).assign(&from).await.unwrap())
    }

    /// Reads until these values have come. Others are wrong, unless they are among those that have come `before` and come
    /// again: what was not committed when a topic went is done again.
    async fn until(&mut self, before: &[&str], expected: &[&str]) {
        let mut missing: BTreeSet<&str> = expected.iter().copied().collect();
        while !missing.is_empty() {
            let record = self.0.next().await.unwrap().unwrap();
            let (_, value) = record.decode(&ALL).unwrap();
            missing.remove(value.as_str());
            let known = before.iter().chain(expected).any(|known| *known == value);
            assert!(known, "{value} is not to be read");
        }
    }
}

async fn topics_that_come_are_read_and_those_that_go_are_left(library: &str) {
    let (broker, state) = (
        Broker::start(BrokerConfig::embedded()).await.unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let admin = Admin::connect(broker.bootstrap()).unwrap();
    let topic = |name: &'static str, partitions| [TopicSpec::new(name, partitions)];
    admin.create_topics(&topic("all-orders", 1)).await.unwrap();
    admin.create_topics(&topic("orders-eu", 1)).await.unwrap();
    let app = App::new("app");
    app.stream_matching(|topic| topic.starts_with("orders-")).to(&ALL);
    let config = config(&broker, state.path())
        .set("client.library", library)
        .and_then(|config| config.set("num.stream.threads", 2))
        .and_then(|config| config.set("metadata.max.age.ms", 50))
        .unwrap();
    let running = app.start(config).await.unwrap();
    let producer = Producer::connect(broker.bootstrap()).unwrap();
    let mut written = Written::open(&broker).await;
    write(&producer, "orders-eu", 0, "eu").await;
    written.until(&[], &["eu"]).await;

    // One that it wants, with more partitions than any before, and one that it does not.
    admin.create_topics(&topic("payments", 1)).await.unwrap();
    admin.create_topics(&topic("orders-us", 3)).await.unwrap();
    write(&producer, "payments", 0, "paid").await;
    let us = ["us-0", "us-1", "us-2"];
    for (partition, value) in (0..).zip(us) {
        write(&producer, "orders-us", partition, value).await;
    }
    written.until(&["eu"], &us).await;

    admin.delete_topics(&["orders-us"]).await.unwrap();
    admin.create_topics(&topic("orders-asia", 2)).await.unwrap();
    write(&producer, "orders-asia", 0, "asia-0").await;
    write(&producer, "orders-asia", 1, "asia-1").await;
    write(&producer, "orders-eu", 0, "eu again").await;
    let before = ["eu", "us-0", "us-1", "us-2"];
    written.until(&before, &["asia-0", "asia-1", "eu again"]).await;
    running.ready().await.unwrap();
    running.stop().await.unwrap();
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_topics_that_come_are_read_and_those_that_go_are_left() {
    topics_that_come_are_read_and_those_that_go_are_left("native").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn librdkafka_topics_that_come_are_read_and_those_that_go_are_left() {
    topics_that_come_are_read_and_those_that_go_are_left("librdkafka").await;
}
