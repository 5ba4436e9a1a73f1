//! Numbers at the ends of their ranges.

use tidemill_protocol::ErrorCode;
use tidemill_protocol::batch::BatchBuilder;
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use tidemill_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};

use crate::support::{Client, batch, fetch_request, values};
use crate::{healthy, is_healthy};

async fn delete_before(client: &mut Client, offset: i64) -> (ErrorCode, i64) {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset,
            }],
        }],
        timeout_ms: i32::MIN,
    };
    let told = client.call(&request, 2).await.topics[0].partitions[0].clone();
    (told.error_code, told.low_watermark)
}

async fn at_time(client: &mut Client, timestamp: i64) -> ListOffsetsPartitionResponse {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: 0,
                timestamp,
                current_leader_epoch: -1,
            }],
        }],
        ..Default::default()
    };
    client.call(&request, 7).await.topics[0].partitions[0].clone()
}

#[tokio::test]
async fn extreme_offsets_and_times_are_errors_or_answers() {
    let (broker, mut client) = healthy().await;
    client.create("t", 1, &[("retention.ms", "-1")]).await;
    let codes = [
        (i64::MIN, ErrorCode::None),
        (-1, ErrorCode::None),
        (0, ErrorCode::None),
        (i64::MAX - 1, ErrorCode::InvalidTimestamp),
        (i64::MAX, ErrorCode::InvalidTimestamp),
    ];
    for (time, expected) in codes {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(time, Some(b"key"), Some(b"value"), []);
        let code = client.produce("t", 0, builder.build()).await.error_code;
        assert_eq!(code, expected, "{time}");
    }
    client.produce("t", 0, batch(&["at 1000"])).await;
    for offset in [i64::MIN, -1, 5, i64::MAX - 1, i64::MAX] {
        let code = client.fetch("t", 0, offset).await.error_code;
        assert_eq!(code, ErrorCode::OffsetOutOfRange, "{offset}");
    }
    for offset in [i64::MIN, -2, 5, i64::MAX - 1, i64::MAX] {
        assert_eq!(
            delete_before(&mut client, offset).await,
            (ErrorCode::OffsetOutOfRange, -1),
            "{offset}"
        );
    }
    for (time, offset, timestamp) in [
        (1, 3, 1000),
        (1000, 3, 1000),
        (1001, -1, -1),
        (i64::MAX - 1, -1, -1),
        (i64::MAX, -1, -1),
        (-1, 4, -1),
        (-2, 0, -1),
        (-3, 3, 1000),
    ] {
        let found = at_time(&mut client, time).await;
        assert_eq!(
            (found.error_code, found.offset, found.timestamp),
            (ErrorCode::None, offset, timestamp),
            "{time}"
        );
    }
    let mut request = fetch_request("t", 0, 0);
    request.max_wait_ms = i32::MIN;
    request.min_bytes = i32::MIN;
    request.max_bytes = i32::MIN;
    request.topics[0].partitions[0].partition_max_bytes = i32::MIN;
    let fetched = client.call(&request, 11).await.responses[0].partitions[0].clone();
    // The first batch comes whatever the limits say, or a consumer would never get on.
    assert_eq!(fetched.error_code, ErrorCode::None);
    assert_eq!(values(&fetched.records), [(0, "value".to_string())]);
    assert_eq!(delete_before(&mut client, -1).await, (ErrorCode::None, 4));
    is_healthy(&mut client, "after").await;
    broker.shutdown().await;
}
