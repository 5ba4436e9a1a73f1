//! A producer for programs.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as NativeHeader, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tidemill_data::{Headers, Place, Topic};

use super::client::REQUEST_TIMEOUT;
use super::partitioner::{HashKey, Partitioner};
use super::transport::{config, layered};
use super::young_topic::{UNKNOWN_MAX, is_unknown, once_known};
use crate::{Settings, TransportError};

/// Whose acknowledgement makes a record written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody's: the record is sent and forgotten.
    None,
    /// The partition leader's.
    Leader,
    /// That of all replicas in sync.
    #[default]
    All,
}

/// Sets up a [`Producer`].
pub struct ProducerBuilder {
    settings: Settings,
    partitioner: Arc<dyn Partitioner>,
}

/// Writes records to topics. Clones are the same producer.
#[derive(Clone)]
pub struct Producer {
    native: FutureProducer,
    partitioner: Arc<dyn Partitioner>,
    // Guards look-ups; metadata is asked for outside of it.
    partitions: Arc<Mutex<HashMap<String, i32>>>,
}

/// A record and where it goes, before it is sent.
pub struct Produced {
    topic: String,
    partition: Option<i32>,
    timestamp: Option<i64>,
    headers: Headers,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

/// Where a record came to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The partition.
    pub partition: i32,
    /// The offset; −1 where the broker does not tell (`Acks::None`).
    pub offset: i64,
}

/// The outcome of one send, to be awaited; dropping it leaves the record on its way.
pub struct Sent {
    outcome: BoxFuture<'static, Result<Delivery, TransportError>>,
}

impl Produced {
    /// A record of a typed topic. Errors: the topic's format does not take the key or value.
    pub fn to<K: 'static, V: 'static>(
        topic: &Topic<K, V>,
        key: &K,
        value: &V,
    ) -> Result<Self, TransportError> {
        let headers = Headers::default();
        let encode = |outcome: Result<tidemill_data::Presence, tidemill_data::EncodeError>,
                      bytes: Vec<u8>| match outcome {
            Ok(tidemill_data::Presence::Value) => Ok(Some(bytes)),
            Ok(tidemill_data::Presence::Null) => Ok(None),
            Err(error) => Err(TransportError::Cluster {
                operation: "encode a record",
                reason: error.to_string(),
            }),
        };
        let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
        let key = topic
            .key()
            .encode(Place::key(topic.name(), &headers), key, &mut key_bytes);
        let value = topic
            .value()
            .encode(Place::value(topic.name(), &headers), value, &mut value_bytes);
        Ok(Self::bytes(
            topic.name(),
            encode(key, key_bytes)?,
            encode(value, value_bytes)?,
        ))
    }

    /// A record of bytes.
    pub fn bytes(topic: impl Into<String>, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            timestamp: None,
            headers: Headers::default(),
            key,
            value,
        }
    }

    /// Names the partition, instead of leaving it to the partitioner.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the time, in milliseconds since the epoch, instead of now. 0 is sent as 1: librdkafka, which this producer
    /// stands on, reads 0 as now, and a millisecond beside it is nearer.
    pub fn timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp = Some(timestamp_ms);
        self
    }

    /// Sets the headers.
    pub fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }
}

impl ProducerBuilder {
    /// Whose acknowledgement to wait for.
    pub fn acks(self, acks: Acks) -> Self {
        let value = match acks {
            Acks::None => "0",
            Acks::Leader => "1",
            Acks::All => "all",
        };
        self.set("acks", value)
    }

    /// Who chooses partitions; [`HashKey`] unless told otherwise.
    pub fn partitioner(mut self, partitioner: impl Partitioner) -> Self {
        self.partitioner = Arc::new(partitioner);
        self
    }

    /// Sets a client setting by Kafka's name.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Makes the producer. Errors: a setting is not known or does not fit.
    pub fn build(self) -> Result<Producer, TransportError> {
        let settings = layered(&self.settings, "producer.", &[("linger.ms", "5".into())]);
        let native = config(&settings)
            .create()
            .map_err(|e| TransportError::Settings(e.to_string()))?;
        Ok(Producer {
            native,
            partitioner: self.partitioner,
            partitions: Arc::default(),
        })
    }
}

impl Producer {
    /// Begins to set one up.
    pub fn builder(bootstrap_servers: impl Into<String>) -> ProducerBuilder {
        let settings = Settings::from([("bootstrap.servers".to_owned(), bootstrap_servers.into())]);
        ProducerBuilder {
            settings,
            partitioner: Arc::new(HashKey::default()),
        }
    }

    /// A producer with the usual settings.
    pub fn connect(bootstrap_servers: impl Into<String>) -> Result<Self, TransportError> {
        Self::builder(bootstrap_servers).build()
    }

    /// Queues a record and gives its delivery report to come: await it, or collect many in [`reports`](Self::reports).
    ///
    /// Waits while the queue is full. Errors: the topic is not there, or the record is too large.
    pub async fn send(&self, record: Produced) -> Result<Sent, TransportError> {
        let partition = match record.partition {
            Some(partition) => partition,
            None => {
                let count = self.partition_count(&record.topic).await?;
                self.partitioner.partition(
                    &record.topic,
                    record.key.as_deref(),
                    record.value.as_deref(),
                    count,
                )
            }
        };
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, header| {
                headers.insert(NativeHeader {
                    key: &header.name,
                    value: header.value.as_deref(),
                })
            });
        let mut native = FutureRecord::<[u8], [u8]>::to(&record.topic)
            .partition(partition)
            .timestamp(record.timestamp.map_or_else(now_ms, sent_time))
            .headers(headers);
        native.key = record.key.as_deref();
        native.payload = record.value.as_deref();
        let topic = record.topic.clone();
        loop {
            match self.native.send_result(native) {
                Ok(report) => {
                    return Ok(Sent {
                        outcome: Box::pin(outcome(report, topic, partition)),
                    });
                }
                Err((error, back)) if queue_is_full(&error) => {
                    native = back;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err((error, _)) => return Err(delivery_error(&topic, partition, error.to_string())),
            }
        }
    }

    /// Delivery reports as a stream, in the order in which they come.
    pub fn reports(
        sent: impl IntoIterator<Item = Sent>,
    ) -> impl Stream<Item = Result<Delivery, TransportError>> {
        sent.into_iter().collect::<FuturesUnordered<_>>()
    }

    /// Waits until everything sent so far is written or lost; whichever it was, its [`Sent`] tells.
    pub async fn flush(&self) -> Result<(), TransportError> {
        let native = self.native.clone();
        blocking("flush", move || native.flush(REQUEST_TIMEOUT)).await
    }

    async fn partition_count(&self, topic: &str) -> Result<i32, TransportError> {
        if let Some(count) = self.partitions.lock().expect("look-ups do not panic").get(topic) {
            return Ok(*count);
        }
        // The first question creates the topic where the broker allows that, and may be answered before it is there.
        let (native, name) = (self.native.clone(), topic.to_owned());
        let count = once_known("metadata", UNKNOWN_MAX, move |within| {
            let metadata = native.client().fetch_metadata(Some(&name), within)?;
            let mut topics = metadata.topics().iter();
            let count = topics
                .find(|t| t.name() == name)
                .map_or(0, |t| t.partitions().len());
            match i32::try_from(count).unwrap_or(i32::MAX) {
                0 => Err(KafkaError::MetadataFetch(
                    RDKafkaErrorCode::UnknownTopicOrPartition,
                )),
                count => Ok(count),
            }
        });
        let count = count.await?.map_err(|error| match error {
            error if is_unknown(error.rdkafka_error_code()) => {
                TransportError::UnknownPartition(crate::TopicPartition::new(topic, 0))
            }
            error => TransportError::Cluster {
                operation: "metadata",
                reason: error.to_string(),
            },
        })?;
        let mut partitions = self.partitions.lock().expect("look-ups do not panic");
        partitions.insert(topic.to_owned(), count);
        Ok(count)
    }
}

impl Future for Sent {
    type Output = Result<Delivery, TransportError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.outcome.as_mut().poll(context)
    }
}

/// Runs a call of librdkafka's that blocks, off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    call: impl FnOnce() -> rdkafka::error::KafkaResult<T> + Send + 'static,
) -> Result<T, TransportError> {
    tokio::task::spawn_blocking(call)
        .await
        .map_err(|e| TransportError::Cluster {
            operation,
            reason: e.to_string(),
        })?
        .map_err(|e| TransportError::Cluster {
            operation,
            reason: e.to_string(),
        })
}

type Report =
    Result<rdkafka::producer::future_producer::Delivery, (KafkaError, rdkafka::message::OwnedMessage)>;

async fn outcome<F>(report: F, topic: String, partition: i32) -> Result<Delivery, TransportError>
where
    F: Future<Output = Result<Report, oneshot::Canceled>>,
{
    match report.await {
        Ok(Ok(delivery)) => Ok(Delivery {
            partition: delivery.partition,
            offset: delivery.offset,
        }),
        Ok(Err((error, _))) => Err(delivery_error(&topic, partition, error.to_string())),
        Err(_canceled) => Err(delivery_error(
            &topic,
            partition,
            "the producer was dropped".into(),
        )),
    }
}

fn delivery_error(topic: &str, partition: i32, reason: String) -> TransportError {
    TransportError::Delivery {
        partition: crate::TopicPartition::new(topic, partition),
        reason,
    }
}

fn queue_is_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

/// The time that librdkafka is told for a record's own: it takes 0 for now, which is decades off.
pub(super) fn sent_time(ms: i64) -> i64 {
    if ms == 0 { 1 } else { ms }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
