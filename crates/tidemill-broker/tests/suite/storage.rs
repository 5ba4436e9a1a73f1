//! What the broker does to its files over time: retention, flushes, and what follows when the disk refuses.

use std::sync::Arc;
use std::time::Duration;

use crate::support::faulty_disk::{Fault, FaultyDisk};
use crate::support::{Client, batch, create_request, values};
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use tidemill_protocol::messages::describe_log_dirs::DescribeLogDirsRequest;
use tidemill_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use tidemill_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// An embedded broker that looks after retention all the time.
fn eager() -> BrokerConfig {
    BrokerConfig::embedded()
        .set("log.retention.check.interval.ms", 5)
        .unwrap()
        .set("log.initial.task.delay.ms", 0)
        .unwrap()
}

async fn offset(client: &mut Client, topic: &str, which: i64) -> i64 {
    let partition = ListOffsetsPartition {
        partition_index: 0,
        timestamp: which,
        current_leader_epoch: -1,
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let answer = client.call(&request, 5).await.topics[0].partitions[0].clone();
    assert_eq!(answer.error_code, ErrorCode::None);
    answer.offset
}

/// Asks again and again until `topic` starts at `start` or later, and says where.
async fn starts_at(client: &mut Client, topic: &str, start: i64) -> i64 {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let earliest = offset(client, topic, EARLIEST).await;
            if earliest >= start {
                return earliest;
            }
        }
    });
    waited.await.expect("retention moves the start")
}

/// The bytes of the only partition there is.
async fn size(client: &mut Client) -> i64 {
    let request = DescribeLogDirsRequest { topics: None };
    client.call(&request, 4).await.results[0].topics[0].partitions[0].partition_size
}

#[tokio::test]
async fn records_past_their_time_go_and_younger_ones_stay() {
    let broker = Broker::start(eager()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("kept", 1, &[("retention.ms", "-1")]).await;
    client.create("old", 1, &[("retention.ms", "1000")]).await;
    for topic in ["kept", "old"] {
        // Records of the year 1970.
        client.produce(topic, 0, batch(&["a", "b"])).await;
    }
    assert_eq!(starts_at(&mut client, "old", 1).await, 2);
    assert_eq!(offset(&mut client, "old", LATEST).await, 2);
    assert_eq!(offset(&mut client, "kept", EARLIEST).await, 0);
    assert_eq!(
        client.fetch("old", 0, 0).await.error_code,
        ErrorCode::OffsetOutOfRange
    );
    assert_eq!(client.produce("old", 0, batch(&["c"])).await.base_offset, 2);
    broker.shutdown().await;
}

#[tokio::test]
async fn segments_above_retention_bytes_go_oldest_first() {
    let broker = Broker::start(eager()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    let configs = [
        ("retention.ms", "-1"),
        ("retention.bytes", "1000"),
        ("segment.bytes", "500"),
    ];
    client.create("t", 1, &configs).await;
    let value = "x".repeat(150);
    for _ in 0..40 {
        client.produce("t", 0, batch(&[&value])).await;
    }
    let settled = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let size = size(&mut client).await;
            if size < 1500 {
                return size;
            }
        }
    });
    let size = settled.await.expect("segments go until few enough are left");
    assert!(size >= 1000, "{size} bytes are left");
    let start = offset(&mut client, "t", EARLIEST).await;
    let left = values(&client.fetch("t", 0, start).await.records);
    assert_eq!(left[0], (start, value));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_shorter_retention_holds_from_when_it_is_set() {
    let broker = Broker::start(eager()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 1, &[("retention.ms", "-1")]).await;
    client.produce("t", 0, batch(&["a"])).await;
    let config = AlterableConfig {
        name: "retention.ms".into(),
        config_operation: 0,
        value: Some("1".into()),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![config],
        }],
        validate_only: false,
    };
    let answer = client.call(&request, 1).await;
    assert_eq!(answer.responses[0].error_code, ErrorCode::None);
    assert_eq!(starts_at(&mut client, "t", 1).await, 1);
    broker.shutdown().await;
}

#[tokio::test]
async fn deleted_records_free_the_segments_that_hold_nothing_else() {
    let broker = Broker::start(BrokerConfig::embedded()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client
        .create("t", 1, &[("retention.ms", "-1"), ("segment.bytes", "300")])
        .await;
    for _ in 0..20 {
        client.produce("t", 0, batch(&["value"])).await;
    }
    let before = size(&mut client).await;
    let request = deletion(19);
    let told = client.call(&request, 2).await.topics[0].partitions[0].low_watermark;
    assert_eq!(told, 19);
    assert!(size(&mut client).await < before / 4);
    broker.shutdown().await;
}

/// Of the records of `t` before `offset`.
fn deletion(offset: i64) -> DeleteRecordsRequest {
    DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset,
            }],
        }],
        timeout_ms: 1000,
    }
}

#[tokio::test]
async fn records_are_told_to_be_gone_only_once_that_is_written_down() {
    let disk = FaultyDisk::new();
    let config = BrokerConfig::embedded().with_disk(Arc::new(disk.clone()));
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, batch(&["a", "b"])).await;
    disk.fail(Fault::Write("log-start-offset-checkpoint"));
    let answer = client.call(&deletion(1), 2).await.topics[0].partitions[0].clone();
    assert_eq!(answer.error_code, ErrorCode::KafkaStorageError);
    disk.heal();
    let answer = client.call(&deletion(1), 2).await.topics[0].partitions[0].clone();
    assert_eq!((answer.error_code, answer.low_watermark), (ErrorCode::None, 1));
    broker.shutdown().await;
}

#[tokio::test]
async fn flush_messages_syncs_before_the_answer_and_flush_ms_by_the_clock() {
    let disk = FaultyDisk::new();
    let config = BrokerConfig::embedded().with_disk(Arc::new(disk.clone()));
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("each", 1, &[("flush.messages", "1")]).await;
    client.create("second", 1, &[("flush.messages", "2")]).await;
    client.create("timed", 1, &[("flush.ms", "1")]).await;
    client.create("never", 1, &[]).await;
    for synced in 1..=2 {
        for topic in ["each", "second", "timed", "never"] {
            client.produce(topic, 0, batch(&["a"])).await;
        }
        assert_eq!(disk.syncs_of("each-0"), synced);
        assert_eq!(disk.syncs_of("second-0"), synced / 2);
    }
    tokio::time::timeout(Duration::from_secs(60), disk.synced("timed-0"))
        .await
        .unwrap();
    assert_eq!(disk.syncs_of("never-0"), 0);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_failed_sync_makes_its_partition_read_only_and_nothing_else() {
    let disk = FaultyDisk::new();
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig::embedded()
        .with_data_dir(dir.path())
        .with_disk(Arc::new(disk.clone()));
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    for topic in ["sick", "well"] {
        client.create(topic, 1, &[("flush.messages", "1")]).await;
        let answer = client.produce(topic, 0, batch(&["a"])).await;
        assert_eq!(answer.error_code, ErrorCode::None);
    }
    disk.fail(Fault::Sync("sick-0"));
    let answer = client.produce("sick", 0, batch(&["b"])).await;
    assert_eq!(answer.error_code, ErrorCode::KafkaStorageError);
    // A later sync could succeed although pages were lost: the partition stays closed for writing.
    disk.heal();
    let answer = client.produce("sick", 0, batch(&["c"])).await;
    assert_eq!(answer.error_code, ErrorCode::KafkaStorageError);
    assert_eq!(
        values(&client.fetch("sick", 0, 0).await.records)[0],
        (0, "a".into())
    );
    assert_eq!(client.produce("well", 0, batch(&["b"])).await.base_offset, 1);
    broker.shutdown().await;

    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    let answer = client.produce("sick", 0, batch(&["d"])).await;
    assert_eq!(
        answer.error_code,
        ErrorCode::None,
        "a restart looks at what is there"
    );
    assert_eq!(values(&client.fetch("well", 0, 0).await.records).len(), 2);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_full_disk_refuses_the_write_and_takes_it_once_there_is_room() {
    let disk = FaultyDisk::new();
    let config = BrokerConfig::embedded().with_disk(Arc::new(disk.clone()));
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("full", 1, &[]).await;
    client.create("room", 1, &[]).await;
    client.produce("full", 0, batch(&["a"])).await;
    disk.fail(Fault::Write("full-0"));
    for _ in 0..3 {
        let answer = client.produce("full", 0, batch(&["b"])).await;
        assert_eq!(answer.error_code, ErrorCode::KafkaStorageError);
        assert_eq!(
            client.produce("room", 0, batch(&["b"])).await.error_code,
            ErrorCode::None
        );
    }
    disk.heal();
    assert_eq!(client.produce("full", 0, batch(&["c"])).await.base_offset, 1);
    let found = values(&client.fetch("full", 0, 0).await.records);
    assert_eq!(found, [(0, "a".to_string()), (1, "c".to_string())]);
    broker.shutdown().await;
}

/// Partitions of the first try were left, taken for those of the second, and deleted with its records by the next start,
/// since they bore the first topic's id.
#[tokio::test]
async fn a_topic_that_could_not_be_made_leaves_nothing_to_the_next_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let config = BrokerConfig::embedded()
        .with_data_dir(dir.path())
        .with_disk(Arc::new(disk.clone()));
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    for (topic, second) in [("half", "half-1"), ("lost", "lost-1")] {
        disk.fail(Fault::Write(second));
        let answer = client.call(&create_request(topic, 2, &[]), 5).await;
        assert_eq!(answer.topics[0].error_code, ErrorCode::KafkaStorageError);
    }
    disk.heal();
    client.create("half", 2, &[]).await;
    client.produce("half", 0, batch(&["a"])).await;
    broker.shutdown().await;

    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    assert_eq!(
        values(&client.fetch("half", 0, 0).await.records),
        [(0, "a".to_string())]
    );
    client.create("lost", 2, &[]).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_compacted_topic_keeps_the_last_value_of_each_key() {
    let config = BrokerConfig::embedded()
        .set("log.cleaner.backoff.ms", 5)
        .unwrap()
        .set("log.cleaner.threads", 2)
        .unwrap();
    let broker = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "500"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    client.create("t", 1, &configs).await;
    client
        .create("whole", 1, &[("segment.bytes", "500"), ("retention.ms", "-1")])
        .await;
    for n in 0..50 {
        for topic in ["t", "whole"] {
            // Every record has the same key.
            client.produce(topic, 0, batch(&[&n.to_string()])).await;
        }
    }
    let compacted = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let found = values(&client.fetch("t", 0, 0).await.records);
            if found.first().is_some_and(|(offset, _)| *offset > 35) {
                return found;
            }
        }
    });
    let first = compacted.await.expect("compaction takes the old values away");
    assert!(first.len() <= 10, "{first:?}");
    assert_eq!(offset(&mut client, "t", EARLIEST).await, 0);
    assert_eq!(offset(&mut client, "t", LATEST).await, 50);
    assert_eq!(
        values(&client.fetch("whole", 0, 0).await.records)[0],
        (0, "0".to_string())
    );
    broker.shutdown().await;
}

/// What the HTTP port answers to a GET.
async fn get(broker: &Broker, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(broker.http_address().unwrap())
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_and_health_are_served_over_http() {
    let disk = FaultyDisk::new();
    let config = BrokerConfig::embedded()
        .with_disk(Arc::new(disk.clone()))
        .set("tidemill.http.listener", "127.0.0.1:0")
        .unwrap();
    let broker = Broker::start(config.clone()).await.unwrap();
    let other = Broker::start(config).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("t", 2, &[("flush.messages", "1")]).await;
    client.produce("t", 1, batch(&["a"])).await;
    let metrics = get(&broker, "/metrics").await;
    for line in [
        "tidemill_requests_total{api=\"Produce\"} 1",
        "tidemill_request_seconds_count{api=\"CreateTopics\"} 1",
        "tidemill_connections 1",
        "tidemill_partitions 2",
        "tidemill_read_only_partitions 0",
    ] {
        assert!(
            metrics.lines().any(|one| one == line),
            "{line} is not in {metrics}"
        );
    }
    assert!(get(&other, "/metrics").await.contains("tidemill_partitions 0"));
    let health = get(&broker, "/health").await;
    assert!(
        health.starts_with("HTTP/1.1 200") && health.contains("\"status\":\"ok\""),
        "{health}"
    );
    disk.fail(Fault::Sync("t-1"));
    client.produce("t", 1, batch(&["b"])).await;
    let health = get(&broker, "/health").await;
    assert!(
        health.starts_with("HTTP/1.1 503") && health.contains("\"t-1\""),
        "{health}"
    );
    assert!(get(&broker, "/other").await.starts_with("HTTP/1.1 404"));
    broker.shutdown().await;
    other.shutdown().await;
}
