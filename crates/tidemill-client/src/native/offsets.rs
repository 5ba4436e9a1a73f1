//! ListOffsets: where partitions begin and end.

use std::sync::Arc;
use std::time::Duration;

use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};

use super::cluster::{AutoCreate, Cluster, ClusterError};
use super::connection::{Address, Lane, Pool};
use crate::{Isolation, Start, TopicPartition, TransportError};

/// A partition, what to find in it, and its leader's epoch.
pub(crate) type Question = (TopicPartition, Start, i32);
/// `Ok(None)`: ask again, perhaps someone else.
pub(crate) type Found = (TopicPartition, Result<Option<i64>, TransportError>);

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// The answer where no record is of the time or later.
const NO_SUCH_RECORD: i64 = -1;

/// Asks the broker at `address` about partitions that it leads. A refusal makes the cluster forget the leader.
pub(crate) async fn list(
    cluster: &Cluster,
    pool: &Pool,
    address: &Address,
    isolation: Isolation,
    questions: Vec<Question>,
) -> Vec<Found> {
    let (by_time, others): (Vec<_>, Vec<_>) = questions
        .into_iter()
        .partition(|(_, start, _)| matches!(start, Start::Since(_)));
    let mut found = Vec::with_capacity(by_time.len() + others.len());
    if !others.is_empty() {
        found.extend(ask(cluster, pool, address, isolation, others).await);
    }
    if !by_time.is_empty() {
        // The ends come first: where no record is late enough, those written from now on are read, none left out.
        let latest = |(at, _, epoch): &Question| (at.clone(), Start::Latest, *epoch);
        let ends = by_time.iter().map(latest).collect();
        let ends = ask(cluster, pool, address, isolation, ends).await;
        let times = ask(cluster, pool, address, isolation, by_time).await;
        found.extend(ends.into_iter().zip(times).map(|((at, end), (_, since))| {
            let offset = since.and_then(|since| match since {
                Some(NO_SUCH_RECORD) => end,
                since => Ok(since),
            });
            (at, offset)
        }));
    }
    found
}

async fn ask(
    cluster: &Cluster,
    pool: &Pool,
    address: &Address,
    isolation: Isolation,
    questions: Vec<Question>,
) -> Vec<Found> {
    let request = request(&questions, isolation);
    let answer = pool.call(address, Lane::Ask, &request).await;
    let mut found = Vec::with_capacity(questions.len());
    for (at, start, epoch) in questions {
        let offset = match (&answer, start) {
            (_, Start::At(offset)) => Ok(Some(offset)),
            (Ok(response), _) => offset_in(response, &at, start),
            (Err(error), _) if error.may_pass() => Ok(None),
            (Err(error), _) => Err(TransportError::Cluster {
                operation: "list offsets",
                reason: error.to_string(),
            }),
        };
        if matches!(offset, Ok(None)) {
            cluster.view().forget_leader(&at.topic, at.partition, epoch);
        }
        found.push((at, offset));
    }
    found
}

fn request(questions: &[Question], isolation: Isolation) -> ListOffsetsRequest {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (at, start, epoch) in questions {
        let partition = ListOffsetsPartition {
            partition_index: at.partition,
            current_leader_epoch: *epoch,
            timestamp: match start {
                Start::Earliest => EARLIEST,
                Start::Latest | Start::At(_) => LATEST,
                Start::Since(time) => time.millis().max(0),
            },
        };
        match topics.iter_mut().find(|topic| topic.name == *at.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(ListOffsetsTopic {
                name: (&*at.topic).into(),
                partitions: vec![partition],
            }),
        }
    }
    const TIMEOUT_MS: i32 = 30_000;
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(isolation == Isolation::ReadCommitted),
        topics,
        timeout_ms: TIMEOUT_MS,
    }
}

fn offset_in(
    response: &ListOffsetsResponse,
    at: &TopicPartition,
    start: Start,
) -> Result<Option<i64>, TransportError> {
    let least = match start {
        Start::Since(_) => NO_SUCH_RECORD,
        Start::Earliest | Start::Latest | Start::At(_) => 0,
    };
    let topic = response.topics.iter().find(|topic| topic.name == *at.topic);
    let part = topic.and_then(|topic| {
        topic
            .partitions
            .iter()
            .find(|p| p.partition_index == at.partition)
    });
    match part {
        None => Ok(None),
        Some(part) if part.error_code == ErrorCode::None && part.offset >= least => Ok(Some(part.offset)),
        Some(part) if part.error_code == ErrorCode::None || part.error_code.is_retriable() => Ok(None),
        Some(part) => Err(TransportError::Cluster {
            operation: "list offsets",
            reason: format!("{at}: {}", part.error_code),
        }),
    }
}

/// The same place of many partitions, from whoever leads them.
pub(crate) async fn list_all(
    cluster: Arc<Cluster>,
    partitions: Vec<TopicPartition>,
    start: Start,
    isolation: Isolation,
    within: Duration,
) -> Result<Vec<i64>, TransportError> {
    let mut offsets: Vec<Option<i64>> = vec![None; partitions.len()];
    let deadline = std::time::Instant::now() + within;
    let mut backoff = cluster.backoff();
    loop {
        find_missing(&cluster, &partitions, start, isolation, &mut offsets).await?;
        let missing = offsets
            .iter()
            .position(Option::is_none)
            .and_then(|at| partitions.get(at));
        let Some(missing) = missing else {
            return Ok(offsets.into_iter().flatten().collect());
        };
        if std::time::Instant::now() >= deadline {
            return Err(TransportError::Cluster {
                operation: "list offsets",
                reason: format!("nobody answered for {missing} in {within:?}"),
            });
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// One round of questions to all brokers that lead partitions whose offset is missing.
async fn find_missing(
    cluster: &Cluster,
    partitions: &[TopicPartition],
    start: Start,
    isolation: Isolation,
    offsets: &mut [Option<i64>],
) -> Result<(), TransportError> {
    let missing = || {
        partitions
            .iter()
            .zip(offsets.iter())
            .filter(|(_, o)| o.is_none())
            .map(|(at, _)| at)
    };
    let mut topics: Vec<&str> = missing().map(|at| &*at.topic).collect();
    topics.sort_unstable();
    topics.dedup();
    match cluster.refresh(&topics, AutoCreate::Never).await {
        Err(error) if !error.may_pass() => return Err(error.into_transport("list offsets")),
        _ => {}
    }
    let mut by_address: Vec<(Address, Vec<Question>)> = Vec::new();
    for at in missing() {
        let view = cluster.view();
        let no_such = |count| at.partition < 0 || at.partition >= count;
        if view.missing_since(&at.topic).is_some()
            || view
                .topic(&at.topic)
                .is_some_and(|topic| no_such(topic.partition_count()))
        {
            return Err(TransportError::UnknownPartition(at.clone()));
        }
        if let Some(code) = view.refusal(&at.topic) {
            return Err(ClusterError::Refused(code).into_transport("list offsets"));
        }
        let Some(leader) = view.leader(&at.topic, at.partition) else {
            continue;
        };
        let Some(address) = view.address(leader.node).cloned() else {
            continue;
        };
        let question = (at.clone(), start, leader.epoch);
        match by_address.iter_mut().find(|(known, _)| *known == address) {
            Some((_, questions)) => questions.push(question),
            None => by_address.push((address, vec![question])),
        }
    }
    for (address, questions) in by_address {
        for (at, offset) in list(cluster, cluster.pool(), &address, isolation, questions).await {
            let offset = offset?;
            for (asked, slot) in partitions.iter().zip(offsets.iter_mut()) {
                if *asked == at {
                    *slot = slot.or(offset);
                }
            }
        }
    }
    Ok(())
}
