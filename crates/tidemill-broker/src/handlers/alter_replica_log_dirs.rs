//! AlterReplicaLogDirs, API 34, v1-2: moves partitions to other log directories. Answered when the move is wanted;
//! DescribeLogDirs tells how far it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidemill_log::{RelocationRefused, TopicPartition};
use tidemill_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::shared::{Context, Shared};

pub(crate) fn handle(context: Context, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse {
    let mut results: BTreeMap<KString, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for asked in request.dirs {
        let dir = PathBuf::from(&*asked.path);
        for topic in asked.topics {
            let answered = topic.partitions.iter().map(|partition_index| {
                let error_code = relocate(&context.shared, &topic.name, *partition_index, &dir);
                AlterReplicaLogDirPartitionResult {
                    partition_index: *partition_index,
                    error_code,
                }
            });
            let answered: Vec<_> = answered.collect();
            results.entry(topic.name.clone()).or_default().extend(answered);
        }
    }
    context.shared.movers.notify_one();
    let results = results
        .into_iter()
        .map(|(topic_name, partitions)| AlterReplicaLogDirTopicResult {
            topic_name,
            partitions,
        });
    AlterReplicaLogDirsResponse {
        results: results.collect(),
        ..Default::default()
    }
}

fn relocate(shared: &Shared, topic: &str, partition: i32, dir: &Path) -> ErrorCode {
    let asked = shared.dirs.relocate(&TopicPartition::new(topic, partition), dir);
    match asked {
        Ok(()) => ErrorCode::None,
        Err(RelocationRefused::UnknownDirectory(_)) => ErrorCode::LogDirNotFound,
        Err(RelocationRefused::UnknownPartition(_)) => ErrorCode::UnknownTopicOrPartition,
        Err(error) => {
            tracing::warn!(topic, partition, %error, "does not move");
            ErrorCode::KafkaStorageError
        }
    }
}
