//! Partitions that move from one log directory to another while they are in use.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::faulty_disk::{Fault, FaultyDisk};
use crate::support::{Client, batch, values};
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use tidemill_protocol::messages::describe_log_dirs::{DescribeLogDirsPartition, DescribeLogDirsRequest};
use tidemill_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

const THROTTLE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

/// A broker with the log directories `a` and `b`, which moves `bytes_per_second`.
fn config(root: &Path, bytes_per_second: i64) -> BrokerConfig {
    let root = root.display();
    BrokerConfig::from_properties(&format!(
        "listeners=PLAINTEXT://127.0.0.1:0\nlog.dirs={root}/a,{root}/b\nlog.segment.bytes=1000\n{THROTTLE}={bytes_per_second}\n"
    ))
    .unwrap()
}

async fn start(config: BrokerConfig) -> (Broker, Client) {
    let broker = Broker::start(config).await.unwrap();
    let client = Client::connect(&broker).await;
    (broker, client)
}

fn request(dir: &Path, topic: &str, partitions: &[i32]) -> AlterReplicaLogDirsRequest {
    AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: dir.to_str().unwrap().into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: topic.into(),
                partitions: partitions.to_vec(),
            }],
        }],
    }
}

async fn codes(client: &mut Client, dir: &Path, topic: &str, partitions: &[i32]) -> Vec<ErrorCode> {
    let mut all = Vec::new();
    for version in [1, 2] {
        let answer = client.call(&request(dir, topic, partitions), version).await;
        assert_eq!(answer.results.len(), 1);
        assert_eq!(&*answer.results[0].topic_name, topic);
        let codes = answer.results[0].partitions.iter().map(|p| p.error_code);
        all.push(codes.collect::<Vec<_>>());
    }
    assert_eq!(all[0], all[1]);
    all.remove(0)
}

/// What the directory that ends in `name` tells of partition t-0.
async fn in_dir(client: &mut Client, name: &str) -> Option<DescribeLogDirsPartition> {
    let dirs = client
        .call(&DescribeLogDirsRequest { topics: None }, 4)
        .await
        .results;
    let dir = dirs.iter().find(|dir| dir.log_dir.ends_with(name)).unwrap();
    assert_eq!(dir.error_code, ErrorCode::None);
    let topic = dir.topics.iter().find(|topic| &*topic.name == "t")?;
    topic.partitions.first().cloned()
}

/// Asks again and again until the partition lies in `name` and nowhere else.
async fn moved_to(client: &mut Client, name: &str, other: &str) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while in_dir(client, other).await.is_some()
            || in_dir(client, name).await.is_none_or(|there| there.is_future_key)
        {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("the partition moves");
}

async fn unthrottle(client: &mut Client) {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 4,
            resource_name: "".into(),
            configs: vec![AlterableConfig {
                name: THROTTLE.into(),
                config_operation: 0,
                value: Some("1000000000".into()),
            }],
        }],
        validate_only: false,
    };
    let answer = client.call(&request, 1).await;
    assert_eq!(answer.responses[0].error_code, ErrorCode::None);
}

/// Topic `t` with its only partition in `a`, of several segments.
async fn filled(client: &mut Client) -> Vec<(i64, String)> {
    client.create("t", 1, &[]).await;
    assert!(
        in_dir(client, "/a")
            .await
            .is_some_and(|there| !there.is_future_key)
    );
    for n in 0..10 {
        client.produce("t", 0, batch(&[&"x".repeat(300 + n)])).await;
    }
    all(client, 10).await
}

/// The values up to `end`.
async fn all(client: &mut Client, end: i64) -> Vec<(i64, String)> {
    let mut found: Vec<(i64, String)> = Vec::new();
    while (found.len() as i64) < end {
        let fetched = client.fetch("t", 0, found.len() as i64).await;
        assert_eq!(fetched.error_code, ErrorCode::None);
        found.extend(values(&fetched.records));
    }
    found
}

#[tokio::test]
async fn a_partition_moves_while_it_is_written_to_and_stays_where_it_is() {
    let root = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(config(root.path(), 1)).await;
    let mut records = filled(&mut client).await;
    let b = root.path().join("b");
    assert_eq!(codes(&mut client, &b, "t", &[0]).await, [ErrorCode::None]);
    let future = in_dir(&mut client, "/b").await.unwrap();
    assert!(future.is_future_key && future.offset_lag > 0);
    for n in 0..5 {
        let produced = client.produce("t", 0, batch(&[&format!("during-{n}")])).await;
        assert_eq!(produced.error_code, ErrorCode::None);
        records.push((produced.base_offset, format!("during-{n}")));
        assert_eq!(all(&mut client, records.len() as i64).await, records);
    }
    assert!(
        in_dir(&mut client, "/a")
            .await
            .is_some_and(|there| !there.is_future_key)
    );
    unthrottle(&mut client).await;
    moved_to(&mut client, "/b", "/a").await;
    assert_eq!(all(&mut client, 15).await, records);
    client.produce("t", 0, batch(&["after"])).await;
    records.push((15, "after".into()));
    broker.abandon().await;

    let (broker, mut client) = start(config(root.path(), 1)).await;
    assert!(
        in_dir(&mut client, "/b")
            .await
            .is_some_and(|there| !there.is_future_key)
    );
    assert_eq!(all(&mut client, 16).await, records);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_move_is_taken_up_again_after_a_crash_and_called_off_on_request() {
    let root = tempfile::tempdir().unwrap();
    let (broker, mut client) = start(config(root.path(), 1)).await;
    let records = filled(&mut client).await;
    let (a, b) = (root.path().join("a"), root.path().join("b"));
    codes(&mut client, &b, "t", &[0]).await;
    codes(&mut client, &a, "t", &[0]).await;
    assert_eq!(in_dir(&mut client, "/b").await, None, "called off");
    codes(&mut client, &b, "t", &[0]).await;
    broker.abandon().await;

    let (broker, mut client) = start(config(root.path(), i64::MAX)).await;
    moved_to(&mut client, "/b", "/a").await;
    assert_eq!(all(&mut client, 10).await, records);
    broker.shutdown().await;
}

#[tokio::test]
async fn moves_that_cannot_be_are_refused_one_by_one() {
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (broker, mut client) = start(config(root.path(), i64::MAX).with_disk(Arc::new(disk.clone()))).await;
    filled(&mut client).await;
    let (a, b) = (root.path().join("a"), root.path().join("b"));
    assert_eq!(
        codes(&mut client, &b, "t", &[1, -1]).await,
        [ErrorCode::UnknownTopicOrPartition; 2]
    );
    assert_eq!(
        codes(&mut client, &b, "unknown", &[0]).await,
        [ErrorCode::UnknownTopicOrPartition]
    );
    for dir in ["any", "", "../b", "/", "a"] {
        let code = codes(&mut client, Path::new(dir), "t", &[0]).await;
        assert_eq!(code, [ErrorCode::LogDirNotFound], "{dir}");
    }
    assert_eq!(
        codes(&mut client, &a, "t", &[0]).await,
        [ErrorCode::None],
        "it is there"
    );
    disk.fail(Fault::Write("-future"));
    codes(&mut client, &b, "t", &[0]).await;
    // It cannot be copied, so the move is given up, and the partition works on.
    let given_up = tokio::time::timeout(Duration::from_secs(60), async {
        while in_dir(&mut client, "/b").await.is_some() {
            tokio::task::yield_now().await;
        }
    });
    given_up.await.expect("a move that fails ends");
    assert_eq!(
        client.produce("t", 0, batch(&["on"])).await.error_code,
        ErrorCode::None
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn a_partition_that_a_failed_sync_made_read_only_does_not_move() {
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (broker, mut client) = start(config(root.path(), i64::MAX).with_disk(Arc::new(disk.clone()))).await;
    client.create("t", 1, &[("flush.messages", "1")]).await;
    disk.fail(Fault::Sync("/t-0/"));
    let refused = client.produce("t", 0, batch(&["a"])).await;
    assert_eq!(refused.error_code, ErrorCode::KafkaStorageError);
    disk.heal();
    let b = root.path().join("b");
    assert_eq!(
        codes(&mut client, &b, "t", &[0]).await,
        [ErrorCode::KafkaStorageError]
    );
    broker.shutdown().await;
}
