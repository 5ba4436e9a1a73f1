//! Consumer groups: a task for each partition of `__consumer_offsets` in use, which owns that partition's coordinator.
//!
//! ```text
//! handler ──▶ Groups::ask ──▶ [mailbox] ──▶ shard: Coordinator ──▶ append to __consumer_offsets ──▶ Written ──┐
//!    ▲                                          ▲                                                              │
//!    └────────────── oneshot ◀── Reply ◀────────┴──────────────────────────────────────────────────────────────┘
//! ```
//! A request that waits (JoinGroup for the others, SyncGroup for the leader) is a handler that awaits its oneshot.

mod shard;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidemill_coordinator::{
    AssignorName, ConsumerDescription, Event, FetchedOffset, GroupDescription, GroupError, GroupFilter,
    GroupId, GroupListing, GroupSettings, MemberId, Reply, ReplyTo, TopicId, TopicImage, TopicName,
    TopicShape, answer_without_group, partition_of_group,
};
use tidemill_log::{AppendError, TransactionGuard};
use tokio::sync::{mpsc, oneshot};

use crate::markers::Marker;
use crate::partition::Partition;
use crate::settings::BrokerSettings;
use crate::shards::Shards;
use crate::shared::Shared;
use crate::topics::{CONSUMER_OFFSETS, Topic};

use shard::{Command, Shard};

/// The shards of a broker's groups, and what they all ask for.
#[derive(Debug, Default)]
pub(crate) struct GroupShards {
    shards: Shards<Command>,
    // Guards the list only; held while it is made, so that several callers do not make it at once.
    topics: Mutex<Arc<TopicImage>>,
}

/// All consumer groups of a broker.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    shared: Arc<Shared>,
}

impl Groups {
    pub(crate) fn of(shared: &Arc<Shared>) -> Groups {
        Groups {
            shared: Arc::clone(shared),
        }
    }

    /// Takes up the groups found in `__consumer_offsets`, so that members who never come back time out.
    pub(crate) fn resume(&self) {
        let topic = self.shared.topics.find(CONSUMER_OFFSETS);
        for partition in topic.iter().flat_map(|topic| &topic.partitions) {
            if partition.log.log_end_offset() > partition.log.log_start_offset() {
                self.running(partition);
            }
        }
    }

    /// Hands an event to the group's coordinator and waits for its answer; `None` if the coordinator is gone.
    pub(crate) async fn ask(&self, group: GroupId, event: impl FnOnce(ReplyTo) -> Event) -> Option<Reply> {
        let (to, answer, answered) = self.asking();
        let event = event(to);
        let partition = match self.partition_of(&group) {
            Some(partition) => partition,
            // The topic is not made to say that a group is unknown.
            None => match answer_without_group(&group, &event) {
                Some(reply) => return Some(reply),
                None => self.partition_made(&group).await?,
            },
        };
        let command = Command::Ask {
            group,
            event,
            to,
            answer,
        };
        self.running(&partition).send(command).await.ok()?;
        answered.await.ok()
    }

    /// As `ask`, for offsets of a transaction that `guard` found open: `None` also if it has ended meanwhile.
    pub(crate) async fn ask_in_transaction(
        &self,
        group: GroupId,
        guard: TransactionGuard,
        event: impl FnOnce(ReplyTo) -> Event,
    ) -> Option<Reply> {
        let partition = self.partition_of(&group)?;
        let (to, answer, answered) = self.asking();
        let command = Command::AskInTransaction {
            guard,
            group,
            event: event(to),
            to,
            answer,
        };
        self.running(&partition).send(command).await.ok()?;
        answered.await.ok()
    }

    fn asking(&self) -> (ReplyTo, oneshot::Sender<Reply>, oneshot::Receiver<Reply>) {
        let to = self.shards().reply_to();
        let (answer, answered) = oneshot::channel();
        (to, answer, answered)
    }

    /// Writes a transaction's end to a partition of `__consumer_offsets`, and lets its offsets count or go.
    pub(crate) async fn mark(&self, partition: &Arc<Partition>, marker: Marker) -> Result<(), AppendError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Mark { marker, answer };
        let sent = self.running(partition).send(command).await;
        sent.map_err(|_| AppendError::Poisoned)?;
        answered.await.unwrap_or(Err(AppendError::Poisoned))
    }

    /// What the coordinator shows of a group; `None` if there is none.
    pub(crate) async fn describe(&self, group: GroupId) -> Option<GroupDescription> {
        let partition = self.partition_of(&group)?;
        let (answer, answered) = oneshot::channel();
        self.running(&partition)
            .send(Command::Describe { group, answer })
            .await
            .ok()?;
        answered.await.ok().flatten()
    }

    /// What the coordinator shows of a group of the consumer protocol; `None` if there is none.
    pub(crate) async fn describe_consumers(&self, group: GroupId) -> Option<ConsumerDescription> {
        let partition = self.partition_of(&group)?;
        let (answer, answered) = oneshot::channel();
        let command = Command::DescribeConsumers { group, answer };
        self.running(&partition).send(command).await.ok()?;
        answered.await.ok().flatten()
    }

    /// The topics there are, as groups see them. The list is made anew only when topics have changed.
    pub(crate) fn topics(&self) -> Arc<TopicImage> {
        let topics = &self.shared.topics;
        let mut cached = self
            .shared
            .group_shards
            .topics
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Read before the topics: what changes meanwhile makes the next caller look again.
        let version = topics.version();
        if cached.version() != version {
            let shapes = topics.all().into_iter().map(|topic| {
                let shape = TopicShape {
                    id: TopicId(topic.id.as_u128()),
                    partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
                };
                (topic.name.as_str().into(), shape)
            });
            *cached = Arc::new(TopicImage::new(version, shapes));
        }
        Arc::clone(&cached)
    }

    /// The committed offsets of a group, of the partitions wanted or of all.
    pub(crate) async fn fetch_offsets(
        &self,
        group: GroupId,
        by: Reader,
        wanted: Option<Vec<(TopicName, i32)>>,
    ) -> Result<Result<Vec<FetchedOffset>, GroupError>, Gone> {
        let Some(partition) = self.partition_of(&group) else {
            let none = |(topic, partition)| FetchedOffset {
                topic,
                partition,
                committed: None,
                unstable: false,
            };
            return Ok(Ok(wanted.unwrap_or_default().into_iter().map(none).collect()));
        };
        let (answer, answered) = oneshot::channel();
        let command = Command::FetchOffsets {
            group,
            by,
            wanted,
            answer,
        };
        self.running(&partition).send(command).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// All groups that pass the filter.
    pub(crate) async fn list(&self, filter: &GroupFilter) -> Result<Vec<GroupListing>, Gone> {
        let mut all = Vec::new();
        for mailbox in self.shards().in_use() {
            let (answer, answered) = oneshot::channel();
            mailbox
                .send(Command::List {
                    filter: filter.clone(),
                    answer,
                })
                .await
                .map_err(|_| Gone)?;
            all.append(&mut answered.await.map_err(|_| Gone)?);
        }
        all.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(all)
    }

    /// A topic was deleted: no group keeps offsets of it.
    pub(crate) async fn forget_topic(&self, topic: &str) {
        for mailbox in self.shards().in_use() {
            // A shard that is gone has nothing to forget.
            let _ = mailbox.send(Command::ForgetTopic { topic: topic.into() }).await;
        }
    }

    /// Ends all coordinators.
    pub(crate) async fn shutdown(&self) {
        self.shards().shutdown().await;
    }

    /// The partition that keeps a group; `None` before there is any group.
    pub(crate) fn partition_of(&self, group: &GroupId) -> Option<Arc<Partition>> {
        let topic = self.shared.topics.find(CONSUMER_OFFSETS)?;
        let count = i32::try_from(topic.partitions.len()).ok()?;
        topic
            .partition(partition_of_group(group.as_str(), count))
            .cloned()
    }

    /// The partition that keeps a group, which is made if need be.
    pub(crate) async fn partition_made(&self, group: &GroupId) -> Option<Arc<Partition>> {
        if self.shared.topics.find(CONSUMER_OFFSETS).is_none() {
            self.make_topic().await?;
        }
        self.partition_of(group)
    }

    async fn make_topic(&self) -> Option<Arc<Topic>> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || shared.offsets_topic()).await {
            Ok(Ok(topic)) => Some(topic),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot make {CONSUMER_OFFSETS}");
                None
            }
            Err(_) => None,
        }
    }

    /// The mailbox of a partition's shard.
    fn running(&self, partition: &Arc<Partition>) -> mpsc::Sender<Command> {
        self.shards().mailbox(partition, |commands| {
            Shard::new(Arc::clone(partition), group_settings(&self.shared.settings)).run(commands)
        })
    }

    fn shards(&self) -> &Shards<Command> {
        &self.shared.group_shards.shards
    }
}

/// Who reads a group's offsets: a member of the consumer protocol says its epoch.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// Empty if it is no member.
    pub(crate) member: MemberId,
    pub(crate) epoch: i32,
}

impl Reader {
    pub(crate) fn nobody() -> Reader {
        Reader {
            member: "".into(),
            epoch: -1,
        }
    }
}

/// The coordinator ended while it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

fn group_settings(settings: &BrokerSettings) -> GroupSettings {
    GroupSettings {
        initial_rebalance_delay_ms: millis(settings.group_initial_rebalance_delay),
        session_timeout_min_ms: millis(settings.group_session_timeout_min),
        session_timeout_max_ms: millis(settings.group_session_timeout_max),
        size_max: settings.group_size_max,
        consumer_session_timeout_ms: millis(settings.group_consumer_session_timeout),
        consumer_heartbeat_interval_ms: millis(settings.group_consumer_heartbeat_interval),
        consumer_size_max: settings.group_consumer_size_max,
        consumer_assignors: settings
            .group_consumer_assignors
            .iter()
            .filter_map(|name| AssignorName::of_name(name))
            .collect(),
        offset_metadata_bytes_max: settings.offset_metadata_bytes_max,
        offsets_retention_ms: i64::try_from(settings.offsets_retention.as_millis()).unwrap_or(i64::MAX),
        offsets_retention_check_ms: millis(settings.offsets_retention_check_interval),
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
