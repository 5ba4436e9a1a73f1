//! Our broker and librdkafka: what real programs do all day.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use tidemill_broker::{Broker, BrokerConfig};

/// Long enough for any machine; nothing waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

fn producer(bootstrap: &str, settings: &[(&str, &str)]) -> FutureProducer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", "1")
        .set("message.timeout.ms", "60000");
    config
        .set("reconnect.backoff.ms", "10")
        .set("retry.backoff.ms", "10");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

async fn send(producer: &FutureProducer, topic: &str, partition: i32, values: impl Iterator<Item = u32>) {
    let sends = values.map(|value| async move {
        let value = value.to_string();
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "h",
                value: Some("1"),
            })
            .insert(Header {
                key: "h",
                value: Some("2"),
            });
        let record = FutureRecord::to(topic)
            .partition(partition)
            .key("key")
            .payload(&value)
            .headers(headers);
        producer.send(record, Timeout::After(PATIENCE)).await.unwrap();
    });
    futures::future::join_all(sends).await;
}

/// The values in a partition from its beginning, until there are `count` of them.
fn read(bootstrap: &str, topic: &str, partition: i32, count: usize) -> Vec<u32> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "unused")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(topic, partition, Offset::Beginning)
        .unwrap();
    consumer.assign(&assignment).unwrap();
    let mut values = Vec::new();
    while values.len() < count {
        let message = consumer.poll(PATIENCE).expect("no record came in time").unwrap();
        let headers: Vec<_> = message
            .headers()
            .unwrap()
            .iter()
            .map(|h| (h.key, h.value.unwrap()))
            .collect();
        assert_eq!(headers, [("h", b"1".as_slice()), ("h", b"2")]);
        values.push(
            std::str::from_utf8(message.payload().unwrap())
                .unwrap()
                .parse()
                .unwrap(),
        );
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_and_every_acks_arrives_in_order() {
    let broker = Broker::start(BrokerConfig::embedded()).await.unwrap();
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for acks in ["0", "1", "all"] {
            let topic = format!("{compression}-{acks}");
            let settings = [("compression.codec", compression), ("acks", acks)];
            send(&producer(broker.bootstrap(), &settings), &topic, 0, 0..500).await;
            let bootstrap = broker.bootstrap().to_string();
            let values = tokio::task::spawn_blocking(move || read(&bootstrap, &topic, 0, 500))
                .await
                .unwrap();
            assert!(values.into_iter().eq(0..500), "{compression} {acks}");
        }
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_producer_goes_on_across_restarts_without_loss_or_duplicate() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::embedded().with_data_dir(dir.path());
    let mut broker = Broker::start(config.clone()).await.unwrap();
    let bootstrap = broker.bootstrap().to_string();
    let config = config
        .set("listeners", format!("PLAINTEXT://{bootstrap}"))
        .unwrap();
    let producer = producer(&bootstrap, &[("enable.idempotence", "true")]);
    for round in 0..4 {
        let sending = send(&producer, "t", 0, round * 1000..(round + 1) * 1000);
        let restarting = async {
            // Once in good order, once as after a crash; both while records are on their way.
            tokio::task::yield_now().await;
            if round % 2 == 0 {
                broker.shutdown().await
            } else {
                broker.abandon().await
            }
            Broker::start(config.clone()).await.unwrap()
        };
        let ((), started) = tokio::join!(sending, restarting);
        broker = started;
    }
    let values = tokio::task::spawn_blocking(move || read(&bootstrap, "t", 0, 4000))
        .await
        .unwrap();
    assert!(values.into_iter().eq(0..4000));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_partitions_take_and_give_records_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::embedded().with_data_dir(dir.path());
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", broker.bootstrap());
    let admin: AdminClient<_> = client.create().unwrap();
    let topic = NewTopic::new("wide", 1000, TopicReplication::Fixed(1));
    let created = admin
        .create_topics([&topic], &AdminOptions::new().operation_timeout(Some(PATIENCE)))
        .await
        .unwrap();
    assert_eq!(created, [Ok("wide".to_string())]);
    let sending = producer(broker.bootstrap(), &[]);
    let sends =
        (0..1000).map(|partition| send(&sending, "wide", partition, std::iter::once(partition as u32)));
    futures::future::join_all(sends).await;
    broker.shutdown().await;

    let broker = Broker::start(config).await.unwrap();
    let bootstrap = broker.bootstrap().to_string();
    let values = tokio::task::spawn_blocking(move || read_all(&bootstrap, "wide", 1000))
        .await
        .unwrap();
    assert!(values.into_iter().eq(0..1000));
    broker.shutdown().await;
}

/// The one record of each partition.
fn read_all(bootstrap: &str, topic: &str, partitions: i32) -> BTreeSet<u32> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "unused")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut values = BTreeSet::new();
    while values.len() < partitions as usize {
        let message = consumer.poll(PATIENCE).expect("no record came in time").unwrap();
        let value = std::str::from_utf8(message.payload().unwrap())
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(value, message.partition() as u32);
        values.insert(value);
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_time_and_the_watermarks_are_told() {
    let broker = Broker::start(BrokerConfig::embedded()).await.unwrap();
    send(&producer(broker.bootstrap(), &[]), "t", 0, 0..10).await;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", "unused");
    let consumer: BaseConsumer = config.create().unwrap();
    tokio::task::spawn_blocking(move || {
        assert_eq!(consumer.fetch_watermarks("t", 0, PATIENCE).unwrap(), (0, 10));
        let mut times = TopicPartitionList::new();
        times.add_partition_offset("t", 0, Offset::Offset(1)).unwrap();
        let found = consumer.offsets_for_times(times, PATIENCE).unwrap();
        assert_eq!(found.elements()[0].offset(), Offset::Offset(0));
    })
    .await
    .unwrap();
    broker.shutdown().await;
}
