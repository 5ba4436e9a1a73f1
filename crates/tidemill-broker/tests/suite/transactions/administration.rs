//! What administrators see of transactions and do to them, and when names and producers are forgotten.

use std::time::Duration;

use super::*;
use tidemill_protocol::messages::{
    api_versions::ApiVersionsRequest,
    describe_producers::{DescribeProducersRequest, ProducerState, TopicRequest},
    describe_transactions::DescribeTransactionsRequest,
    find_coordinator::FindCoordinatorRequest,
    list_transactions::ListTransactionsRequest,
    write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest},
};

#[tokio::test]
async fn features_and_coordinators_are_told() {
    let (broker, mut client) = pair().await;
    let asked = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
    };
    for (version, supported) in [(3, 0), (4, 1)] {
        let answer = client.call(&asked, version).await;
        let of_transactions = answer
            .finalized_features
            .iter()
            .find(|f| &*f.name == "transaction.version");
        assert_eq!(of_transactions.unwrap().max_version_level, 2);
        let names = answer
            .supported_features
            .iter()
            .filter(|f| &*f.name == "transaction.version");
        assert_eq!(
            names.count(),
            supported,
            "a range from 0 is for version 4 and later"
        );
    }
    let request = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["writer".into()],
        ..Default::default()
    };
    let answer = client.call(&request, 5).await;
    assert_eq!(answer.coordinators[0].error_code, ErrorCode::None);
    assert_eq!(answer.coordinators[0].port, i32::from(broker.address().port()));
}

#[tokio::test]
async fn administrators_see_transactions_and_end_hung_ones() {
    let (_broker, mut client) = pair().await;
    client.create("t", 2, &[]).await;
    let mut producer = Producer::begin(&mut client, "writer", CLASSIC).await;
    producer.send(&mut client, "t", "a").await;

    let ids = vec!["writer".into(), "nobody".into(), "".into()];
    let request = DescribeTransactionsRequest {
        transactional_ids: ids,
    };
    let described = client.call(&request, 0).await.transaction_states;
    assert_eq!(
        (&*described[0].transaction_state, described[0].producer_id),
        ("Ongoing", producer.id)
    );
    assert_eq!(
        (
            &*described[0].topics[0].topic,
            &described[0].topics[0].partitions[..]
        ),
        ("t", &[0][..])
    );
    assert!(described[0].transaction_start_time_ms > 0);
    assert_eq!(described[1].error_code, ErrorCode::TransactionalIdNotFound);
    assert_eq!(described[2].error_code, ErrorCode::InvalidRequest);

    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0, 1, 2],
        }],
    };
    let partitions = client.call(&request, 0).await.topics[0].partitions.clone();
    let found = &partitions[0].active_producers[0];
    assert_eq!(
        (
            found.producer_id,
            found.last_sequence,
            found.current_txn_start_offset
        ),
        (producer.id, 0, 0)
    );
    assert!(partitions[1].active_producers.is_empty());
    assert_eq!(partitions[2].error_code, ErrorCode::UnknownTopicOrPartition);

    let marker = |epoch, transaction_version| WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: producer.id,
            producer_epoch: epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: "t".into(),
                partition_indexes: vec![0],
            }],
            coordinator_epoch: 0,
            transaction_version,
        }],
    };
    for (epoch, version, expected) in [
        (producer.epoch, 2, ErrorCode::InvalidProducerEpoch),
        (producer.epoch, 1, ErrorCode::None),
    ] {
        let answer = client.call(&marker(epoch, version), 2).await;
        let code = answer.markers[0].topics[0].partitions[0].error_code;
        assert_eq!(code, expected, "transaction.version {version}");
    }
    assert_eq!(latest(&mut client, "t", 1).await, 2);
    assert_eq!(committed(&mut client, "t").await, Vec::<String>::new());
}

#[tokio::test]
async fn transactions_are_listed_by_state_producer_and_name() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let idle = Producer::begin(&mut client, "idle", CLASSIC).await;
    let mut busy = Producer::begin(&mut client, "busy", CLASSIC).await;
    busy.send(&mut client, "t", "a").await;
    let mut list = async |request: ListTransactionsRequest| {
        let answer = client.call(&request, 2).await;
        let names = answer
            .transaction_states
            .iter()
            .map(|state| state.transactional_id.to_string());
        (
            names.collect::<Vec<_>>(),
            answer.unknown_state_filters,
            answer.error_code,
        )
    };
    assert_eq!(list(Default::default()).await.0, ["busy", "idle"]);
    let by_state = ListTransactionsRequest {
        state_filters: vec!["Ongoing".into(), "Dreaming".into()],
        ..Default::default()
    };
    assert_eq!(
        list(by_state).await,
        (vec!["busy".to_owned()], vec!["Dreaming".into()], ErrorCode::None)
    );
    let by_producer = ListTransactionsRequest {
        producer_id_filters: vec![idle.id],
        ..Default::default()
    };
    assert_eq!(list(by_producer).await.0, ["idle"]);
    let by_age = ListTransactionsRequest {
        duration_filter: 3_600_000,
        ..Default::default()
    };
    assert!(list(by_age).await.0.is_empty());
    let named = |pattern: &str| ListTransactionsRequest {
        transactional_id_pattern: Some(pattern.into()),
        ..Default::default()
    };
    assert_eq!(list(named("b.*")).await.0, ["busy"]);
    assert!(
        list(named("b")).await.0.is_empty(),
        "the whole name, not a part of it"
    );
    for broken in ["(", "a)|(b"] {
        assert_eq!(list(named(broken)).await.2, ErrorCode::InvalidRegularExpression);
    }
}

async fn listed(client: &mut Client) -> Vec<String> {
    let answer = client.call(&ListTransactionsRequest::default(), 2).await;
    let names = answer.transaction_states.iter();
    names.map(|state| state.transactional_id.to_string()).collect()
}

async fn producers_of(client: &mut Client, topic: &str) -> Vec<ProducerState> {
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: topic.into(),
            partition_indexes: vec![0],
        }],
    };
    client.call(&request, 0).await.topics[0].partitions[0]
        .active_producers
        .clone()
}

#[tokio::test]
async fn names_and_producers_that_nobody_uses_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::embedded().with_data_dir(dir.path());
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 1, &[]).await;
    let mut done = Producer::begin(&mut client, "done", CLASSIC).await;
    done.send(&mut client, "t", "a").await;
    done.end(&mut client, true).await;
    let mut open = Producer::begin(&mut client, "open", CLASSIC).await;
    open.send(&mut client, "t", "b").await;
    assert_eq!(listed(&mut client).await, ["done", "open"]);
    assert_eq!(producers_of(&mut client, "t").await.len(), 2);
    broker.shutdown().await;

    // Where time is short, what has ended goes; a transaction that is open is kept, however long it is silent.
    let impatient = config
        .set("transactional.id.expiration.ms", 1)
        .unwrap()
        .set("producer.id.expiration.ms", 1)
        .unwrap();
    let broker = Broker::start(impatient).await.unwrap();
    let mut client = Client::connect(&broker).await;
    let forgotten = tokio::time::timeout(Duration::from_secs(60), async {
        while listed(&mut client).await != ["open"] || producers_of(&mut client, "t").await.len() != 1 {
            tokio::task::yield_now().await;
        }
    });
    forgotten.await.expect("what has ended is forgotten");
    assert_eq!(producers_of(&mut client, "t").await[0].producer_id, open.id);
    open.end(&mut client, true).await;
    assert_eq!(committed(&mut client, "t").await, ["a", "b"], "records are not");
    let again = Producer::begin(&mut client, "done", CLASSIC).await;
    assert_ne!(again.id, done.id, "who comes back is new");
    assert_eq!(again.epoch, 0);
    broker.shutdown().await;
}
