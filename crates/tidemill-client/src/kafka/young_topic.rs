//! Topics that were made a moment ago. A cluster's brokers hear of a topic one after the other, so a question about one may
//! come to a broker that does not know of it yet, or knows no leader; Kafka's answer is then the same as for a topic that
//! never was. So questions are asked again for a while.

use std::time::Duration;

use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use tokio::time::Instant;

use super::client::REQUEST_TIMEOUT;
use crate::TransportError;

/// How long a topic may be unknown before it counts as missing. Kafka's `max.block.ms` waits twice as long.
pub(super) const UNKNOWN_MAX: Duration = Duration::from_secs(30);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes a call that blocks, off the async threads, again and again until it no longer says that the topic is unknown.
pub(super) async fn once_known<T: Send + 'static>(
    operation: &'static str,
    within: Duration,
    call: impl Fn(Duration) -> KafkaResult<T> + Clone + Send + 'static,
) -> Result<KafkaResult<T>, TransportError> {
    let until = Instant::now() + within;
    loop {
        let call = call.clone();
        let answer = tokio::task::spawn_blocking(move || call(REQUEST_TIMEOUT)).await;
        let answer = answer.map_err(|e| TransportError::Cluster {
            operation,
            reason: e.to_string(),
        })?;
        match answer {
            Err(error) if is_unknown(error.rdkafka_error_code()) && Instant::now() + PAUSE < until => {
                tokio::time::sleep(PAUSE).await;
            }
            answer => return Ok(answer),
        }
    }
}

/// Whether this is what is said of a topic that is unknown, or that nobody leads.
pub(super) fn is_unknown(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Some(
            Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::UnknownTopicId
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
        )
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rdkafka::error::KafkaError;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaRespErr;

    use super::*;
    use crate::{Admin, Produced, Producer, TopicPartition};

    /// What comes of a call that fails so often with this code, and how often it was made.
    async fn asked(code: RDKafkaErrorCode, failures: usize, within: Duration) -> (KafkaResult<u8>, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let call = move |_| match count.fetch_add(1, Ordering::Relaxed) {
            n if n < failures => Err(KafkaError::MetadataFetch(code)),
            _ => Ok(7),
        };
        let answer = once_known("ask", within, call).await.unwrap();
        (answer, asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_topic_that_is_unknown_for_more_than_a_second_is_asked_for_again() {
        let code = RDKafkaErrorCode::LeaderNotAvailable;
        assert_eq!(asked(code, 25, UNKNOWN_MAX).await, (Ok(7), 26));
    }

    #[tokio::test]
    async fn it_is_not_asked_for_for_ever_nor_after_any_other_error() {
        let code = RDKafkaErrorCode::UnknownTopicOrPartition;
        let (answer, times) = asked(code, usize::MAX, Duration::ZERO).await;
        assert_eq!((answer, times), (Err(KafkaError::MetadataFetch(code)), 1));
        let code = RDKafkaErrorCode::TopicAuthorizationFailed;
        let (answer, times) = asked(code, usize::MAX, UNKNOWN_MAX).await;
        assert_eq!((answer, times), (Err(KafkaError::MetadataFetch(code)), 1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn offsets_and_sends_wait_until_the_cluster_knows_the_topic() {
        const TOPICS: [&str; 2] = ["read", "written"];
        let cluster = MockCluster::new(1).unwrap();
        let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        for topic in TOPICS {
            cluster.create_topic(topic, 2, 1).unwrap();
            cluster.topic_error(topic, unknown).unwrap();
        }
        let bootstrap = cluster.bootstrap_servers();
        let (admin, producer) = (
            Admin::connect(&bootstrap).unwrap(),
            Producer::connect(&bootstrap).unwrap(),
        );
        let known = async {
            for topic in TOPICS {
                assert_eq!(admin.describe_topic(topic).await.unwrap(), None);
                let none = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
                cluster.topic_error(topic, none).unwrap();
            }
        };
        let read = TopicPartition::new("read", 1);
        let record = Produced::bytes("written", None, Some(b"x".to_vec()));
        let (offsets, sent, ()) = tokio::join!(admin.offsets(&read), producer.send(record), known);
        assert_eq!(offsets.unwrap(), (0, 0));
        sent.unwrap().await.unwrap();
    }
}
