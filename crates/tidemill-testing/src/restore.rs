//! Stores get back what their changelogs have.

use tidemill_data::Timestamp;
use tidemill_store::{ChangelogPosition, TopicId};
use tidemill_streams::{Changelog, Task};

use crate::{TestError, cluster::Cluster};

/// Restores a task's stores; `committed` is how far an input is.
pub(crate) fn restore(
    cluster: &Cluster,
    task: &mut Task,
    committed: impl Fn(&str) -> i64,
) -> Result<(), TestError> {
    let partition = task.id().partition;
    for changelog in task.changelogs() {
        let from = changelog.position.map_or(0, |position| position.next_offset);
        let records = cluster.records(&changelog.topic, partition);
        let end = end(cluster, &changelog, partition, &committed);
        let place = |offset: i64| usize::try_from(offset).unwrap_or(0);
        let missing = records
            .get(place(from)..place(end.next_offset))
            .unwrap_or_default();
        task.restore(&changelog.topic, missing, end)?;
    }
    Ok(())
}

/// How far a store contains its changelog once all is written, or an input once so much of it is committed.
pub(crate) fn end(
    cluster: &Cluster,
    changelog: &Changelog,
    partition: i32,
    committed: impl Fn(&str) -> i64,
) -> ChangelogPosition {
    let next_offset = if changelog.is_input {
        committed(&changelog.topic)
    } else {
        i64::try_from(cluster.records(&changelog.topic, partition).len()).unwrap_or(i64::MAX)
    };
    ChangelogPosition {
        topic_id: TopicId::default(),
        next_offset,
        committed_at: Timestamp::default(),
    }
}
