//! Transactions, request by request: what producers, consumers of committed records and administrators see.

use crate::support::{Client, fetch_request, pair, produce_request, values};
use bytes::Bytes;
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::batch::{BatchBuilder, ProducerStamp};
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::{
    add_offsets_to_txn::AddOffsetsToTxnRequest,
    add_partitions_to_txn::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
    },
    end_txn::{EndTxnRequest, EndTxnResponse},
    fetch::PartitionData,
    init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
    list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic},
    offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    txn_offset_commit::{
        TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
    },
};

mod administration;
mod last_epoch;

/// The versions of one kind of client.
#[derive(Clone, Copy)]
struct Speaks {
    init: i16,
    produce: i16,
    end: i16,
    offsets: i16,
}

/// As librdkafka speaks.
const CLASSIC: Speaks = Speaks {
    init: 4,
    produce: 10,
    end: 1,
    offsets: 3,
};
/// As Java 4 speaks where `transaction.version=2`.
const NEW: Speaks = Speaks {
    init: 5,
    produce: 12,
    end: 5,
    offsets: 5,
};

struct Producer {
    id: i64,
    epoch: i16,
    sequence: i32,
    name: &'static str,
    speaks: Speaks,
}

fn init(name: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(name.into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    }
}

impl Producer {
    async fn begin(client: &mut Client, name: &'static str, speaks: Speaks) -> Producer {
        let answer = client.call(&init(name), speaks.init).await;
        assert_eq!(answer.error_code, ErrorCode::None);
        Producer {
            id: answer.producer_id,
            epoch: answer.producer_epoch,
            sequence: 0,
            name,
            speaks,
        }
    }

    fn batch(&self, value: &str) -> Bytes {
        let stamp = ProducerStamp {
            id: self.id,
            epoch: self.epoch,
            base_sequence: self.sequence,
        };
        let mut batch = BatchBuilder::new(Compression::None)
            .producer(stamp)
            .transactional();
        batch.push(1_000, Some(b"key"), Some(value.as_bytes()), []);
        batch.build()
    }

    async fn add(&self, client: &mut Client, topic: &str) -> ErrorCode {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.name.into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.into(),
                partitions: vec![0],
            }],
            ..Default::default()
        };
        let answer = client.call(&request, 3).await;
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    async fn try_send(&mut self, client: &mut Client, topic: &str, value: &str) -> ErrorCode {
        let mut request = produce_request(topic, 0, self.batch(value), -1);
        request.transactional_id = Some(self.name.into());
        let answer = client.call(&request, self.speaks.produce).await;
        let code = answer.responses[0].partition_responses[0].error_code;
        self.sequence += i32::from(code.is_ok());
        code
    }

    async fn send(&mut self, client: &mut Client, topic: &str, value: &str) {
        if self.speaks.produce < 12 {
            assert_eq!(self.add(client, topic).await, ErrorCode::None);
        }
        assert_eq!(self.try_send(client, topic, value).await, ErrorCode::None);
    }

    async fn try_end(&self, client: &mut Client, committed: bool) -> EndTxnResponse {
        let request = EndTxnRequest {
            transactional_id: self.name.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        };
        client.call(&request, self.speaks.end).await
    }

    async fn end(&mut self, client: &mut Client, committed: bool) {
        let answer = self.try_end(client, committed).await;
        assert_eq!(answer.error_code, ErrorCode::None);
        if self.speaks.end >= 5 {
            assert_ne!((answer.producer_id, answer.producer_epoch), (self.id, self.epoch));
            (self.id, self.epoch, self.sequence) = (answer.producer_id, answer.producer_epoch, 0);
        }
    }

    async fn commit_offset(&self, client: &mut Client, topic: &str, offset: i64) -> ErrorCode {
        if self.speaks.offsets < 5 {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.name.into(),
                producer_id: self.id,
                producer_epoch: self.epoch,
                group_id: "group".into(),
            };
            let code = client.call(&request, 3).await.error_code;
            assert_eq!(code, ErrorCode::None);
        }
        self.commit_offset_alone(client, topic, offset).await
    }

    async fn commit_offset_alone(&self, client: &mut Client, topic: &str, offset: i64) -> ErrorCode {
        let request = TxnOffsetCommitRequest {
            transactional_id: self.name.into(),
            group_id: "group".into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: topic.into(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    committed_leader_epoch: -1,
                    committed_metadata: Some("note".into()),
                }],
            }],
            ..Default::default()
        };
        let answer = client.call(&request, self.speaks.offsets).await;
        answer.topics[0].partitions[0].error_code
    }
}

async fn fetch_committed(client: &mut Client, topic: &str, offset: i64) -> PartitionData {
    let mut request = fetch_request(topic, 0, offset);
    request.isolation_level = 1;
    client.call(&request, 11).await.responses[0].partitions[0].clone()
}

/// What a consumer of committed records makes of a partition: it drops what aborted transactions wrote, marker by marker.
async fn committed(client: &mut Client, topic: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = 0;
    while next < latest(client, topic, 1).await {
        let data = fetch_committed(client, topic, next).await;
        let mut aborted = data.aborted_transactions.unwrap_or_default();
        let bytes = data.records.unwrap_or_default().into_bytes();
        assert!(!bytes.is_empty(), "nothing is at {next}");
        let mut dropped = std::collections::BTreeSet::new();
        for batch in tidemill_protocol::batch::Batches::new(&bytes) {
            let batch = batch.unwrap();
            let header = batch.header();
            next = header.next_offset();
            aborted.retain(|entry| {
                let begun = entry.first_offset <= header.last_offset();
                if begun {
                    dropped.insert(entry.producer_id);
                }
                !begun
            });
            if header.attributes.is_control() {
                dropped.remove(&header.producer_id);
            } else if !(header.attributes.is_transactional() && dropped.contains(&header.producer_id)) {
                let payload = batch.payload(1 << 20).unwrap();
                for record in batch.records(&payload) {
                    found.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
                }
            }
        }
    }
    found
}

async fn latest(client: &mut Client, topic: &str, isolation_level: i8) -> i64 {
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: 0,
                current_leader_epoch: -1,
                timestamp: -1,
            }],
        }],
        ..Default::default()
    };
    client.call(&request, 5).await.topics[0].partitions[0].offset
}

async fn group_offset(client: &mut Client, topic: &str, require_stable: bool) -> (ErrorCode, i64) {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "group".into(),
            member_epoch: -1,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: topic.into(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        require_stable,
        ..Default::default()
    };
    let answer = client.call(&request, 9).await;
    let partition = &answer.groups[0].topics[0].partitions[0];
    (partition.error_code, partition.committed_offset)
}

async fn commits_and_aborts(speaks: Speaks) {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::begin(&mut client, "writer", speaks).await;
    producer.send(&mut client, "t", "a").await;
    producer.send(&mut client, "t", "b").await;
    assert_eq!(committed(&mut client, "t").await, Vec::<String>::new());
    assert_eq!(
        (
            latest(&mut client, "t", 0).await,
            latest(&mut client, "t", 1).await
        ),
        (2, 0)
    );
    producer.end(&mut client, true).await;
    assert_eq!(committed(&mut client, "t").await, ["a", "b"]);
    assert_eq!(
        latest(&mut client, "t", 1).await,
        3,
        "the marker has an offset too"
    );

    producer.send(&mut client, "t", "c").await;
    producer.end(&mut client, false).await;
    producer.send(&mut client, "t", "d").await;
    producer.end(&mut client, true).await;
    assert_eq!(committed(&mut client, "t").await, ["a", "b", "d"]);
    let uncommitted = client.fetch("t", 0, 0).await;
    assert_eq!(
        uncommitted.aborted_transactions, None,
        "only read_committed is told of aborts"
    );
}

#[tokio::test]
async fn committed_records_are_seen_and_aborted_ones_are_not() {
    commits_and_aborts(CLASSIC).await;
}

#[tokio::test]
async fn an_epoch_for_each_transaction_commits_and_aborts_the_same() {
    commits_and_aborts(NEW).await;
}

async fn offsets_of_transactions(speaks: Speaks) {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::begin(&mut client, "writer", speaks).await;
    assert_eq!(producer.commit_offset(&mut client, "t", 5).await, ErrorCode::None);
    assert_eq!(group_offset(&mut client, "t", false).await, (ErrorCode::None, -1));
    let unstable = (ErrorCode::UnstableOffsetCommit, -1);
    assert_eq!(group_offset(&mut client, "t", true).await, unstable);
    producer.end(&mut client, true).await;
    assert_eq!(group_offset(&mut client, "t", true).await, (ErrorCode::None, 5));

    assert_eq!(producer.commit_offset(&mut client, "t", 9).await, ErrorCode::None);
    producer.end(&mut client, false).await;
    assert_eq!(group_offset(&mut client, "t", true).await, (ErrorCode::None, 5));
}

#[tokio::test]
async fn offsets_count_when_their_transaction_commits() {
    offsets_of_transactions(CLASSIC).await;
}

#[tokio::test]
async fn offsets_of_an_epoch_for_each_transaction_need_no_request_of_their_own() {
    offsets_of_transactions(NEW).await;
}

#[tokio::test]
async fn a_new_instance_fences_the_old_one() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut old = Producer::begin(&mut client, "writer", CLASSIC).await;
    old.send(&mut client, "t", "of the old").await;
    // The old transaction is aborted first; whoever asks meanwhile asks again.
    let answer = client.call(&init("writer"), 4).await;
    assert_eq!(answer.error_code, ErrorCode::ConcurrentTransactions);
    let mut new = Producer::begin(&mut client, "writer", CLASSIC).await;
    assert!(new.id == old.id && new.epoch > old.epoch);

    assert_eq!(
        old.try_send(&mut client, "t", "late").await,
        ErrorCode::InvalidProducerEpoch
    );
    assert_eq!(old.add(&mut client, "t").await, ErrorCode::ProducerFenced);
    assert_eq!(
        old.try_end(&mut client, true).await.error_code,
        ErrorCode::InvalidProducerEpoch,
        "version 1 does not know PRODUCER_FENCED"
    );
    old.speaks.end = 2;
    assert_eq!(
        old.try_end(&mut client, true).await.error_code,
        ErrorCode::ProducerFenced
    );
    let code = old.commit_offset_alone(&mut client, "t", 1).await;
    assert_eq!(code, ErrorCode::InvalidProducerEpoch);

    new.send(&mut client, "t", "of the new").await;
    new.end(&mut client, true).await;
    assert_eq!(committed(&mut client, "t").await, ["of the new"]);
    let recovering = |epoch| InitProducerIdRequest {
        producer_id: old.id,
        producer_epoch: epoch,
        ..init("writer")
    };
    for (version, expected) in [
        (3, ErrorCode::InvalidProducerEpoch),
        (4, ErrorCode::ProducerFenced),
    ] {
        let answer = client.call(&recovering(old.epoch), version).await;
        assert_eq!(answer.error_code, expected);
    }
    let InitProducerIdResponse { producer_epoch, .. } = client.call(&recovering(new.epoch), 4).await;
    assert_eq!(producer_epoch, new.epoch + 1);
}

#[tokio::test]
async fn what_is_not_part_of_the_transaction_is_not_written() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::begin(&mut client, "writer", CLASSIC).await;
    assert_eq!(
        producer.try_send(&mut client, "t", "x").await,
        ErrorCode::InvalidTxnState
    );
    producer.speaks.produce = 11;
    assert_eq!(
        producer.try_send(&mut client, "t", "x").await,
        ErrorCode::TransactionAbortable
    );
    let code = producer.commit_offset_alone(&mut client, "t", 1).await;
    assert_eq!(code, ErrorCode::InvalidTxnState);
    // A transactional batch needs the name of its transaction.
    let answer = client.produce("t", 0, producer.batch("x")).await;
    assert_eq!(answer.error_code, ErrorCode::TransactionalIdAuthorizationFailed);
    // A batch that comes late, after its transaction has ended, opens no other (KIP-890).
    producer.send(&mut client, "t", "a").await;
    producer.end(&mut client, true).await;
    assert_eq!(
        producer.try_send(&mut client, "t", "late").await,
        ErrorCode::TransactionAbortable
    );
    assert_eq!(
        latest(&mut client, "t", 1).await,
        latest(&mut client, "t", 0).await
    );
    assert_eq!(values(&client.fetch("t", 0, 0).await.records)[0].1, "a");
}

#[tokio::test]
async fn partitions_that_are_not_there_keep_the_others_out() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let producer = Producer::begin(&mut client, "writer", CLASSIC).await;
    assert_eq!(
        producer.add(&mut client, "nowhere").await,
        ErrorCode::UnknownTopicOrPartition
    );
    let topic = |name: &str, partition| AddPartitionsToTxnTopic {
        name: name.into(),
        partitions: vec![partition],
    };
    let transaction = |verify_only, topics| AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: "writer".into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            verify_only,
            topics,
        }],
        ..Default::default()
    };
    let request = transaction(
        false,
        vec![topic("t", 0), topic("t", 1), topic("__transaction_state", 0)],
    );
    let answer = client.call(&request, 4).await;
    let codes: Vec<_> = answer.results_by_transaction[0]
        .topic_results
        .iter()
        .map(|topic| topic.results_by_partition[0].partition_error_code)
        .collect();
    let expected = [
        ErrorCode::OperationNotAttempted,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::TopicAuthorizationFailed,
    ];
    assert_eq!(codes, expected);
    let mut verify = async || {
        let answer = client.call(&transaction(true, vec![topic("t", 0)]), 5).await;
        answer.results_by_transaction[0].topic_results[0].results_by_partition[0].partition_error_code
    };
    assert_eq!(verify().await, ErrorCode::TransactionAbortable);
}

#[tokio::test]
async fn impossible_timeouts_and_names_are_refused() {
    let (_broker, mut client) = pair().await;
    for timeout in [0, -1, 900_001] {
        let request = InitProducerIdRequest {
            transaction_timeout_ms: timeout,
            ..init("writer")
        };
        let answer = client.call(&request, 4).await;
        assert_eq!(answer.error_code, ErrorCode::InvalidTransactionTimeout);
    }
    let answer = client.call(&init(""), 4).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidRequest);
    let half = InitProducerIdRequest {
        producer_id: 5,
        ..init("writer")
    };
    assert_eq!(client.call(&half, 4).await.error_code, ErrorCode::InvalidRequest);
    let nobody = EndTxnRequest {
        transactional_id: "nobody".into(),
        producer_id: 1,
        producer_epoch: 0,
        committed: true,
    };
    let answer = client.call(&nobody, 3).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidProducerIdMapping);
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_aborted() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let answer = client
        .call(
            &InitProducerIdRequest {
                transaction_timeout_ms: 50,
                ..init("slow")
            },
            4,
        )
        .await;
    let mut slow = Producer {
        id: answer.producer_id,
        epoch: answer.producer_epoch,
        sequence: 0,
        name: "slow",
        speaks: CLASSIC,
    };
    slow.send(&mut client, "t", "x").await;
    // The marker wakes the reader: behind it there is a committed end.
    let mut request = fetch_request("t", 0, 0);
    request.isolation_level = 1;
    request.max_wait_ms = 60_000;
    let data = client.call(&request, 11).await.responses[0].partitions[0].clone();
    assert_eq!(data.last_stable_offset, 2);
    assert_eq!(data.aborted_transactions.map(|aborted| aborted.len()), Some(1));
    assert_eq!(
        slow.try_send(&mut client, "t", "y").await,
        ErrorCode::InvalidProducerEpoch
    );
    slow.speaks.end = 3;
    assert_eq!(
        slow.try_end(&mut client, true).await.error_code,
        ErrorCode::ProducerFenced
    );
}

#[tokio::test]
async fn a_retry_of_an_end_is_answered_as_the_first_was() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::begin(&mut client, "writer", NEW).await;
    producer.send(&mut client, "t", "a").await;
    let first = producer.try_end(&mut client, true).await;
    let again = producer.try_end(&mut client, true).await;
    assert_eq!(again, first);
    assert_eq!(
        producer.try_end(&mut client, false).await.error_code,
        ErrorCode::InvalidTxnState,
        "what is committed cannot be aborted"
    );
    producer.epoch = first.producer_epoch;
    let aborted = producer.try_end(&mut client, false).await;
    assert_eq!(
        (aborted.error_code, aborted.producer_epoch),
        (ErrorCode::None, producer.epoch + 1),
        "an empty transaction may be aborted, and takes an epoch"
    );
}

#[tokio::test]
async fn an_open_transaction_is_found_again_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let start = async || {
        let config = BrokerConfig::embedded().with_data_dir(dir.path());
        let broker = Broker::start(config).await.unwrap();
        let client = Client::connect(&broker).await;
        (broker, client)
    };
    let (broker, mut client) = start().await;
    client.create("t", 1, &[]).await;
    let mut done = Producer::begin(&mut client, "done", CLASSIC).await;
    done.send(&mut client, "t", "committed").await;
    assert_eq!(done.commit_offset(&mut client, "t", 1).await, ErrorCode::None);
    done.end(&mut client, true).await;
    let mut open = Producer::begin(&mut client, "open", CLASSIC).await;
    open.send(&mut client, "t", "open").await;
    assert_eq!(open.commit_offset(&mut client, "t", 7).await, ErrorCode::None);
    broker.abandon().await;

    let (broker, mut client) = start().await;
    assert_eq!(committed(&mut client, "t").await, ["committed"]);
    assert_eq!(
        group_offset(&mut client, "t", true).await,
        (ErrorCode::UnstableOffsetCommit, -1)
    );
    assert_eq!(group_offset(&mut client, "t", false).await, (ErrorCode::None, 1));
    open.send(&mut client, "t", "after").await;
    open.end(&mut client, true).await;
    assert_eq!(committed(&mut client, "t").await, ["committed", "open", "after"]);
    assert_eq!(group_offset(&mut client, "t", true).await, (ErrorCode::None, 7));
    broker.abandon().await;

    let (_broker, mut client) = start().await;
    assert_eq!(committed(&mut client, "t").await, ["committed", "open", "after"]);
    assert_eq!(group_offset(&mut client, "t", true).await, (ErrorCode::None, 7));
    let again = client.call(&init("open"), 4).await;
    assert_eq!(
        (again.producer_id, again.producer_epoch),
        (open.id, open.epoch + 1)
    );
}

#[tokio::test]
async fn a_deleted_topic_keeps_no_transaction_from_ending() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    client.create("gone", 1, &[]).await;
    let mut producer = Producer::begin(&mut client, "writer", CLASSIC).await;
    producer.send(&mut client, "t", "a").await;
    producer.sequence = 0;
    producer.send(&mut client, "gone", "b").await;
    let delete = tidemill_protocol::messages::delete_topics::DeleteTopicsRequest {
        topic_names: vec!["gone".into()],
        timeout_ms: 1_000,
        ..Default::default()
    };
    assert_eq!(
        client.call(&delete, 5).await.responses[0].error_code,
        ErrorCode::None
    );
    producer.end(&mut client, true).await;
    assert_eq!(committed(&mut client, "t").await, ["a"]);
    assert_eq!(Producer::begin(&mut client, "writer", CLASSIC).await.epoch, 1);
}
