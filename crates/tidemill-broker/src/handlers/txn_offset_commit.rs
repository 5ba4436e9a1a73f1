//! TxnOffsetCommit, API 28, v0-5: offsets that count when their transaction commits. From v5 on the group's offsets
//! become part of the transaction by this request alone (KIP-890).

use tidemill_coordinator::{
    ClientProtocol, CommitAnswers, CommitRequest, Event, GroupError, GroupId, OffsetToCommit, Producer,
    Reply, TransactionError,
};
use tidemill_log::{ProducerEpoch, ProducerId};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};

use crate::error_code::{self, Fencing};
use crate::groups::Groups;
use crate::shared::Context;
use crate::topics::CONSUMER_OFFSETS;
use crate::transactions::Transactions;

/// The first version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 4;
const ADDS_FROM: i16 = 5;

pub(crate) async fn handle(context: Context, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let topics = &context.shared.topics;
    let known: Vec<bool> = request
        .topics
        .iter()
        .map(|topic| topics.find(&topic.name).is_some())
        .collect();
    let answer = commit(&context, &request, &known).await;
    // The coordinator answers partition by partition, in the order of the request.
    let mut answers = answer.map(Vec::into_iter);
    let mut code_of_next = |known: bool| match &mut answers {
        _ if !known => ErrorCode::UnknownTopicOrPartition,
        Ok(answers) => answers
            .next()
            .map_or(ErrorCode::UnknownServerError, |(_, _, each)| {
                error_code::of_result(each)
            }),
        Err(code) => *code,
    };
    let topics = request.topics.iter().zip(known).map(|(topic, known)| {
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code_of_next(known),
            });
        TxnOffsetCommitResponseTopic {
            name: topic.name.clone(),
            partitions: partitions.collect(),
        }
    });
    TxnOffsetCommitResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

async fn commit(
    context: &Context,
    request: &TxnOffsetCommitRequest,
    known: &[bool],
) -> Result<CommitAnswers, ErrorCode> {
    if request.transactional_id.is_empty() || request.group_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let producer = Producer::new(request.producer_id, request.producer_epoch);
    let commit = commit_request(request, known, producer);
    if commit.offsets.is_empty() {
        return Ok(CommitAnswers::new());
    }
    let groups = Groups::of(&context.shared);
    let group = GroupId::from(&*request.group_id);
    let partition = groups
        .partition_made(&group)
        .await
        .ok_or(ErrorCode::CoordinatorNotAvailable)?;
    // Taken before the question: what ends the transaction after the answer makes the guard fail.
    let guard = partition.log.transaction_guard(ProducerId(producer.id.0));
    let at = (CONSUMER_OFFSETS.into(), partition.log.topic_partition().partition);
    if !guard.is_open(ProducerEpoch(producer.epoch)) {
        let transactions = Transactions::of(&context.shared);
        let id = (&*request.transactional_id).into();
        let part_of_it = if context.version >= ADDS_FROM {
            let protocol = ClientProtocol::EpochPerTransaction;
            transactions.add(id, producer, vec![at], protocol).await
        } else {
            transactions.verify(id, producer, at).await
        };
        part_of_it.map_err(|error| code_of(error, context.version))?;
    }
    match groups
        .ask_in_transaction(group, guard, |to| Event::Commit { request: commit, to })
        .await
    {
        Some(Reply::Commit(Ok(answers))) => Ok(answers),
        Some(Reply::Commit(Err(error))) => Err(error_code::of_group(error)),
        _ => Err(error_code::of_group(GroupError::CoordinatorNotAvailable)),
    }
}

fn code_of(error: TransactionError, version: i16) -> ErrorCode {
    match error {
        TransactionError::NotInTransaction if version < ABORTABLE_FROM => ErrorCode::InvalidTxnState,
        TransactionError::ConcurrentTransactions if version < ADDS_FROM => {
            ErrorCode::CoordinatorLoadInProgress
        }
        error => error_code::of_transaction(error, Fencing::ByEpoch),
    }
}

fn commit_request(request: &TxnOffsetCommitRequest, known: &[bool], producer: Producer) -> CommitRequest {
    let known_topics = request.topics.iter().zip(known).filter(|(_, known)| **known);
    let offsets = known_topics.flat_map(|(topic, _)| {
        topic.partitions.iter().map(|partition| OffsetToCommit {
            topic: (&*topic.name).into(),
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: Some(partition.committed_leader_epoch).filter(|epoch| *epoch >= 0),
            metadata: partition
                .committed_metadata
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        })
    });
    CommitRequest {
        member: (&*request.member_id).into(),
        instance: request.group_instance_id.as_deref().map(Into::into),
        generation: request.generation_id,
        retention_ms: None,
        knows_group_not_found: false,
        transaction: Some(producer),
        offsets: offsets.collect(),
    }
}
