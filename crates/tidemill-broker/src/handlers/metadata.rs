//! Metadata, API 3, v0-13: brokers, topics and who leads them. Creates topics that are asked for by name.

use std::sync::Arc;

use tidemill_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use tidemill_protocol::{ErrorCode, KString, Uuid};

use crate::blocking;
use crate::error_code;
use crate::partition::LEADER_EPOCH;
use crate::shared::{Context, Shared};
use crate::topics::{CONSUMER_OFFSETS, Topic, check_name};

pub(crate) async fn handle(context: Context, request: MetadataRequest) -> MetadataResponse {
    let known = |topic: &MetadataRequestTopic| {
        let name = topic.name.as_ref();
        name.is_none_or(|name| context.shared.topics.find(name).is_some())
    };
    if request.topics.iter().flatten().all(known) {
        answer(&context, request)
    } else {
        // A topic may be made, which takes a sync.
        blocking::run(move || answer(&context, request)).await
    }
}

fn answer(context: &Context, request: MetadataRequest) -> MetadataResponse {
    let shared = &context.shared;
    // Version 0 knows no null: an empty list asks for everything.
    let asked = request
        .topics
        .filter(|topics| context.version > 0 || !topics.is_empty());
    let create = request.allow_auto_topic_creation || context.version < 4;
    let topics = match asked {
        None => shared
            .topics
            .all()
            .iter()
            .map(|topic| describe(shared, topic))
            .collect(),
        Some(asked) => asked
            .into_iter()
            .map(|topic| find(shared, topic, create))
            .collect(),
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: shared.node_id(),
            host: context.endpoint.host.as_str().into(),
            port: i32::from(context.endpoint.port),
            rack: None,
        }],
        cluster_id: Some(shared.cluster_id().into()),
        controller_id: shared.node_id(),
        topics,
        cluster_authorized_operations: i32::MIN,
        ..Default::default()
    }
}

fn find(shared: &Shared, asked: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    // Java's clients send an empty name beside the id they mean.
    let name = asked.name.filter(|_| asked.topic_id.is_nil());
    let Some(name) = name else {
        return match shared.topics.find_id(asked.topic_id) {
            Some(topic) => describe(shared, &topic),
            None => failed(None, asked.topic_id, ErrorCode::UnknownTopicId),
        };
    };
    let failed = |code| failed(Some(name.detach()), Uuid::nil(), code);
    if let Some(topic) = shared.topics.find(&name) {
        return describe(shared, &topic);
    }
    if check_name(&name).is_err() {
        return failed(ErrorCode::InvalidTopicException);
    }
    if !create || !shared.settings.auto_create_topics {
        return failed(ErrorCode::UnknownTopicOrPartition);
    }
    if shared.settings.default_replication_factor > 1 && &*name != CONSUMER_OFFSETS {
        return failed(ErrorCode::InvalidReplicationFactor);
    }
    match shared.topics.find_or_create(&name, || shared.auto_created(&name)) {
        Ok(topic) => describe(shared, &topic),
        Err(error) => {
            tracing::warn!(topic = %name, %error, "a topic was not created on demand");
            failed(error_code::of_topic(&error))
        }
    }
}

fn failed(name: Option<KString>, topic_id: Uuid, error_code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code,
        name,
        topic_id,
        topic_authorized_operations: i32::MIN,
        ..Default::default()
    }
}

fn describe(shared: &Shared, topic: &Arc<Topic>) -> MetadataResponseTopic {
    let partitions = topic
        .partitions
        .iter()
        .map(|partition| MetadataResponsePartition {
            partition_index: partition.log.topic_partition().partition,
            leader_id: shared.node_id(),
            leader_epoch: LEADER_EPOCH.0,
            replica_nodes: vec![shared.node_id()],
            isr_nodes: vec![shared.node_id()],
            ..Default::default()
        });
    MetadataResponseTopic {
        error_code: ErrorCode::None,
        name: Some(topic.wire_name()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
        topic_authorized_operations: i32::MIN,
    }
}
