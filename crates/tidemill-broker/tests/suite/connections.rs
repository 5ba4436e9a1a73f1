//! Frames and headers, good and bad.

use crate::support::{Client, batch, broker, fetch_request, pair, produce_request};
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use tidemill_protocol::messages::delete_topics::DeleteTopicsRequest;
use tidemill_protocol::messages::fetch::FetchRequest;
use tidemill_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use tidemill_protocol::messages::produce::ProduceRequest;
use tidemill_protocol::{Decode, ErrorCode, Reader};

fn versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
    }
}

#[tokio::test]
async fn api_versions_answers_every_version_and_tells_produce_from_0() {
    let (_broker, mut client) = pair().await;
    for version in 0..=4 {
        let response = client.call(&versions_request(), version).await;
        assert_eq!(response.error_code, ErrorCode::None);
        let produce = response.api_keys.iter().find(|api| api.api_key == 0).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
        let fetch = response.api_keys.iter().find(|api| api.api_key == 1).unwrap();
        assert_eq!((fetch.min_version, fetch.max_version), (4, 17));
    }
}

#[tokio::test]
async fn api_versions_of_a_version_too_new_is_answered_in_version_0() {
    let (_broker, mut client) = pair().await;
    // Key 18, version 99, correlation 7, client id "a", then what only the future can read.
    client
        .write(b"\0\0\0\x10\0\x12\0\x63\0\0\0\x07\0\x01a\0\x01\x02\x03\x04")
        .await;
    let frame = client.frame().await.unwrap();
    assert_eq!(frame[..4], [0, 0, 0, 7]);
    let response = ApiVersionsResponse::decode(&mut Reader::new(&frame.slice(4..)), 0).unwrap();
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion);
    assert!(response.api_keys.iter().any(|api| api.api_key == 18));
    assert_eq!(
        client.call(&versions_request(), 3).await.error_code,
        ErrorCode::None
    );
}

#[tokio::test]
async fn bad_frames_close_their_own_connection_only() {
    let (broker, mut bystander) = pair().await;
    bystander.create("t", 1, &[]).await;
    for bytes in [
        b"\xff\xff\xff\xff".as_slice(),                              // a negative length
        b"\x7f\xff\xff\xff",                                         // two gigabytes announced
        b"\0\0\0\x08\x7f\xff\0\0\0\0\0\x01",                         // an unknown API
        b"\0\0\0\x0a\0\0\0\x02\0\0\0\x01\xff\xff", // Produce v2, which is advertised and not served
        b"\0\0\0\x0a\0\x03\0\x63\0\0\0\x01\xff\xff", // Metadata v99
        b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\x7f\xff\xff\xff", // two billion topics announced
        b"\0\0\0\x03\0\x12\0",                     // half a header
        b"\0\0\0\0",                               // nothing
    ] {
        let mut client = Client::connect(&broker).await;
        client.write(bytes).await;
        assert_eq!(client.frame().await, None, "{bytes:?}");
    }
    let mut client = Client::connect(&broker).await;
    client.write(b"\0\0\0\x20\0\x12").await;
    client.finish().await;
    assert_eq!(client.frame().await, None);
    assert_eq!(bystander.produce("t", 0, batch(&["a"])).await.base_offset, 0);
}

#[tokio::test]
async fn a_request_above_the_limit_closes_the_connection() {
    let config = BrokerConfig::embedded()
        .set("socket.request.max.bytes", 100)
        .unwrap();
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.write(&101_i32.to_be_bytes()).await;
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut slow = fetch_request("t", 0, 5);
    slow.topics[0].partitions[0].fetch_offset = 0;
    slow.max_wait_ms = 20;
    client.send(&slow, 11).await;
    for n in 0..5 {
        client
            .send(&produce_request("t", 0, batch(&[&n.to_string()]), 1), 9)
            .await;
    }
    client.send(&versions_request(), 3).await;
    assert_eq!(
        client.receive_for::<FetchRequest>(2, 11).await.error_code,
        ErrorCode::None
    );
    for n in 0..5 {
        let response = client.receive_for::<ProduceRequest>(3 + n, 9).await;
        assert_eq!(
            response.responses[0].partition_responses[0].base_offset,
            i64::from(n)
        );
    }
    client.receive_for::<ApiVersionsRequest>(8, 3).await;
}

#[tokio::test]
async fn acks_0_is_not_answered_and_a_failure_closes_the_connection() {
    let (broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    client.send(&produce_request("t", 0, batch(&["a"]), 0), 9).await;
    // The next frame is the answer to this request, not to the one before.
    client.call(&versions_request(), 3).await;
    assert_eq!(client.fetch("t", 0, 0).await.high_watermark, 1);

    let mut failing = Client::connect(&broker).await;
    failing
        .send(&produce_request("nowhere", 0, batch(&["a"]), 0), 9)
        .await;
    assert_eq!(failing.frame().await, None);
}

#[tokio::test]
async fn a_connection_above_max_connections_is_refused() {
    let broker = Broker::start(BrokerConfig::embedded().set("max.connections", 1).unwrap())
        .await
        .unwrap();
    let mut first = Client::connect(&broker).await;
    first.call(&versions_request(), 0).await;
    let mut second = Client::connect(&broker).await;
    assert_eq!(second.frame().await, None);
    first.call(&versions_request(), 0).await;
}

#[tokio::test]
async fn metadata_creates_a_topic_only_when_it_may() {
    let (_broker, mut client) = pair().await;
    let named = |name: &str| {
        Some(vec![MetadataRequestTopic {
            name: Some(name.into()),
            ..Default::default()
        }])
    };
    let mut request = MetadataRequest {
        topics: named("auto"),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let code =
        |response: &tidemill_protocol::messages::metadata::MetadataResponse| response.topics[0].error_code;
    assert_eq!(
        code(&client.call(&request, 9).await),
        ErrorCode::UnknownTopicOrPartition
    );
    request.allow_auto_topic_creation = true;
    let response = client.call(&request, 12).await;
    assert_eq!(code(&response), ErrorCode::None);
    assert_eq!(response.topics[0].partitions.len(), 1);
    let first = response.topics[0].topic_id;
    let by_id = MetadataRequestTopic {
        topic_id: response.topics[0].topic_id,
        name: None,
    };
    let response = client
        .call(
            &MetadataRequest {
                topics: Some(vec![by_id]),
                ..Default::default()
            },
            12,
        )
        .await;
    assert_eq!(response.topics[0].name.as_deref(), Some("auto"));
    // Deleted, it comes back only when the request allows it, and then as another topic.
    let delete = DeleteTopicsRequest {
        topic_names: vec!["auto".into()],
        timeout_ms: 1000,
        ..Default::default()
    };
    client.call(&delete, 5).await;
    request.allow_auto_topic_creation = false;
    assert_eq!(
        code(&client.call(&request, 12).await),
        ErrorCode::UnknownTopicOrPartition
    );
    request.allow_auto_topic_creation = true;
    let again = client.call(&request, 12).await;
    assert_eq!(code(&again), ErrorCode::None);
    assert_ne!(again.topics[0].topic_id, first);
    // Versions before 4 cannot forbid it.
    client.call(&delete, 5).await;
    assert_eq!(code(&client.call(&request, 3).await), ErrorCode::None);
    request.topics = named("not/a/name");
    assert_eq!(
        code(&client.call(&request, 9).await),
        ErrorCode::InvalidTopicException
    );
    // No topics at all is an empty list from version 1 on, and everything in version 0.
    request.topics = Some(vec![]);
    assert_eq!(client.call(&request, 1).await.topics.len(), 0);
    assert_eq!(client.call(&request, 0).await.topics.len(), 1);
    request.topics = None;
    assert_eq!(client.call(&request, 9).await.topics.len(), 1);
}

#[tokio::test]
async fn brokers_in_one_process_do_not_share_topics() {
    let (first, second) = (broker().await, broker().await);
    assert_ne!(first.address(), second.address());
    Client::connect(&first).await.create("only-here", 1, &[]).await;
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    assert_eq!(Client::connect(&second).await.call(&all, 9).await.topics.len(), 0);
}
