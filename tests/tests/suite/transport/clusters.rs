//! The clusters that the promises are checked on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_broker::{Broker, BrokerConfig};
use tidemill_client::{
    Event, Library, Member, MemoryCluster, NativeTransport, Outgoing, Reader, Record, Settings, Start,
    Subscription, TopicPartition, TopicSpec, Transport, Writer, connect,
};
use tidemill_data::{Headers, Timestamp};
use tokio::runtime::Runtime;

/// Nothing here takes this long; a test that does hangs, and says so.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// One wait of a poll.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// A transport, and what is behind it.
pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    pub(crate) transport: Arc<dyn Transport>,
    // The broker ends after its clients.
    _broker: Option<(Broker, Runtime)>,
}

fn with_broker(name: &'static str, library: &str) -> Cluster {
    let runtime = Runtime::new().unwrap();
    let broker = runtime.block_on(Broker::start(BrokerConfig::embedded())).unwrap();
    let settings = Settings::from(
        [
            ("bootstrap.servers", broker.bootstrap()),
            ("client.library", library),
            ("heartbeat.interval.ms", "50"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    Cluster {
        name,
        transport: connect(&settings).unwrap().into(),
        _broker: Some((broker, runtime)),
    }
}

/// Our client and our broker without a socket between them.
fn in_process() -> Cluster {
    let runtime = Runtime::new().unwrap();
    let broker = runtime.block_on(Broker::start(BrokerConfig::embedded())).unwrap();
    let settings = Settings::from(
        [
            ("bootstrap.servers", broker.bootstrap()),
            ("heartbeat.interval.ms", "50"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    Cluster {
        name: "in process",
        transport: Arc::new(NativeTransport::over(Arc::new(broker.local()), &settings).unwrap()),
        _broker: Some((broker, runtime)),
    }
}

/// Checks a promise on every implementation, each on a cluster of its own.
pub(crate) fn on_each(check: impl Fn(&Cluster)) {
    let memory = Cluster {
        name: "memory",
        transport: Arc::new(MemoryCluster::new()),
        _broker: None,
    };
    check(&memory);
    check(&in_process());
    for library in [Library::Native, Library::Librdkafka] {
        check(&with_broker(library.name(), library.name()));
    }
}

pub(crate) fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

impl Cluster {
    pub(crate) fn topic(&self, name: &str, partitions: i32) {
        self.transport
            .create(&[TopicSpec::new(name, partitions)])
            .unwrap();
    }

    pub(crate) fn write(&self, to: &TopicPartition, values: &[&str]) {
        let mut writer = self.transport.writer("test-writer").unwrap();
        send(&mut *writer, to, values);
        writer.flush().unwrap();
    }

    pub(crate) fn reader(&self, from: &[(TopicPartition, Start)]) -> Box<dyn Reader> {
        let mut reader = self.transport.reader("test-reader").unwrap();
        reader.assign(from).unwrap();
        reader
    }

    pub(crate) fn join(&self, client: &str, topics: &[&str]) -> Box<dyn Member> {
        let topics = topics.iter().map(|t| (*t).to_owned()).collect();
        self.transport
            .join(&Subscription::new("readers", client, topics))
            .unwrap()
    }
}

pub(crate) fn send<W: Writer + ?Sized>(writer: &mut W, to: &TopicPartition, values: &[&str]) {
    let (topic, headers) = (writer.topic(&to.topic).unwrap(), Headers::default());
    for value in values {
        let record = Outgoing {
            topic,
            partition: to.partition,
            timestamp: Timestamp::from_millis(7),
            key: Some(b"k"),
            value: Some(value.as_bytes()),
            headers: &headers,
        };
        writer.send(&[record]).unwrap();
    }
}

/// What a poll gives: readers and members alike.
pub(crate) trait Polled {
    fn poll_once(&mut self, events: &mut Vec<Event>);
}

impl Polled for Box<dyn Reader> {
    fn poll_once(&mut self, events: &mut Vec<Event>) {
        self.poll(1000, TICK, events).unwrap();
    }
}

impl Polled for Box<dyn Member> {
    fn poll_once(&mut self, events: &mut Vec<Event>) {
        self.poll(1000, TICK, events).unwrap();
    }
}

/// Polls until `done` says so of all that came.
pub(crate) fn poll_until(of: &mut impl Polled, what: &str, done: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let (mut events, began) = (Vec::new(), Instant::now());
    while !done(&events) {
        assert!(began.elapsed() < PATIENCE, "{what}: only {events:?}");
        of.poll_once(&mut events);
    }
    events
}

pub(crate) fn records(events: &[Event]) -> Vec<Record> {
    let of = |event: &Event| match event {
        Event::Records(batch) => batch.records.clone(),
        _ => Vec::new(),
    };
    events.iter().flat_map(of).collect()
}

pub(crate) fn values(events: &[Event]) -> Vec<String> {
    let text =
        |record: &Record| String::from_utf8(record.value.as_deref().unwrap_or_default().to_vec()).unwrap();
    records(events).iter().map(text).collect()
}

pub(crate) fn caught_up(events: &[Event], of: &TopicPartition) -> Option<i64> {
    events.iter().rev().find_map(|event| match event {
        Event::CaughtUp { partition, end } if partition == of => Some(*end),
        _ => None,
    })
}
