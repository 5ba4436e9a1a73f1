//! A group's committed offsets: asking for them, and committing.

use std::time::{Duration, Instant};

use tidemill_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use tidemill_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use tidemill_protocol::{ErrorCode, KString};

use super::membership::is_coordinators;
use crate::native::cluster::ClusterError;
use crate::native::connection::Lane;
use crate::native::coordinator::Coordinator;
use crate::{CommitError, Committed, Isolation, TopicPartition, TransportError};

const FETCH: &str = "committed offsets";
const COMMIT: &str = "commit offsets";
/// From version 10 on both requests name topics by their ids; a program names them.
const NAMED_VERSION_MAX: i16 = 9;
/// How long a commit waits for a topic that its coordinator does not know: longer than one takes to become known
/// everywhere, and not as long as for a coordinator, since the topic may be deleted.
const UNKNOWN_TOPIC_WITHIN: Duration = Duration::from_secs(5);

/// Who commits.
#[derive(Clone, Debug)]
pub(super) struct Committer {
    pub(super) group: KString,
    pub(super) member_id: KString,
    pub(super) generation: i32,
    pub(super) instance_id: Option<KString>,
}

fn by_topic<T>(partitions: impl Iterator<Item = (TopicPartition, T)>) -> Vec<(KString, Vec<(i32, T)>)> {
    let mut topics: Vec<(KString, Vec<(i32, T)>)> = Vec::new();
    for (at, value) in partitions {
        match topics.iter_mut().find(|(topic, _)| *topic == *at.topic) {
            Some((_, list)) => list.push((at.partition, value)),
            None => topics.push(((&*at.topic).into(), vec![(at.partition, value)])),
        }
    }
    topics
}

/// The committed offset of each partition. Stable ones are those that no open transaction may change (KIP-447).
pub(super) async fn fetch(
    coordinator: &Coordinator,
    group: KString,
    partitions: Vec<TopicPartition>,
    isolation: Isolation,
    within: Duration,
) -> Result<Vec<Option<Committed>>, TransportError> {
    let topics = by_topic(partitions.iter().map(|at| (at.clone(), ())));
    let numbers = |list: &[(i32, ())]| list.iter().map(|(partition, ())| *partition).collect::<Vec<_>>();
    let old = |(name, list): &(KString, Vec<(i32, ())>)| OffsetFetchRequestTopic {
        name: name.clone(),
        partition_indexes: numbers(list),
    };
    let new = |(name, list): &(KString, Vec<(i32, ())>)| OffsetFetchRequestTopics {
        name: name.clone(),
        partition_indexes: numbers(list),
        ..OffsetFetchRequestTopics::default()
    };
    let request = OffsetFetchRequest {
        group_id: group.clone(),
        topics: Some(topics.iter().map(old).collect()),
        groups: vec![OffsetFetchRequestGroup {
            group_id: group,
            member_id: None,
            member_epoch: -1,
            topics: Some(topics.iter().map(new).collect()),
        }],
        require_stable: isolation == Isolation::ReadCommitted,
    };
    let attempt = || async {
        let response = coordinator
            .call_at_most(Lane::Ask, &request, NAMED_VERSION_MAX)
            .await?;
        partitions
            .iter()
            .map(|at| committed(coordinator, &response, at))
            .collect()
    };
    let outcome: Result<_, ClusterError> = coordinator.cluster().retrying(within, attempt).await;
    outcome.map_err(|error| match error {
        ClusterError::Refused(ErrorCode::UnstableOffsetCommit) => TransportError::Unstable,
        error => error.into_transport(FETCH),
    })
}

/// Since version 8 an answer holds a list of groups, before one group.
fn committed(
    coordinator: &Coordinator,
    response: &OffsetFetchResponse,
    at: &TopicPartition,
) -> Result<Option<Committed>, ClusterError> {
    let whole = response
        .groups
        .first()
        .map_or(response.error_code, |group| group.error_code);
    let part = match response.groups.first() {
        Some(group) => {
            let topic = group.topics.iter().find(|topic| topic.name == *at.topic);
            let part = topic.and_then(|t| t.partitions.iter().find(|p| p.partition_index == at.partition));
            part.map(|p| (p.error_code, p.committed_offset, p.metadata.clone()))
        }
        None => {
            let topic = response.topics.iter().find(|topic| topic.name == *at.topic);
            let part = topic.and_then(|t| t.partitions.iter().find(|p| p.partition_index == at.partition));
            part.map(|p| (p.error_code, p.committed_offset, p.metadata.clone()))
        }
    };
    for code in [Some(whole), part.as_ref().map(|(code, ..)| *code)]
        .into_iter()
        .flatten()
    {
        if code != ErrorCode::None {
            coordinator.note(code);
            return Err(ClusterError::Refused(code));
        }
    }
    Ok(part
        .map(|(_, next, metadata)| Committed {
            next,
            metadata: metadata.as_deref().unwrap_or_default().into(),
        })
        .filter(|committed| committed.next >= 0))
}

/// Commits, trying again while the coordinator moves.
pub(super) async fn commit(
    coordinator: &Coordinator,
    committer: Committer,
    offsets: Vec<(TopicPartition, Committed)>,
    within: Duration,
) -> Result<(), CommitError> {
    let partition = |(partition_index, committed): &(i32, Committed)| OffsetCommitRequestPartition {
        partition_index: *partition_index,
        committed_offset: committed.next,
        committed_leader_epoch: -1,
        committed_metadata: Some((&*committed.metadata).into()),
    };
    let topics = by_topic(offsets.into_iter());
    let topics = topics.into_iter().map(|(name, list)| OffsetCommitRequestTopic {
        name,
        partitions: list.iter().map(partition).collect(),
        ..OffsetCommitRequestTopic::default()
    });
    let request = OffsetCommitRequest {
        group_id: committer.group,
        generation_id_or_member_epoch: committer.generation,
        member_id: committer.member_id,
        group_instance_id: committer.instance_id,
        retention_time_ms: -1,
        topics: topics.collect(),
    };
    let begun = Instant::now();
    let mut backoff = coordinator.cluster().backoff();
    loop {
        let outcome = match coordinator
            .call_at_most(Lane::Ask, &request, NAMED_VERSION_MAX)
            .await
        {
            Ok(response) => {
                let codes = response
                    .topics
                    .iter()
                    .flat_map(|t| &t.partitions)
                    .map(|p| p.error_code);
                codes
                    .into_iter()
                    .find(|code| *code != ErrorCode::None)
                    .map_or(Ok(()), Err)
            }
            Err(error) if error.may_pass() && begun.elapsed() < within => {
                Err(ErrorCode::CoordinatorNotAvailable)
            }
            Err(error) => return Err(error.into_transport(COMMIT).into()),
        };
        match outcome {
            Ok(()) => return Ok(()),
            Err(ErrorCode::RebalanceInProgress) => return Err(CommitError::Rebalancing),
            Err(
                code @ (ErrorCode::IllegalGeneration
                | ErrorCode::UnknownMemberId
                | ErrorCode::FencedInstanceId),
            ) => return Err(CommitError::Fenced(code.to_string())),
            Err(code)
                if (is_coordinators(code) || code.is_retriable())
                    && begun.elapsed() < patience(code, within) =>
            {
                coordinator.note(code);
                tokio::time::sleep(backoff.next_wait()).await;
            }
            Err(code) => return Err(ClusterError::Refused(code).into_transport(COMMIT).into()),
        }
    }
}

fn patience(code: ErrorCode, within: Duration) -> Duration {
    match code {
        ErrorCode::UnknownTopicOrPartition => within.min(UNKNOWN_TOPIC_WITHIN),
        _ => within,
    }
}
