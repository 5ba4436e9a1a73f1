//! DeleteTopics, API 20, v1-6, by name and by id.

use std::sync::Arc;

use tidemill_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use tidemill_protocol::{KString, Uuid};

use crate::blocking;
use crate::error_code;
use crate::groups::Groups;
use crate::shared::{Context, Shared};
use crate::topics::{Topic, TopicError};

pub(crate) async fn handle(context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    // Until version 5 topics come as names.
    let named = request.topic_names.into_iter().map(|name| DeleteTopicState {
        name: Some(name),
        topic_id: Uuid::nil(),
    });
    let asked = request.topics.into_iter().chain(named);
    let asked: Vec<_> = asked.collect();
    let shared = Arc::clone(&context.shared);
    let delete_all = move || asked.into_iter().map(|asked| delete(&shared, asked)).collect();
    let responses: Vec<DeletableTopicResult> = blocking::run(delete_all).await;
    let groups = Groups::of(&context.shared);
    for deleted in responses.iter().filter(|response| response.error_code.is_ok()) {
        if let Some(name) = &deleted.name {
            groups.forget_topic(name).await;
        }
    }
    DeleteTopicsResponse {
        responses,
        ..Default::default()
    }
}

fn delete(shared: &Shared, asked: DeleteTopicState) -> DeletableTopicResult {
    let result = find(shared, &asked).and_then(|topic| {
        if !shared.settings.delete_topics {
            return Err(TopicError::DeletionDisabled);
        }
        shared.topics.delete(&topic)?;
        Ok(topic)
    });
    match result {
        Ok(topic) => {
            tracing::info!(topic = topic.name, "topic deleted");
            DeletableTopicResult {
                name: Some(topic.wire_name()),
                topic_id: topic.id,
                ..Default::default()
            }
        }
        Err(error) => DeletableTopicResult {
            name: asked.name.as_ref().map(KString::detach),
            topic_id: asked.topic_id,
            error_code: error_code::of_topic(&error),
            error_message: Some(error.to_string().into()),
        },
    }
}

fn find(shared: &Shared, asked: &DeleteTopicState) -> Result<Arc<Topic>, TopicError> {
    match &asked.name {
        Some(name) => shared
            .topics
            .find(name)
            .ok_or_else(|| TopicError::Unknown(name.to_string())),
        None => shared
            .topics
            .find_id(asked.topic_id)
            .ok_or(TopicError::UnknownId(asked.topic_id)),
    }
}
