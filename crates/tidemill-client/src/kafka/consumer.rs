//! A consumer for programs: a `Stream` of records.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use futures::stream::{BoxStream, Stream};
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidemill_data::{DecodeError, Header, Headers, Place, Topic};

use super::client::REQUEST_TIMEOUT;
use super::producer::blocking;
use super::transport::{config, layered};
use crate::{Settings, TopicPartition, TransportError};

/// When a member of a group commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Only by [`Consumer::commit`].
    ByHand,
    /// At this interval, everything handed out.
    Every(Duration),
}

/// Where to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The first record there is.
    Earliest,
    /// Only records that are yet to come.
    Latest,
    /// An offset.
    Offset(i64),
    /// The first record with this time or a later one, in milliseconds since the epoch.
    Time(i64),
}

/// Sets up a [`Consumer`].
pub struct ConsumerBuilder {
    settings: Settings,
}

/// Reads records, as a member of a group or from partitions assigned by hand. It is a [`Stream`] that ends never.
pub struct Consumer {
    native: Arc<StreamConsumer>,
    records: BoxStream<'static, Result<Received, TransportError>>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where it stands.
    pub partition: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The key's bytes.
    pub key: Option<Bytes>,
    /// The value's bytes.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Headers,
}

impl Received {
    /// Key and value by a topic's formats. Errors: the bytes are not what the format expects.
    pub fn decode<K: 'static, V: 'static>(&self, topic: &Topic<K, V>) -> Result<(K, V), DecodeError> {
        let key = topic
            .key()
            .decode(Place::key(topic.name(), &self.headers), self.key.as_deref())?;
        let value = topic
            .value()
            .decode(Place::value(topic.name(), &self.headers), self.value.as_deref())?;
        Ok((key, value))
    }

    fn read(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Headers::default, |headers| {
            let header = |h: rdkafka::message::Header<'_, &[u8]>| Header {
                name: h.key.to_owned(),
                value: h.value.map(Bytes::copy_from_slice),
            };
            headers.iter().map(header).collect()
        });
        Self {
            partition: TopicPartition::new(message.topic(), message.partition()),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            headers,
        }
    }
}

impl ConsumerBuilder {
    /// When to commit; by hand unless told otherwise.
    pub fn commit(self, commit: Commit) -> Self {
        match commit {
            Commit::ByHand => self.set("enable.auto.commit", "false"),
            Commit::Every(interval) => self
                .set("enable.auto.commit", "true")
                .set("auto.commit.interval.ms", interval.as_millis().to_string()),
        }
    }

    /// Where to begin in partitions for which the group has committed nothing; at the first record unless told
    /// otherwise.
    pub fn begin_at_newest(self) -> Self {
        self.set("auto.offset.reset", "latest")
    }

    /// Sets a client setting by Kafka's name.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Joins the group and reads these topics; a name that begins with `^` is a regular expression.
    pub fn subscribe(self, topics: &[&str]) -> Result<Consumer, TransportError> {
        let native = self.build()?;
        native.subscribe(topics).map_err(|e| error("subscribe", &e))?;
        Ok(Consumer::over(native))
    }

    /// Reads these partitions, in no group. Times are looked up first.
    pub async fn assign(self, from: &[(TopicPartition, From)]) -> Result<Consumer, TransportError> {
        let native = Arc::new(self.build()?);
        let list = resolve(&native, from).await?;
        native.assign(&list).map_err(|e| error("assign", &e))?;
        Ok(Consumer::shared(native))
    }

    fn build(self) -> Result<StreamConsumer, TransportError> {
        let defaults = [
            ("auto.offset.reset", "earliest".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("fetch.queue.backoff.ms", "2".to_owned()),
            ("fetch.wait.max.ms", "10".to_owned()),
            ("queued.max.messages.kbytes", "16384".to_owned()),
            ("group.id", "tidemill-consumer".to_owned()),
        ];
        let settings = layered(&self.settings, "consumer.", &defaults);
        config(&settings)
            .create()
            .map_err(|e| TransportError::Settings(e.to_string()))
    }
}

impl Consumer {
    /// Begins to set up one that is a member of `group`.
    pub fn in_group(bootstrap_servers: impl Into<String>, group: impl Into<String>) -> ConsumerBuilder {
        Self::builder(bootstrap_servers).set("group.id", group)
    }

    /// Begins to set up one that reads partitions by hand.
    pub fn builder(bootstrap_servers: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder {
            settings: Settings::from([("bootstrap.servers".to_owned(), bootstrap_servers.into())]),
        }
    }

    fn over(native: StreamConsumer) -> Self {
        Self::shared(Arc::new(native))
    }

    fn shared(native: Arc<StreamConsumer>) -> Self {
        let reader = native.clone();
        let records = Box::pin(stream! {
            loop {
                yield match reader.recv().await {
                    Ok(message) => Ok(Received::read(&message)),
                    Err(e) if mends_itself(&e) => {
                        tracing::warn!("reading: {e}");
                        continue;
                    }
                    Err(e) => Err(error("read", &e)),
                };
            }
        });
        Self { native, records }
    }

    /// Reads on from somewhere else in partitions this consumer has.
    pub async fn seek(&self, to: &[(TopicPartition, From)]) -> Result<(), TransportError> {
        let list = resolve(&self.native, to).await?;
        let native = self.native.clone();
        let sought = blocking("seek", move || native.seek_partitions(list, REQUEST_TIMEOUT)).await?;
        sought
            .elements()
            .iter()
            .try_for_each(|e| e.error().map_err(|e| error("seek", &e)))
    }

    /// Commits that `record` and all before it in its partition are done with, and waits for the answer.
    pub async fn commit(&self, record: &Received) -> Result<(), TransportError> {
        self.commit_offsets(&[(record.partition.clone(), record.offset + 1)])
            .await
    }

    /// Commits the offsets of the next records to read.
    pub async fn commit_offsets(&self, next: &[(TopicPartition, i64)]) -> Result<(), TransportError> {
        let mut list = TopicPartitionList::with_capacity(next.len());
        for (partition, offset) in next {
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
                .map_err(|e| error("commit", &e))?;
        }
        let native = self.native.clone();
        blocking("commit", move || native.commit(&list, CommitMode::Sync)).await
    }

    /// The partitions this consumer reads now.
    pub fn assignment(&self) -> Result<Vec<TopicPartition>, TransportError> {
        let list = self.native.assignment().map_err(|e| error("assignment", &e))?;
        Ok(list
            .elements()
            .iter()
            .map(|e| TopicPartition::new(e.topic(), e.partition()))
            .collect())
    }
}

impl Stream for Consumer {
    type Item = Result<Received, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.records.as_mut().poll_next(context)
    }
}

async fn resolve(
    native: &Arc<StreamConsumer>,
    from: &[(TopicPartition, From)],
) -> Result<TopicPartitionList, TransportError> {
    let mut times = TopicPartitionList::new();
    let mut list = TopicPartitionList::with_capacity(from.len());
    for (partition, from) in from {
        let (into, offset) = match *from {
            From::Earliest => (&mut list, Offset::Beginning),
            From::Latest => (&mut list, Offset::End),
            From::Offset(offset) => (&mut list, Offset::Offset(offset)),
            From::Time(time) => (&mut times, Offset::Offset(time)),
        };
        into.add_partition_offset(&partition.topic, partition.partition, offset)
            .map_err(|e| error("seek", &e))?;
    }
    if times.count() > 0 {
        let native = native.clone();
        let found = blocking("look up a time", move || {
            native.offsets_for_times(times, REQUEST_TIMEOUT)
        })
        .await?;
        for element in found.elements() {
            list.add_partition_offset(element.topic(), element.partition(), element.offset())
                .map_err(|e| error("seek", &e))?;
        }
    }
    Ok(list)
}

/// What librdkafka tells and goes on: a connection that broke is opened anew, and no record is lost by it. A timeout
/// told among the records is a connection's too, closed because a broker did not answer; that of a request somebody
/// made (a commit, a question for offsets) is that request's own result, and does not come this way.
fn mends_itself(error: &rdkafka::error::KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
        )
    )
}

fn error(operation: &'static str, cause: &rdkafka::error::KafkaError) -> TransportError {
    TransportError::Cluster {
        operation,
        reason: cause.to_string(),
    }
}
