//! Knows when everything that was sent has gone through the whole topology.

use anyhow::Result;
use tidemill::client::{Admin, TopicPartition};

use crate::topics::{APPLICATION, CLICKS, RAW_ITEMS, ROUNDS};

/// How many records wait to be processed, in the inputs and between the stages.
///
/// The committed offsets are read before the ends. A commit covers all that the records before it produced, so if
/// nothing waits by this reading, nothing was on its way either: zero means quiet until new input comes.
pub async fn waiting(admin: &Admin) -> Result<i64> {
    let partitions = read_by_the_pipeline(admin).await?;
    let committed = admin.group_offsets(APPLICATION, &partitions).await?;
    let mut waiting = 0;
    for (partition, committed) in partitions.iter().zip(committed) {
        let (start, end) = admin.offsets(partition).await?;
        waiting += end - committed.unwrap_or(start);
    }
    Ok(waiting)
}

async fn read_by_the_pipeline(admin: &Admin) -> Result<Vec<TopicPartition>> {
    let between = |name: &str| name.starts_with(&format!("{APPLICATION}-")) && name.ends_with("-repartition");
    let mut partitions = Vec::new();
    for name in admin.list_topics().await? {
        if !between(&name) && ![RAW_ITEMS.name(), CLICKS.name(), ROUNDS.name()].contains(&name.as_str()) {
            continue;
        }
        if let Some(topic) = admin.describe_topic(&name).await? {
            let count = i32::try_from(topic.partitions.len())?;
            partitions.extend((0..count).map(|partition| TopicPartition::new(name.as_str(), partition)));
        }
    }
    Ok(partitions)
}
