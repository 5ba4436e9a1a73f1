//! What Fetch, ListOffsets and OffsetForLeaderEpoch answer.

use crate::support::{Client, batch, batch_with, fetch_request, pair, values};
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::fetch::{FetchRequest, FetchTopic, ForgottenTopic};
use tidemill_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use tidemill_protocol::messages::metadata::MetadataRequest;
use tidemill_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use tidemill_protocol::{ErrorCode, Uuid};

#[tokio::test]
async fn a_fetch_inside_a_batch_gets_the_whole_batch() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, batch(&["a", "b", "c"])).await;
    client.produce("t", 0, batch(&["d"])).await;
    let found = values(&client.fetch("t", 0, 1).await.records);
    assert_eq!(
        found.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c", "d"]
    );
    assert_eq!(
        values(&client.fetch("t", 0, 3).await.records),
        [(3, "d".to_string())]
    );
}

#[tokio::test]
async fn offsets_outside_the_log_and_wrong_epochs_are_errors() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, batch(&["a"])).await;
    assert_eq!(
        client.fetch("t", 0, 2).await.error_code,
        ErrorCode::OffsetOutOfRange
    );
    assert_eq!(
        client.fetch("t", 0, -1).await.error_code,
        ErrorCode::OffsetOutOfRange
    );
    assert_eq!(
        client.fetch("t", 1, 0).await.error_code,
        ErrorCode::UnknownTopicOrPartition
    );
    let mut newer = fetch_request("t", 0, 0);
    newer.topics[0].partitions[0].current_leader_epoch = 1;
    let response = client.call(&newer, 11).await;
    assert_eq!(
        response.responses[0].partitions[0].error_code,
        ErrorCode::UnknownLeaderEpoch
    );
}

/// As Kafka 4 answers: the topic's setting decides, and what producers compressed is theirs to agree on.
#[tokio::test]
async fn a_topic_of_zstd_needs_version_10() {
    let (_broker, mut client) = pair().await;
    client
        .create("by-topic", 1, &[("compression.type", "zstd")])
        .await;
    client.create("by-producer", 1, &[]).await;
    for topic in ["by-topic", "by-producer"] {
        client
            .produce(topic, 0, batch_with(Compression::Zstd, &["a"]))
            .await;
    }
    for (topic, version, expected) in [
        ("by-topic", 9, ErrorCode::UnsupportedCompressionType),
        ("by-topic", 10, ErrorCode::None),
        ("by-producer", 9, ErrorCode::None),
    ] {
        let response = client.call(&fetch_request(topic, 0, 0), version).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, expected, "{topic} at version {version}");
        let records = match expected {
            ErrorCode::None => vec![(0, "a".to_string())],
            _ => vec![],
        };
        assert_eq!(
            values(&partition.records),
            records,
            "{topic} at version {version}"
        );
    }
}

#[tokio::test]
async fn the_first_batch_comes_even_if_it_is_larger_than_asked_for() {
    let (_broker, mut client) = pair().await;
    client.create("t", 2, &[]).await;
    client.produce("t", 0, batch(&["a"])).await;
    client.produce("t", 0, batch(&["b"])).await;
    client.produce("t", 1, batch(&["c"])).await;
    let mut request = fetch_request("t", 0, 0);
    let mut second = request.topics[0].partitions[0].clone();
    second.partition = 1;
    request.topics[0].partitions.push(second);
    request.max_bytes = 10;
    let response = client.call(&request, 11).await;
    assert_eq!(
        values(&response.responses[0].partitions[0].records),
        [(0, "a".to_string())]
    );
    assert_eq!(values(&response.responses[0].partitions[1].records), []);
}

#[tokio::test]
async fn a_waiting_fetch_is_woken_by_an_append() {
    let (broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut waiting = fetch_request("t", 0, 0);
    // Longer than any test may run: only the append can answer it.
    waiting.max_wait_ms = 3_600_000;
    waiting.min_bytes = 100;
    client.send(&waiting, 11).await;
    let mut producer = Client::connect(&broker).await;
    producer.produce("t", 0, batch(&["a"])).await;
    producer.produce("t", 0, batch(&["b"])).await;
    let response = client.receive::<FetchRequest>(11).await;
    let found = values(&response.responses[0].partitions[0].records);
    assert_eq!(found, [(0, "a".to_string()), (1, "b".to_string())]);
}

#[tokio::test]
async fn a_fetch_of_an_older_segment_does_not_wait_for_more_than_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::embedded().with_data_dir(dir.path());
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    // Each batch has a segment of its own.
    client.create("t", 1, &[("segment.bytes", "100")]).await;
    for value in ["a", "b", "c"] {
        client.produce("t", 0, batch(&[value])).await;
    }
    broker.shutdown().await;

    // What was written before the start is read from files, one segment at a time.
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    for (offset, value) in [(0, "a"), (1, "b")] {
        let mut request = fetch_request("t", 0, offset);
        request.max_wait_ms = 3_600_000;
        request.min_bytes = 100_000;
        let response = client.call(&request, 11).await;
        let found = values(&response.responses[0].partitions[0].records);
        assert_eq!(found, [(offset, value.to_string())]);
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn a_waiting_fetch_learns_that_its_topic_is_gone_and_a_stop_ends_it() {
    let (broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut waiting = fetch_request("t", 0, 0);
    waiting.max_wait_ms = 3_600_000;
    client.send(&waiting, 11).await;
    let mut admin = Client::connect(&broker).await;
    let delete = tidemill_protocol::messages::delete_topics::DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        ..Default::default()
    };
    assert_eq!(
        admin.call(&delete, 4).await.responses[0].error_code,
        ErrorCode::None
    );
    let response = client.receive::<FetchRequest>(11).await;
    assert!(!response.responses[0].partitions[0].error_code.is_ok());

    admin.create("u", 1, &[]).await;
    let mut waiting = fetch_request("u", 0, 0);
    waiting.max_wait_ms = 3_600_000;
    client.send(&waiting, 11).await;
    broker.shutdown().await;
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn a_session_sends_only_what_changed() {
    let (_broker, mut client) = pair().await;
    client.create("t", 2, &[]).await;
    let mut request = fetch_request("t", 0, 0);
    let mut second = request.topics[0].partitions[0].clone();
    second.partition = 1;
    request.topics[0].partitions.push(second);
    request.session_epoch = 0;
    let first = client.call(&request, 12).await;
    assert_ne!(first.session_id, 0);
    assert_eq!(first.responses[0].partitions.len(), 2);

    let mut next = FetchRequest {
        session_id: first.session_id,
        session_epoch: 1,
        topics: vec![],
        ..request.clone()
    };
    assert_eq!(client.call(&next, 12).await.responses.len(), 0);

    client.produce("t", 1, batch(&["a"])).await;
    next.session_epoch = 2;
    let response = client.call(&next, 12).await;
    assert_eq!(response.responses[0].partitions.len(), 1);
    assert_eq!(response.responses[0].partitions[0].partition_index, 1);

    next.session_epoch = 3;
    next.forgotten_topics_data = vec![ForgottenTopic {
        topic: "t".into(),
        partitions: vec![1],
        ..Default::default()
    }];
    assert_eq!(client.call(&next, 12).await.responses.len(), 0);
    next.session_epoch = 9;
    assert_eq!(
        client.call(&next, 12).await.error_code,
        ErrorCode::InvalidFetchSessionEpoch
    );
    next.session_id = 12345;
    assert_eq!(
        client.call(&next, 12).await.error_code,
        ErrorCode::FetchSessionIdNotFound
    );
}

#[tokio::test]
async fn a_fetch_by_topic_id_finds_the_topic_and_refuses_unknown_ids() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, batch(&["a"])).await;
    let topics = client
        .call(
            &MetadataRequest {
                topics: None,
                ..Default::default()
            },
            12,
        )
        .await
        .topics;
    for version in 13..=17 {
        let mut request = fetch_request("", 0, 0);
        request.topics[0].topic_id = topics[0].topic_id;
        let unknown = FetchTopic {
            topic_id: Uuid::from_u128(7),
            partitions: request.topics[0].partitions.clone(),
            ..Default::default()
        };
        request.topics.push(unknown);
        let response = client.call(&request, version).await;
        assert_eq!(response.responses[0].topic_id, topics[0].topic_id);
        assert_eq!(
            values(&response.responses[0].partitions[0].records),
            [(0, "a".to_string())]
        );
        assert_eq!(
            response.responses[1].partitions[0].error_code,
            ErrorCode::UnknownTopicId
        );
    }
}

async fn offset_of(client: &mut Client, timestamp: i64, version: i16) -> (ErrorCode, i64, i64) {
    let partition = ListOffsetsPartition {
        partition_index: 0,
        current_leader_epoch: -1,
        timestamp,
    };
    let topic = ListOffsetsTopic {
        name: "t".into(),
        partitions: vec![partition],
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let found = client.call(&request, version).await.topics[0].partitions[0].clone();
    (found.error_code, found.offset, found.timestamp)
}

#[tokio::test]
async fn offsets_are_found_by_time_and_by_name() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    assert_eq!(offset_of(&mut client, -3, 7).await, (ErrorCode::None, -1, -1));
    client.produce("t", 0, batch(&["a", "b", "c"])).await;
    assert_eq!(offset_of(&mut client, -1, 1).await, (ErrorCode::None, 3, -1));
    assert_eq!(offset_of(&mut client, -2, 1).await, (ErrorCode::None, 0, -1));
    assert_eq!(offset_of(&mut client, -3, 7).await, (ErrorCode::None, 2, 1002));
    assert_eq!(offset_of(&mut client, 0, 1).await, (ErrorCode::None, 0, 1000));
    assert_eq!(offset_of(&mut client, 1001, 1).await, (ErrorCode::None, 1, 1001));
    assert_eq!(offset_of(&mut client, 1003, 1).await, (ErrorCode::None, -1, -1));
    assert_eq!(
        offset_of(&mut client, -3, 6).await.0,
        ErrorCode::UnsupportedVersion
    );
    assert_eq!(offset_of(&mut client, -4, 8).await, (ErrorCode::None, 0, -1));
    assert_eq!(
        offset_of(&mut client, -9, 9).await.0,
        ErrorCode::UnsupportedVersion
    );
}

#[tokio::test]
async fn the_end_of_the_epoch_is_the_end_of_the_log() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, batch(&["a", "b"])).await;
    for version in 2..=4 {
        let partition = OffsetForLeaderPartition {
            partition: 0,
            current_leader_epoch: 0,
            leader_epoch: 0,
        };
        let unknown = OffsetForLeaderPartition {
            partition: 9,
            ..partition.clone()
        };
        let topic = OffsetForLeaderTopic {
            topic: "t".into(),
            partitions: vec![partition, unknown],
        };
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![topic],
        };
        let ends = client.call(&request, version).await.topics[0].partitions.clone();
        assert_eq!(
            (ends[0].error_code, ends[0].leader_epoch, ends[0].end_offset),
            (ErrorCode::None, 0, 2)
        );
        assert_eq!(ends[1].error_code, ErrorCode::UnknownTopicOrPartition);
    }
}

#[tokio::test]
async fn records_of_files_stand_where_those_of_memory_would() {
    let dir = tempfile::tempdir().unwrap();
    let config = || BrokerConfig::embedded().with_data_dir(dir.path());
    let broker = Broker::start(config()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 3, &[]).await;
    // Large enough to be sent from the file, small enough to be read, and large again: more than a socket takes at once.
    let texts = [
        "a".repeat(40_000),
        "b".repeat(100),
        "c".repeat(900_000),
        "d".repeat(20_000),
    ];
    for (partition, text) in [(0, 0), (1, 1), (2, 2), (2, 3)] {
        client.produce("t", partition, batch(&[&texts[text]])).await;
    }
    let mut request = fetch_request("t", 0, 0);
    let first = request.topics[0].partitions[0].clone();
    request.topics[0].partitions.extend([1, 2].map(|partition| {
        let mut other = first.clone();
        other.partition = partition;
        other
    }));
    request.max_bytes = 10 << 20;
    for partition in &mut request.topics[0].partitions {
        partition.partition_max_bytes = 10 << 20;
    }
    let from_memory = client.call(&request, 11).await;
    broker.shutdown().await;

    // A broker that has just started has no records in memory.
    let broker = Broker::start(config()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    let from_files = client.call(&request, 11).await;
    assert_eq!(from_files, from_memory);
    let found = |partition: usize| values(&from_files.responses[0].partitions[partition].records);
    assert_eq!(found(0), [(0, texts[0].clone())]);
    assert_eq!(found(1), [(0, texts[1].clone())]);
    assert_eq!(found(2), [(0, texts[2].clone()), (1, texts[3].clone())]);
    // The connection is in step: the next answer is the next request's.
    assert_eq!(client.fetch("t", 1, 1).await.error_code, ErrorCode::None);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_reader_that_goes_away_while_it_waits_frees_its_place_at_once() {
    let config = BrokerConfig::embedded().set("max.connections", 1).unwrap();
    let broker = Broker::start(config).await.unwrap();
    let mut waiting = Client::connect(&broker).await;
    waiting.create("t", 1, &[]).await;
    let mut request = fetch_request("t", 0, 0);
    // Longer than any test takes: without the fix the place is taken until then.
    request.max_wait_ms = i32::MAX;
    waiting.send(&request, 11).await;
    drop(waiting);
    while !Client::connect(&broker).await.is_served().await {}
}
