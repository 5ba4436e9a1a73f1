//! CreateTopics, API 19, v2-7.

use std::collections::BTreeSet;

use tidemill_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfigs, CreatableTopicResult,
    CreateTopicsRequest, CreateTopicsResponse,
};
use tidemill_protocol::{ErrorCode, Uuid};

use crate::error_code;
use crate::handlers::describe_configs::{source_code, visible};
use crate::settings::{TopicValues, resolve_all};
use crate::shared::{Context, Shared};
use crate::topics::{NewTopic, TopicError};

pub(crate) fn handle(context: Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let shared = &context.shared;
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<_> = request
        .topics
        .iter()
        .filter(|topic| !seen.insert(&topic.name))
        .map(|topic| topic.name.clone())
        .collect();
    let mut told = BTreeSet::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        if twice.contains(&topic.name) {
            if told.insert(topic.name.clone()) {
                topics.push(failed(&topic, &TopicError::Request("Duplicate topic name.")));
            }
            continue;
        }
        topics.push(match create(shared, &topic, request.validate_only) {
            Ok((id, new)) => created(shared, &topic, id, &new),
            Err(error) => failed(&topic, &error),
        });
    }
    CreateTopicsResponse {
        topics,
        ..Default::default()
    }
}

/// What was made, or would be.
struct Made {
    partitions: i32,
    settings: TopicValues,
}

fn create(shared: &Shared, topic: &CreatableTopic, validate_only: bool) -> Result<(Uuid, Made), TopicError> {
    let partitions = partitions(shared, topic)?;
    let mut settings = TopicValues::default();
    for config in &topic.configs {
        let value = config
            .value
            .as_ref()
            .ok_or(TopicError::Request("Null value not supported for topic configs"))?;
        settings.set(&config.name, value)?;
    }
    let made = Made {
        partitions,
        settings: settings.clone(),
    };
    let new = NewTopic {
        name: topic.name.to_string(),
        partitions,
        settings,
    };
    if validate_only {
        shared.topics.check_new(&new)?;
        return Ok((Uuid::nil(), made));
    }
    Ok((shared.topics.create(new)?.id, made))
}

/// How many partitions the topic asks for, by number or by assignment.
fn partitions(shared: &Shared, topic: &CreatableTopic) -> Result<i32, TopicError> {
    if !topic.assignments.is_empty() {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            return Err(TopicError::Request(
                "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.",
            ));
        }
        return assigned(shared.node_id(), &topic.assignments);
    }
    check_replication_factor(shared, topic.replication_factor)?;
    match topic.num_partitions {
        -1 => Ok(shared.settings.num_partitions),
        count if count < 1 => Err(TopicError::Partitions(
            "Number of partitions was set to an invalid non-positive value.".into(),
        )),
        count => Ok(count),
    }
}

fn check_replication_factor(shared: &Shared, factor: i16) -> Result<(), TopicError> {
    let wanted = if factor == -1 {
        shared.settings.default_replication_factor
    } else {
        i32::from(factor)
    };
    match wanted {
        1 => Ok(()),
        less if less < 1 => Err(TopicError::ReplicationFactor {
            factor,
            reason: "Replication factor must be larger than 0.".into(),
        }),
        more => Err(TopicError::ReplicationFactor {
            factor: i16::try_from(more).unwrap_or(i16::MAX),
            reason: format!(
                "The target replication factor of {more} cannot be reached because only 1 broker(s) are registered."
            ),
        }),
    }
}

fn assigned(node_id: i32, assignments: &[CreatableReplicaAssignment]) -> Result<i32, TopicError> {
    let mut indexes = BTreeSet::new();
    for assignment in assignments {
        check_replicas(node_id, &assignment.broker_ids)?;
        if !indexes.insert(assignment.partition_index) {
            let index = assignment.partition_index;
            return Err(TopicError::Assignment(format!(
                "Found multiple manual partition assignments for partition {index}"
            )));
        }
    }
    let count = i32::try_from(assignments.len()).unwrap_or(i32::MAX);
    if indexes.into_iter().eq(0..count) {
        Ok(count)
    } else {
        Err(TopicError::Assignment(
            "partitions should be a consecutive 0-based integer sequence".into(),
        ))
    }
}

/// Refuses replicas that are not this broker alone.
pub(crate) fn check_replicas(node_id: i32, replicas: &[i32]) -> Result<(), TopicError> {
    let distinct: BTreeSet<_> = replicas.iter().collect();
    if replicas.is_empty() {
        return Err(TopicError::Assignment(
            "The manual partition assignment includes an empty replica list.".into(),
        ));
    }
    if distinct.len() < replicas.len() {
        return Err(TopicError::Assignment(
            "The manual partition assignment includes a broker more than once.".into(),
        ));
    }
    match replicas.iter().find(|id| **id != node_id) {
        Some(id) => Err(TopicError::Assignment(format!(
            "The manual partition assignment includes broker {id}, but no such broker is registered."
        ))),
        None => Ok(()),
    }
}

fn failed(topic: &CreatableTopic, error: &TopicError) -> CreatableTopicResult {
    CreatableTopicResult {
        name: topic.name.clone(),
        error_code: error_code::of_topic(error),
        error_message: Some(error.to_string().into()),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    }
}

fn created(shared: &Shared, topic: &CreatableTopic, topic_id: Uuid, made: &Made) -> CreatableTopicResult {
    let configs = resolve_all(&made.settings, &shared.values())
        .into_iter()
        .map(|resolved| CreatableTopicConfigs {
            name: resolved.setting.topic.unwrap_or_default().into(),
            config_source: source_code(resolved.source),
            value: visible(resolved.setting, &resolved.value),
            ..Default::default()
        });
    CreatableTopicResult {
        name: topic.name.clone(),
        topic_id,
        error_code: ErrorCode::None,
        num_partitions: made.partitions,
        replication_factor: 1,
        configs: Some(configs.collect()),
        ..Default::default()
    }
}
