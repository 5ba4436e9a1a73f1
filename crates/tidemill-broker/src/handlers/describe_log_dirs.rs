//! DescribeLogDirs, API 35, v1-5: where partitions lie and how large they are.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use tidemill_log::TopicPartition;
use tidemill_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};

use crate::shared::{Context, Shared};

pub(crate) async fn handle(context: Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let asked = request.topics.map(|topics| {
        let pairs = topics
            .into_iter()
            .flat_map(|t| t.partitions.into_iter().map(move |p| (t.topic.to_string(), p)));
        pairs.collect::<HashSet<_>>()
    });
    let results = context
        .shared
        .dirs
        .dirs()
        .map(|dir| describe(&context.shared, dir, asked.as_ref()));
    DescribeLogDirsResponse {
        results: results.collect(),
        ..Default::default()
    }
}

fn describe(shared: &Shared, dir: &Path, asked: Option<&HashSet<(String, i32)>>) -> DescribeLogDirsResult {
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    let mut tell = |partition: &TopicPartition, told: DescribeLogDirsPartition| {
        if asked.is_none_or(|asked| asked.contains(&(partition.topic.clone(), partition.partition))) {
            topics.entry(partition.topic.clone()).or_default().push(told);
        }
    };
    for log in shared.dirs.logs() {
        if log.dir().parent() == Some(dir) {
            let partition = log.topic_partition();
            tell(
                partition,
                DescribeLogDirsPartition {
                    partition_index: partition.partition,
                    partition_size: i64::try_from(log.size_bytes()).unwrap_or(i64::MAX),
                    offset_lag: 0,
                    is_future_key: false,
                },
            );
        }
    }
    for moving in shared.dirs.relocations_under_way() {
        if moving.dir == dir {
            tell(
                &moving.partition,
                DescribeLogDirsPartition {
                    partition_index: moving.partition.partition,
                    partition_size: i64::try_from(moving.copied_bytes).unwrap_or(i64::MAX),
                    offset_lag: moving.lag,
                    is_future_key: true,
                },
            );
        }
    }
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic {
            name: name.into(),
            partitions,
        }
    });
    let (total_bytes, usable_bytes) = room(dir).unwrap_or((-1, -1));
    DescribeLogDirsResult {
        log_dir: dir.to_string_lossy().as_ref().into(),
        topics: topics.collect(),
        total_bytes,
        usable_bytes,
        ..Default::default()
    }
}

/// The size of the file system that `dir` is on, and what of it is free for us.
fn room(dir: &Path) -> Option<(i64, i64)> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
    Some((bytes(stat.f_blocks), bytes(stat.f_bavail)))
}
