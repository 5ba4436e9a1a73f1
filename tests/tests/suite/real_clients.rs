//! Producing and consuming with a real client: compressions, headers, restarts, many partitions, refusals.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};

use crate::server::Server;
use crate::{PATIENCE, TICK};

impl Server {
    fn writer(&self, settings: &[(&str, &str)]) -> Writer {
        let mut client = self.client();
        for (name, value) in settings {
            client.set(*name, *value);
        }
        client.create_with_context(Deliveries::default()).unwrap()
    }

    fn create_topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let (topics, options) = ([topic], AdminOptions::new());
        let created = admin.create_topics(&topics, &options);
        let results = self.runtime.block_on(created).unwrap();
        assert_eq!(results, vec![Ok(name.to_owned())]);
    }

    /// The `count` records of partition 0 from `offset` on.
    fn read(&self, topic: &str, offset: i64, count: usize) -> Vec<Record> {
        let reader: BaseConsumer = self.client().set("group.id", "reader").create().unwrap();
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(topic, 0, Offset::Offset(offset))
            .unwrap();
        reader.assign(&from).unwrap();
        let mut records = Vec::new();
        poll_until(&reader, |record| {
            records.push(Record::of(record));
            records.len() == count
        });
        records
    }
}

/// What became of each record sent: where it lies, or why it does not.
#[derive(Default)]
struct Deliveries(Mutex<Vec<Delivery>>);

type Delivery = Result<((i32, i64), String), RDKafkaErrorCode>;
type Writer = BaseProducer<Deliveries>;

impl ClientContext for Deliveries {}
impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        let delivery = match result {
            Ok(record) => Ok((
                (record.partition(), record.offset()),
                text(record.payload()).unwrap_or_default(),
            )),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap()),
        };
        self.0.lock().unwrap().push(delivery);
    }
}

#[derive(Debug, PartialEq)]
struct Record {
    offset: i64,
    timestamp: Option<i64>,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

impl Record {
    fn of(record: &BorrowedMessage<'_>) -> Self {
        let headers = record.headers().into_iter().flat_map(Headers::iter);
        Self {
            offset: record.offset(),
            timestamp: record.timestamp().to_millis(),
            key: text(record.key()),
            value: text(record.payload()),
            headers: headers
                .map(|header| (header.key.to_owned(), text(header.value)))
                .collect(),
        }
    }

    /// Every third has no key, every fifth no value; headers repeat, are empty and are null.
    fn sample(offset: i64) -> Self {
        let header = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        Self {
            offset,
            timestamp: Some(1_700_000_000_000 + offset),
            key: (offset % 3 != 0).then(|| format!("key {offset}")),
            value: (offset % 5 != 0).then(|| format!("value {offset} ").repeat(20)),
            headers: vec![
                header("twice", Some("first")),
                header("empty", Some("")),
                header("twice", Some("second")),
                header("null", None),
            ],
        }
    }

    fn send(&self, writer: &Writer, topic: &str) {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &self.headers {
            let value = value.as_deref();
            headers = headers.insert(Header { key, value });
        }
        let mut record = BaseRecord::to(topic).partition(0).headers(headers);
        record.timestamp = self.timestamp;
        record.key = self.key.as_deref();
        record.payload = self.value.as_deref();
        writer.send(record).map_err(|(error, _)| error).unwrap();
    }
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

/// Polls until `done` says so of a record; errors a client recovers from by itself are passed over.
fn poll_until(reader: &BaseConsumer, mut done: impl FnMut(&BorrowedMessage<'_>) -> bool) {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "records are missing");
        match reader.poll(TICK) {
            Some(Ok(record)) if done(&record) => return,
            Some(Ok(_)) | Some(Err(KafkaError::MessageConsumption(_))) | None => {}
            Some(Err(error)) => panic!("{error}"),
        }
    }
}

fn send(writer: &Writer, topic: &str, partition: i32, value: &str) {
    let record = BaseRecord::<str, str>::to(topic)
        .partition(partition)
        .payload(value);
    writer.send(record).map_err(|(error, _)| error).unwrap();
}

/// Waits until `count` records have been acknowledged or refused.
fn await_deliveries(writer: &Writer, count: usize) {
    let began = Instant::now();
    while writer.context().0.lock().unwrap().len() < count {
        assert!(began.elapsed() < PATIENCE, "deliveries are missing");
        writer.poll(TICK);
    }
}

fn only_delivery(writer: &Writer) -> Delivery {
    await_deliveries(writer, 1);
    let deliveries = std::mem::take(&mut *writer.context().0.lock().unwrap());
    assert_eq!(deliveries.len(), 1);
    deliveries.into_iter().next().unwrap()
}

/// Whatever the producer waits for before it goes on.
fn comes_back(compression: &str) {
    let server = Server::start(&[]);
    let expected: Vec<_> = (0..100).map(Record::sample).collect();
    for (acks, idempotence) in [("0", "false"), ("1", "false"), ("all", "false"), ("all", "true")] {
        let topic = format!("{compression}-{acks}-{idempotence}");
        server.create_topic(&topic, 1);
        // Long enough for all to be one batch, so that the second read begins in the middle of it.
        let writer = server.writer(&[
            ("compression.type", compression),
            ("acks", acks),
            ("enable.idempotence", idempotence),
            ("linger.ms", "500"),
        ]);
        for record in &expected {
            record.send(&writer, &topic);
        }
        writer.flush(PATIENCE).unwrap();
        assert_eq!(server.read(&topic, 0, 100), expected, "{topic}");
        let rest = server.read(&topic, 37, 63);
        assert_eq!(rest, expected[37..], "{topic}, from the middle of a batch");
    }
}

#[test]
fn uncompressed_records_come_back_as_sent() {
    comes_back("none");
}

#[test]
fn gzip_records_come_back_as_sent() {
    comes_back("gzip");
}

#[test]
fn snappy_records_come_back_as_sent() {
    comes_back("snappy");
}

#[test]
fn lz4_records_come_back_as_sent() {
    comes_back("lz4");
}

#[test]
fn zstd_records_come_back_as_sent() {
    comes_back("zstd");
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_a_broker_that_restarts() {
    const EACH: usize = 300;
    const PARTITIONS: i32 = 3;
    let mut server = Server::start(&[]);
    server.create_topic("traffic", PARTITIONS);
    let writer = server.writer(&[("enable.idempotence", "true"), ("batch.num.messages", "10")]);
    let write = |from: usize| {
        for n in from..from + EACH {
            for partition in 0..PARTITIONS {
                send(&writer, "traffic", partition, &n.to_string());
            }
        }
    };
    write(0);
    await_deliveries(&writer, 1);
    server.kill();
    write(EACH);
    server.start_again();
    await_deliveries(&writer, EACH * 3 + 1);
    server.stop();
    write(EACH * 2);
    server.start_again();
    writer.flush(PATIENCE).unwrap();

    let deliveries = std::mem::take(&mut *writer.context().0.lock().unwrap());
    let acknowledged: BTreeMap<_, _> = deliveries.into_iter().map(|delivery| delivery.unwrap()).collect();
    assert_eq!(acknowledged.len(), EACH * 3 * 3, "all were acknowledged");
    let reader: BaseConsumer = server.client().set("group.id", "reader").create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset("traffic", partition, Offset::Beginning)
            .unwrap();
    }
    reader.assign(&all).unwrap();
    let mut read = BTreeMap::new();
    poll_until(&reader, |record| {
        let at = (record.partition(), record.offset());
        read.insert(at, text(record.payload()).unwrap());
        read.len() == acknowledged.len()
    });
    assert_eq!(read, acknowledged, "each where its acknowledgement said");
    for ((_, offset), value) in &read {
        assert_eq!(offset.to_string(), *value, "in the order of sending, once");
    }
    for partition in 0..PARTITIONS {
        let (low, high) = reader.fetch_watermarks("traffic", partition, PATIENCE).unwrap();
        assert_eq!((low, high), (0, (EACH * 3) as i64), "nothing beside");
    }
}

#[test]
fn a_thousand_partitions_take_and_give_records() {
    const PARTITIONS: i32 = 1000;
    let mut server = Server::start(&[]);
    server.create_topic("wide", PARTITIONS);
    let writer = server.writer(&[]);
    for partition in 0..PARTITIONS {
        send(&writer, "wide", partition, &partition.to_string());
    }
    writer.flush(PATIENCE).unwrap();
    server.stop();
    server.start_again();
    let mut settings = server.client();
    settings
        .set("group.id", "wide")
        .set("auto.offset.reset", "earliest");
    let reader: BaseConsumer = settings.create().unwrap();
    let metadata = reader.fetch_metadata(Some("wide"), PATIENCE).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), PARTITIONS as usize);
    reader.subscribe(&["wide"]).unwrap();
    let mut read = BTreeMap::new();
    poll_until(&reader, |record| {
        let earlier = read.insert(record.partition(), text(record.payload()).unwrap());
        assert_eq!((earlier, record.offset()), (None, 0));
        read.len() == PARTITIONS as usize
    });
    assert!(
        read.iter()
            .all(|(partition, value)| *value == partition.to_string())
    );
}

#[test]
fn offsets_are_found_by_timestamp() {
    let server = Server::start(&[]);
    server.create_topic("timed", 1);
    // One record a batch, so that the time index has something to tell.
    let writer = server.writer(&[("batch.num.messages", "1")]);
    for offset in 0..10 {
        let mut record = Record::sample(offset);
        record.timestamp = Some(1000 * (offset + 1));
        record.send(&writer, "timed");
    }
    writer.flush(PATIENCE).unwrap();
    let reader: BaseConsumer = server.client().set("group.id", "reader").create().unwrap();
    for (time, expected) in [
        (0, Offset::Offset(0)),
        (1000, Offset::Offset(0)),
        (1001, Offset::Offset(1)),
        (9999, Offset::Offset(9)),
        (10_000, Offset::Offset(9)),
        (10_001, Offset::End),
    ] {
        let mut wanted = TopicPartitionList::new();
        wanted
            .add_partition_offset("timed", 0, Offset::Offset(time))
            .unwrap();
        let found = reader.offsets_for_times(wanted, PATIENCE).unwrap();
        assert_eq!(found.elements()[0].offset(), expected, "at {time}");
    }
}

#[test]
fn a_record_too_large_is_refused_and_the_next_is_not() {
    let server = Server::start(&[("message.max.bytes", "10000")]);
    server.create_topic("small", 1);
    let writer = server.writer(&[]);
    send(&writer, "small", 0, &"x".repeat(20_000));
    assert_eq!(only_delivery(&writer), Err(RDKafkaErrorCode::MessageSizeTooLarge));
    send(&writer, "small", 0, "fits");
    assert_eq!(only_delivery(&writer), Ok(((0, 0), "fits".to_owned())));
}

#[test]
fn a_topic_is_not_made_by_asking_when_the_broker_may_not() {
    let server = Server::start(&[("auto.create.topics.enable", "false")]);
    let writer = server.writer(&[("topic.metadata.propagation.max.ms", "0")]);
    let metadata = writer.client().fetch_metadata(Some("nowhere"), PATIENCE).unwrap();
    let error = metadata.topics()[0].error().map(RDKafkaErrorCode::from);
    assert_eq!(error, Some(RDKafkaErrorCode::UnknownTopicOrPartition));
    let record = BaseRecord::<str, str>::to("nowhere").payload("lost");
    let refusal = match writer.send(record) {
        Ok(()) => only_delivery(&writer).unwrap_err(),
        Err((error, _)) => error.rdkafka_error_code().unwrap(),
    };
    let unknown = [
        RDKafkaErrorCode::UnknownTopic,
        RDKafkaErrorCode::UnknownTopicOrPartition,
    ];
    assert!(unknown.contains(&refusal), "{refusal:?}");
    let all = writer.client().fetch_metadata(None, PATIENCE).unwrap();
    assert!(all.topics().is_empty());
}
