//! Topics, groups and their offsets, for programs.

use std::sync::Arc;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::REQUEST_TIMEOUT;
use super::producer::blocking;
use super::transport::{admin_client, config, create_topics, layered};
use super::young_topic::{UNKNOWN_MAX, once_known};
use crate::{Settings, TopicPartition, TopicSpec, TransportError};

/// Creates, lists, describes and deletes.
pub struct Admin {
    settings: Settings,
    native: AdminClient<DefaultClientContext>,
    // Metadata and groups are asked for through a consumer that is a member of nothing.
    reader: Arc<BaseConsumer>,
}

/// A topic's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartitions {
    /// The topic's name.
    pub name: String,
    /// For each partition, in order, its leader's id and those of its replicas and of the ones in sync.
    pub partitions: Vec<PartitionReplicas>,
}

/// Who holds a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionReplicas {
    /// The leader; −1 while there is none.
    pub leader: i32,
    /// All replicas.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub in_sync: Vec<i32>,
}

/// A group in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// The group's id.
    pub group: String,
    /// Its state, in Kafka's words.
    pub state: String,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// The group's id.
    pub group: String,
    /// Its state, in Kafka's words.
    pub state: String,
    /// Its members' ids with their client ids.
    pub members: Vec<(String, String)>,
}

impl Admin {
    /// An admin client of a cluster.
    pub fn connect(bootstrap_servers: impl Into<String>) -> Result<Self, TransportError> {
        Self::with_settings(&Settings::from([(
            "bootstrap.servers".to_owned(),
            bootstrap_servers.into(),
        )]))
    }

    /// An admin client by settings with Kafka's names.
    pub fn with_settings(settings: &Settings) -> Result<Self, TransportError> {
        let reader = config(&layered(
            settings,
            "consumer.",
            &[("group.id", "tidemill-admin".into())],
        ));
        let reader = reader
            .create()
            .map_err(|e| TransportError::Settings(e.to_string()))?;
        Ok(Self {
            settings: settings.clone(),
            native: admin_client(settings)?,
            reader: Arc::new(reader),
        })
    }

    /// Creates topics. Errors: the first that was refused, with the reason.
    pub async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), TransportError> {
        first_failure("create a topic", create_topics(&self.native, topics).await?)
    }

    /// Deletes topics. Errors: the first that was refused, with the reason.
    pub async fn delete_topics(&self, topics: &[&str]) -> Result<(), TransportError> {
        let outcomes = self
            .native
            .delete_topics(topics, &options())
            .await
            .map_err(|e| error("delete topics", &e))?;
        first_failure("delete a topic", outcomes)
    }

    /// The names of all topics.
    pub async fn list_topics(&self) -> Result<Vec<String>, TransportError> {
        let mut names: Vec<String> = self
            .metadata(None)
            .await?
            .into_iter()
            .map(|topic| topic.name)
            .collect();
        names.sort();
        Ok(names)
    }

    /// A topic's partitions; `None` if there is no such topic.
    pub async fn describe_topic(&self, topic: &str) -> Result<Option<TopicPartitions>, TransportError> {
        // Asking for one topic by name may create it; asking for all never does.
        Ok(self
            .metadata(None)
            .await?
            .into_iter()
            .find(|found| found.name == topic))
    }

    /// All groups.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, TransportError> {
        let groups = self.groups(None).await?;
        Ok(groups
            .into_iter()
            .map(|g| GroupListing {
                group: g.group,
                state: g.state,
            })
            .collect())
    }

    /// A group with its members; `None` if nobody ever was in it.
    pub async fn describe_group(&self, group: &str) -> Result<Option<GroupDescription>, TransportError> {
        Ok(self
            .groups(Some(group.to_owned()))
            .await?
            .into_iter()
            .find(|g| g.group == group && g.state != "Dead"))
    }

    /// Deletes groups that have no members. Errors: the first that was refused, with the reason.
    pub async fn delete_groups(&self, groups: &[&str]) -> Result<(), TransportError> {
        let outcomes = self
            .native
            .delete_groups(groups, &options())
            .await
            .map_err(|e| error("delete groups", &e))?;
        first_failure("delete a group", outcomes)
    }

    /// A group's committed offsets in these partitions.
    pub async fn group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<i64>>, TransportError> {
        let reader = self.member(group)?;
        let list = partition_list(partitions.iter().map(|p| (p, Offset::Invalid)))?;
        let found = blocking("group offsets", move || {
            reader.committed_offsets(list, REQUEST_TIMEOUT)
        })
        .await?;
        Ok(found
            .elements()
            .iter()
            .map(|e| e.offset().to_raw().filter(|raw| *raw >= 0))
            .collect())
    }

    /// Sets a group's offsets. Errors: the group has members.
    pub async fn set_group_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), TransportError> {
        let reader = self.member(group)?;
        let list = partition_list(offsets.iter().map(|(p, offset)| (p, Offset::Offset(*offset))))?;
        blocking("set group offsets", move || {
            reader.commit(&list, rdkafka::consumer::CommitMode::Sync)
        })
        .await
    }

    /// The first offset and the one after the last record, of a partition. One of a topic that was made a moment ago is
    /// waited for, for half a minute at most.
    pub async fn offsets(&self, partition: &TopicPartition) -> Result<(i64, i64), TransportError> {
        let (reader, partition) = (self.reader.clone(), partition.clone());
        let offsets = once_known("offsets", UNKNOWN_MAX, move |within| {
            reader.fetch_watermarks(&partition.topic, partition.partition, within)
        });
        offsets.await?.map_err(|e| error("offsets", &e))
    }

    fn member(&self, group: &str) -> Result<BaseConsumer, TransportError> {
        let mut settings = layered(&self.settings, "consumer.", &[]);
        settings.insert("group.id".into(), group.into());
        settings.insert("enable.auto.commit".into(), "false".into());
        config(&settings)
            .create()
            .map_err(|e| TransportError::Settings(e.to_string()))
    }

    async fn metadata(&self, topic: Option<String>) -> Result<Vec<TopicPartitions>, TransportError> {
        let reader = self.reader.clone();
        let metadata = blocking("metadata", move || {
            reader.fetch_metadata(topic.as_deref(), REQUEST_TIMEOUT)
        })
        .await?;
        let describe = |topic: &rdkafka::metadata::MetadataTopic| {
            let replicas = |p: &rdkafka::metadata::MetadataPartition| PartitionReplicas {
                leader: p.leader(),
                replicas: p.replicas().to_vec(),
                in_sync: p.isr().to_vec(),
            };
            let partitions = topic.partitions().iter().map(replicas).collect();
            TopicPartitions {
                name: topic.name().to_owned(),
                partitions,
            }
        };
        Ok(metadata
            .topics()
            .iter()
            .filter(|t| t.error().is_none())
            .map(describe)
            .collect())
    }

    async fn groups(&self, group: Option<String>) -> Result<Vec<GroupDescription>, TransportError> {
        let reader = self.reader.clone();
        // The native list may not cross threads, so it is read where it arrives.
        blocking("groups", move || {
            let list = reader.fetch_group_list(group.as_deref(), REQUEST_TIMEOUT)?;
            let describe = |group: &rdkafka::groups::GroupInfo| GroupDescription {
                group: group.name().to_owned(),
                state: group.state().to_owned(),
                members: group
                    .members()
                    .iter()
                    .map(|m| (m.id().to_owned(), m.client_id().to_owned()))
                    .collect(),
            };
            Ok(list.groups().iter().map(describe).collect())
        })
        .await
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(REQUEST_TIMEOUT))
        .request_timeout(Some(REQUEST_TIMEOUT))
}

fn partition_list<'a>(
    entries: impl Iterator<Item = (&'a TopicPartition, Offset)>,
) -> Result<TopicPartitionList, TransportError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in entries {
        list.add_partition_offset(&partition.topic, partition.partition, offset)
            .map_err(|e| error("offsets", &e))?;
    }
    Ok(list)
}

fn first_failure(
    operation: &'static str,
    outcomes: Vec<Result<String, (String, RDKafkaErrorCode)>>,
) -> Result<(), TransportError> {
    outcomes.into_iter().try_for_each(|outcome| match outcome {
        Ok(_) => Ok(()),
        Err((name, code)) => Err(TransportError::Cluster {
            operation,
            reason: format!("{name}: {code}"),
        }),
    })
}

fn error(operation: &'static str, cause: &rdkafka::error::KafkaError) -> TransportError {
    TransportError::Cluster {
        operation,
        reason: cause.to_string(),
    }
}
