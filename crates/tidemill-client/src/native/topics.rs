//! Describing and creating topics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use tidemill_protocol::messages::metadata::MetadataResponse;

use super::cluster::{AutoCreate, Cluster, ClusterError};
use super::connection::Lane;
use crate::{TopicDescription, TopicSpec, TransportError};

/// The named topics as the cluster has them.
pub(crate) async fn describe(
    cluster: Arc<Cluster>,
    names: Vec<String>,
    within: Duration,
) -> Result<Vec<Option<TopicDescription>>, TransportError> {
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let attempt = || async {
        let response = cluster.refresh(&asked, AutoCreate::Never).await?;
        asked.iter().map(|name| described(&response, name)).collect()
    };
    let described: Result<_, ClusterError> = cluster.retrying(within, attempt).await;
    described.map_err(|error| error.into_transport("describe topics"))
}

/// The names of all topics but those of the cluster's own use.
pub(crate) async fn list(cluster: Arc<Cluster>, within: Duration) -> Result<Vec<String>, TransportError> {
    let attempt = || async {
        let response = cluster.all_topics().await?;
        let others = response.topics.iter().filter(|topic| !topic.is_internal);
        Ok(others
            .filter_map(|topic| Some(topic.name.as_ref()?.to_string()))
            .collect())
    };
    let listed: Result<_, ClusterError> = cluster.retrying(within, attempt).await;
    listed.map_err(|error| error.into_transport("list topics"))
}

fn described(response: &MetadataResponse, name: &str) -> Result<Option<TopicDescription>, ClusterError> {
    let named = |topic: &&tidemill_protocol::messages::metadata::MetadataResponseTopic| {
        topic.name.as_ref().is_some_and(|n| *n == name)
    };
    let Some(topic) = response.topics.iter().find(named) else {
        return Ok(None);
    };
    match topic.error_code {
        // A partition without a leader is one all the same.
        ErrorCode::None | ErrorCode::LeaderNotAvailable if !topic.partitions.is_empty() => {
            let id = topic.topic_id;
            Ok(Some(TopicDescription {
                partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
                id: (!id.is_nil()).then(|| id.into_bytes()),
            }))
        }
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::None => Ok(None),
        code => Err(ClusterError::Refused(code)),
    }
}

/// Creates topics and waits until the cluster shows them. One that is there already is left as it is.
pub(crate) async fn create(
    cluster: Arc<Cluster>,
    topics: Vec<TopicSpec>,
    within: Duration,
) -> Result<(), TransportError> {
    const OPERATION: &str = "create topics";
    if topics.is_empty() {
        return Ok(());
    }
    let request = CreateTopicsRequest {
        topics: topics.iter().map(creatable).collect(),
        timeout_ms: i32::try_from(within.as_millis()).unwrap_or(i32::MAX),
        validate_only: false,
    };
    let attempt = || async {
        let response = ask_controller(&cluster, &request).await?;
        let not_now = response
            .topics
            .iter()
            .map(|topic| topic.error_code)
            .find(|code| code.is_retriable());
        not_now.map_or(Ok(response), |code| Err(ClusterError::Refused(code)))
    };
    let response = cluster.retrying(within, attempt).await;
    let response = response.map_err(|error| error.into_transport(OPERATION))?;
    for topic in &response.topics {
        if !matches!(topic.error_code, ErrorCode::None | ErrorCode::TopicAlreadyExists) {
            let message = topic
                .error_message
                .as_ref()
                .map_or(String::new(), |m| format!(": {m}"));
            return Err(TransportError::Cluster {
                operation: OPERATION,
                reason: format!("{}: {}{message}", topic.name, topic.error_code),
            });
        }
    }
    await_visible(&cluster, topics, within).await
}

/// A broker hears of new topics from the controller, after the one who created them.
async fn await_visible(
    cluster: &Arc<Cluster>,
    topics: Vec<TopicSpec>,
    within: Duration,
) -> Result<(), TransportError> {
    let deadline = Instant::now() + within;
    let names: Vec<String> = topics.into_iter().map(|topic| topic.name).collect();
    let mut backoff = cluster.backoff();
    loop {
        let described = describe(cluster.clone(), names.clone(), within).await?;
        if described.iter().all(Option::is_some) || Instant::now() >= deadline {
            return Ok(());
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

async fn ask_controller(
    cluster: &Cluster,
    request: &CreateTopicsRequest,
) -> Result<CreateTopicsResponse, ClusterError> {
    cluster.refresh(&[], AutoCreate::Never).await?;
    let controller = cluster.view().controller().cloned();
    let controller = controller.ok_or(ClusterError::Refused(ErrorCode::NotController))?;
    Ok(cluster.pool().call(&controller, Lane::Ask, request).await?)
}

fn creatable(spec: &TopicSpec) -> CreatableTopic {
    let config = |(name, value): (&String, &String)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
    };
    CreatableTopic {
        name: (&spec.name).into(),
        num_partitions: spec.partitions.unwrap_or(-1),
        replication_factor: spec.replication.unwrap_or(-1),
        assignments: Vec::new(),
        configs: spec.config.iter().map(config).collect(),
    }
}
