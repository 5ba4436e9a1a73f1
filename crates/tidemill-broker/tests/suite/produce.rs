//! What Produce takes and refuses.

use crate::support::{Client, batch, batch_with, pair, produce_request, values};
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::batch::{BatchBuilder, ProducerStamp};
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::init_producer_id::InitProducerIdRequest;
use tidemill_protocol::messages::metadata::MetadataRequest;

fn sequenced(producer_id: i64, epoch: i16, sequence: i32, value: &str) -> bytes::Bytes {
    let stamp = ProducerStamp {
        id: producer_id,
        epoch,
        base_sequence: sequence,
    };
    let mut builder = BatchBuilder::new(Compression::None).producer(stamp);
    builder.push(1000, Some(b"key"), Some(value.as_bytes()), []);
    builder.build()
}

#[tokio::test]
async fn every_compression_comes_back_as_it_went_in() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let all = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for (n, compression) in all.into_iter().enumerate() {
        let response = client.produce("t", 0, batch_with(compression, &["a", "b"])).await;
        assert_eq!(
            (response.error_code, response.base_offset),
            (ErrorCode::None, 2 * n as i64)
        );
    }
    let found = values(&client.fetch("t", 0, 0).await.records);
    let expected: Vec<_> = (0..10)
        .map(|offset| (offset, if offset % 2 == 0 { "a" } else { "b" }.to_string()))
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn zstd_needs_version_7() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let zstd = batch_with(Compression::Zstd, &["a"]);
    assert_eq!(
        client.produce_as("t", 0, zstd.clone(), 6).await.error_code,
        ErrorCode::UnsupportedCompressionType
    );
    assert_eq!(
        client.produce_as("t", 0, zstd, 7).await.error_code,
        ErrorCode::None
    );
}

#[tokio::test]
async fn a_flipped_bit_is_corrupt_and_nothing_is_written() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut bytes = batch(&["value"]).to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(
        client.produce("t", 0, bytes.into()).await.error_code,
        ErrorCode::CorruptMessage
    );
    assert_eq!(client.fetch("t", 0, 0).await.high_watermark, 0);
}

#[tokio::test]
async fn a_batch_above_max_message_bytes_is_too_large() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[("max.message.bytes", "100")]).await;
    let large = "x".repeat(200);
    assert_eq!(
        client.produce("t", 0, batch(&[&large])).await.error_code,
        ErrorCode::MessageTooLarge
    );
    assert_eq!(
        client.produce("t", 0, batch(&["x"])).await.error_code,
        ErrorCode::None
    );
}

#[tokio::test]
async fn a_compacted_topic_refuses_a_record_without_a_key_and_names_it() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[("cleanup.policy", "compact")]).await;
    for compression in [Compression::None, Compression::Lz4] {
        let mut builder = BatchBuilder::new(compression);
        builder.push(1000, Some(b"key"), Some(b"a"), []);
        builder.push(1000, None, Some(b"b"), []);
        let response = client.produce("t", 0, builder.build()).await;
        assert_eq!(response.error_code, ErrorCode::InvalidRecord);
        assert_eq!(response.record_errors[0].batch_index, 1);
    }
}

#[tokio::test]
async fn control_batches_and_empty_requests_are_invalid_records() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut control = BatchBuilder::new(Compression::None).control();
    control.push(1000, Some(b"\0\0\0\0"), Some(b"x"), []);
    assert_eq!(
        client.produce("t", 0, control.build()).await.error_code,
        ErrorCode::InvalidRecord
    );
    assert_eq!(
        client.produce("t", 0, bytes::Bytes::new()).await.error_code,
        ErrorCode::InvalidRecord
    );
}

#[tokio::test]
async fn unknown_places_odd_acks_and_internal_topics_are_refused() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    client.create("__consumer_offsets", 1, &[]).await;
    assert_eq!(
        client.produce("t", 1, batch(&["a"])).await.error_code,
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(
        client.produce("t", -1, batch(&["a"])).await.error_code,
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(
        client.produce("u", 0, batch(&["a"])).await.error_code,
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(
        client
            .produce("__consumer_offsets", 0, batch(&["a"]))
            .await
            .error_code,
        ErrorCode::InvalidTopicException
    );
    let response = client.call(&produce_request("t", 0, batch(&["a"]), 2), 9).await;
    assert_eq!(
        response.responses[0].partition_responses[0].error_code,
        ErrorCode::InvalidRequiredAcks
    );
}

#[tokio::test]
async fn duplicates_get_the_old_offset_and_gaps_are_refused() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let init = InitProducerIdRequest {
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let id = client.call(&init, 4).await.producer_id;
    assert_ne!(client.call(&init, 4).await.producer_id, id);
    for (sequence, expected) in [(0, 0), (1, 1), (0, 0), (1, 1), (2, 2)] {
        let response = client.produce("t", 0, sequenced(id, 0, sequence, "v")).await;
        assert_eq!(
            (response.error_code, response.base_offset),
            (ErrorCode::None, expected)
        );
    }
    assert_eq!(
        client.produce("t", 0, sequenced(id, 0, 7, "v")).await.error_code,
        ErrorCode::OutOfOrderSequenceNumber
    );
    assert_eq!(
        client.produce("t", 0, sequenced(id, 1, 0, "v")).await.base_offset,
        3
    );
    assert_eq!(
        client.produce("t", 0, sequenced(id, 0, 3, "v")).await.error_code,
        ErrorCode::InvalidProducerEpoch
    );
}

#[tokio::test]
async fn a_restart_remembers_topics_records_producers_and_ids() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::embedded().with_data_dir(dir.path());
    let init = InitProducerIdRequest {
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let mut last_id = -1;
    for round in 0..3 {
        let broker = Broker::start(config.clone()).await.unwrap();
        let mut client = Client::connect(&broker).await;
        if round == 0 {
            client.create("t", 2, &[("retention.ms", "1234567")]).await;
        }
        let id = client.call(&init, 4).await.producer_id;
        assert!(id > last_id);
        last_id = id;
        // The batch of the round before is known to be a duplicate.
        let sequence = (round - 1).max(0);
        assert_eq!(
            client
                .produce("t", 1, sequenced(500_000, 0, sequence, "v"))
                .await
                .base_offset,
            i64::from(sequence)
        );
        if round > 0 {
            assert_eq!(
                client
                    .produce("t", 1, sequenced(500_000, 0, round, "v"))
                    .await
                    .base_offset,
                i64::from(round)
            );
        }
        // In good order, and as after a crash.
        if round == 0 {
            broker.shutdown().await
        } else {
            broker.abandon().await
        }
    }
}

#[tokio::test]
async fn topics_are_produced_to_by_id_from_version_13_on() {
    let (broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let request = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let id = client.call(&request, 12).await.topics[0].topic_id;
    let mut request = produce_request("", 0, batch(&["a"]), 1);
    request.topic_data[0].topic_id = id;
    let topic = client.call(&request, 13).await.responses[0].clone();
    assert_eq!(topic.topic_id, id);
    assert_eq!(topic.partition_responses[0].error_code, ErrorCode::None);
    assert_eq!(
        values(&client.fetch("t", 0, 0).await.records),
        [(0, "a".to_string())]
    );
    request.topic_data[0].topic_id = tidemill_protocol::Uuid::from_u128(1);
    let topic = client.call(&request, 13).await.responses[0].clone();
    assert_eq!(topic.partition_responses[0].error_code, ErrorCode::UnknownTopicId);
    request.topic_data[0].topic_id = id;
    request.topic_data[0].partition_data[0].index = 7;
    let topic = client.call(&request, 13).await.responses[0].clone();
    assert_eq!(
        topic.partition_responses[0].error_code,
        ErrorCode::UnknownTopicOrPartition
    );
    broker.shutdown().await;
}
