//! The connection to a cluster through librdkafka, and the settings it needs to be fast.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Client, REQUEST_TIMEOUT, Role};
use super::member::{KafkaMember, KafkaReader};
use super::transaction::KafkaTransactionalWriter;
use super::writer::KafkaWriter;
use crate::{
    Isolation, Member, Reader, Settings, Subscription, TopicDescription, TopicPartition, TopicSpec,
    TransactionError, TransactionSettings, TransactionalWriter, Transport, TransportError, Writer,
};

/// Connects through librdkafka, whose names settings have. Errors: one without which nothing can work is missing.
pub(crate) fn connect_librdkafka(settings: &Settings) -> Result<Box<dyn Transport>, TransportError> {
    if !settings.contains_key("bootstrap.servers") {
        return Err(TransportError::Settings("`bootstrap.servers` is missing".into()));
    }
    Ok(Box::new(KafkaTransport {
        settings: settings.clone(),
    }))
}

struct KafkaTransport {
    settings: Settings,
}

/// The settings meant for everyone and those with `prefix`, over `defaults`.
pub(super) fn layered(settings: &Settings, prefix: &str, defaults: &[(&str, String)]) -> Settings {
    let mut layered: Settings = defaults
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    for (name, value) in settings {
        if !["consumer.", "producer."].iter().any(|p| name.starts_with(p)) {
            layered.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in settings {
        if let Some(name) = name.strip_prefix(prefix) {
            layered.insert(name.to_owned(), value.clone());
        }
    }
    layered
}

/// Without these librdkafka reads three times slower: it backs off for a second when its queue is full, and waits
/// half a second for a fetch to fill.
fn consumer_defaults(queued_bytes_max: usize) -> Vec<(&'static str, String)> {
    const FETCH_BYTES_MIN: usize = 64 << 10;
    vec![
        ("fetch.queue.backoff.ms", "2".into()),
        ("fetch.wait.max.ms", "10".into()),
        ("queued.min.messages", "1000000".into()),
        (
            "queued.max.messages.kbytes",
            (queued_bytes_max / 1024).clamp(64, 2_000_000).to_string(),
        ),
        (
            "fetch.message.max.bytes",
            (queued_bytes_max / 2).clamp(FETCH_BYTES_MIN, 1 << 20).to_string(),
        ),
        // Of Kafka's own consumer; librdkafka's differ.
        ("isolation.level", "read_uncommitted".into()),
        ("check.crcs", "false".into()),
    ]
}

fn producer_defaults() -> Vec<(&'static str, String)> {
    vec![
        ("linger.ms", "5".into()),
        ("batch.size", (256 << 10).to_string()),
        ("batch.num.messages", "10000".into()),
        ("queue.buffering.max.kbytes", (16 << 10).to_string()),
        ("queue.buffering.max.messages", "50000".into()),
        ("delivery.timeout.ms", "120000".into()),
    ]
}

impl KafkaTransport {
    fn reader_settings(&self, name: &str) -> Settings {
        const RESTORE_QUEUE_BYTES: usize = 8 << 20;
        let mut defaults = consumer_defaults(RESTORE_QUEUE_BYTES);
        // Changelog records are small, and each message costs librdkafka hundreds of bytes that the bound above does
        // not count.
        defaults.push(("queued.min.messages", "50000".into()));
        let mut settings = layered(&self.settings, "consumer.", &defaults);
        // A group's name is asked for even where no group is joined; nothing is committed under it.
        settings.insert("group.id".into(), format!("{name}-reader"));
        settings.insert("client.id".into(), name.into());
        settings.insert("isolation.level".into(), "read_committed".into());
        settings.insert("auto.offset.reset".into(), "error".into());
        settings.insert("enable.auto.commit".into(), "false".into());
        settings.insert("enable.auto.offset.store".into(), "false".into());
        settings.insert("enable.partition.eof".into(), "true".into());
        settings
    }

    fn client(&self, isolation: Isolation) -> Result<Client, TransportError> {
        let mut settings = layered(&self.settings, "consumer.", &[]);
        settings.insert("group.id".into(), "offsets".into());
        settings.insert("isolation.level".into(), level(isolation).into());
        Client::new(Role::Consumer, &settings)
    }

    fn producer_settings(&self, name: &str) -> Settings {
        let mut settings = layered(&self.settings, "producer.", &producer_defaults());
        settings.insert("client.id".into(), name.into());
        settings.insert("delivery.report.only.error".into(), "true".into());
        settings
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, TransportError> {
        admin_client(&self.settings)
    }
}

fn level(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadUncommitted => "read_uncommitted",
        Isolation::ReadCommitted => "read_committed",
    }
}

pub(super) fn admin_client(settings: &Settings) -> Result<AdminClient<DefaultClientContext>, TransportError> {
    config(&layered(settings, "admin.", &[]))
        .create()
        .map_err(|e| TransportError::Settings(e.to_string()))
}

pub(super) fn config(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in settings {
        config.set(name, value);
    }
    config
}

impl Transport for KafkaTransport {
    fn join(&self, subscription: &Subscription) -> Result<Box<dyn Member>, TransportError> {
        // Queue bytes are per partition here. How many partitions this member will own is not known yet; a fair
        // guess is that it reads two partitions of each topic, and each is bounded by itself.
        let share = subscription.queued_bytes_max / (2 * subscription.topics.len().max(1));
        let mut settings = layered(&self.settings, "consumer.", &consumer_defaults(share));
        settings.insert("group.id".into(), subscription.group.clone());
        settings.insert("client.id".into(), subscription.client.clone());
        settings.insert("enable.auto.commit".into(), "false".into());
        settings.insert("enable.auto.offset.store".into(), "false".into());
        settings.insert("enable.partition.eof".into(), "true".into());
        if subscription.isolation == Isolation::ReadCommitted {
            settings.insert("isolation.level".into(), "read_committed".into());
        }
        if let Some(instance) = &subscription.instance {
            settings.insert("group.instance.id".into(), instance.clone());
        }
        // Range, because with equal partition counts it gives one member all inputs of a task; eager with it.
        settings.insert("partition.assignment.strategy".into(), "range".into());
        Ok(Box::new(KafkaMember::join(&settings, subscription)?))
    }

    fn reader(&self, name: &str) -> Result<Box<dyn Reader>, TransportError> {
        Ok(Box::new(KafkaReader::new(&self.reader_settings(name))?))
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, TransportError> {
        Ok(Box::new(KafkaWriter::new(&self.producer_settings(name))?))
    }

    fn transactional_writer(
        &self,
        name: &str,
        transactions: &TransactionSettings,
    ) -> Result<Box<dyn TransactionalWriter>, TransactionError> {
        let mut settings = self.producer_settings(name);
        let timeout = transactions.timeout.as_millis();
        settings.insert("transactional.id".into(), transactions.id.clone());
        settings.insert("transaction.timeout.ms".into(), timeout.to_string());
        settings.insert("enable.idempotence".into(), "true".into());
        // No record may wait for longer than its transaction lives: librdkafka refuses to start otherwise.
        settings.insert("delivery.timeout.ms".into(), timeout.to_string());
        Ok(Box::new(KafkaTransactionalWriter::new(
            &settings,
            &transactions.id,
        )?))
    }

    fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicDescription>>, TransportError> {
        let client = self.client(Isolation::ReadCommitted)?;
        super::describe_topics::describe(&client, topics)
    }

    fn topics(&self) -> Result<Vec<String>, TransportError> {
        let metadata = self.admin()?.inner().fetch_metadata(None, REQUEST_TIMEOUT);
        let metadata = metadata.map_err(|error| TransportError::Cluster {
            operation: "list topics",
            reason: error.to_string(),
        })?;
        let names = metadata.topics().iter().map(|topic| topic.name());
        Ok(names
            .filter(|name| !name.starts_with("__"))
            .map(str::to_owned)
            .collect())
    }

    fn create(&self, topics: &[TopicSpec]) -> Result<(), TransportError> {
        block_on(create_topics(&self.admin()?, topics))?
            .into_iter()
            .try_for_each(|outcome| match outcome {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
                Err((topic, code)) => Err(TransportError::Cluster {
                    operation: "create a topic",
                    reason: format!("{topic}: {code}"),
                }),
            })
    }

    fn end_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError> {
        let client = self.client(Isolation::ReadCommitted)?;
        partitions.iter().map(|p| Ok(client.watermarks(p)?.1)).collect()
    }

    fn start_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError> {
        let client = self.client(Isolation::ReadCommitted)?;
        partitions.iter().map(|p| Ok(client.watermarks(p)?.0)).collect()
    }

    fn high_watermarks(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError> {
        let client = self.client(Isolation::ReadUncommitted)?;
        partitions.iter().map(|p| Ok(client.watermarks(p)?.1)).collect()
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<(), TransportError> {
        if before.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in before {
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
                .map_err(|e| TransportError::Settings(e.to_string()))?;
        }
        let failed = |reason: String| TransportError::Cluster {
            operation: "delete records",
            reason,
        };
        let deleted = block_on(self.admin()?.delete_records(&list, &admin_options()));
        let deleted = deleted.map_err(|e| failed(e.to_string()))?;
        deleted.elements().iter().try_for_each(|partition| {
            let of = format!("{}-{}", partition.topic(), partition.partition());
            partition.error().map_err(|e| failed(format!("{of}: {e}")))
        })
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(REQUEST_TIMEOUT))
        .request_timeout(Some(REQUEST_TIMEOUT))
}

type TopicOutcome = Result<String, (String, RDKafkaErrorCode)>;

pub(super) async fn create_topics(
    admin: &AdminClient<DefaultClientContext>,
    topics: &[TopicSpec],
) -> Result<Vec<TopicOutcome>, TransportError> {
    // librdkafka refuses a request for nothing.
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let new: Vec<NewTopic<'_>> = topics.iter().map(new_topic).collect();
    admin
        .create_topics(&new, &admin_options())
        .await
        .map_err(|e| TransportError::Cluster {
            operation: "create topics",
            reason: e.to_string(),
        })
}

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    let replication = TopicReplication::Fixed(spec.replication.map_or(-1, i32::from));
    let new = NewTopic::new(&spec.name, spec.partitions.unwrap_or(-1), replication);
    spec.config
        .iter()
        .fold(new, |new, (name, value)| new.set(name, value))
}

/// Waits for one of librdkafka's futures, which complete on threads of its own.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let thread = std::thread::current();
    let waker = std::task::Waker::from(std::sync::Arc::new(Unpark(thread)));
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}
