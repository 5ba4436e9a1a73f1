//! What all connections share, and what a handler knows of its request.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use tidemill_log::LogDirs;
use tokio::sync::{Notify, oneshot, watch};

use crate::admission::{Admission, RequestMemory};
use crate::fetch_sessions::FetchSessions;
use crate::groups::GroupShards;
use crate::listeners::Endpoint;
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::producer_ids::ProducerIds;
use crate::settings::{BrokerSettings, TopicValues, Values};
use crate::topics::{CONSUMER_OFFSETS, NewTopic, TRANSACTION_STATE, Topic, TopicError, Topics};
use crate::transactions::TransactionShards;

/// What all connections of a broker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: BrokerSettings,
    pub(crate) dirs: Arc<LogDirs>,
    pub(crate) topics: Topics,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) fetch_sessions: FetchSessions,
    /// The coordinators of groups, one for each partition of the offsets topic in use.
    pub(crate) group_shards: GroupShards,
    /// The coordinators of transactions, one for each partition of their topic in use.
    pub(crate) transaction_shards: TransactionShards,
    pub(crate) metrics: Metrics,
    /// The connections that are open.
    pub(crate) admission: Admission,
    /// What all requests in work may take.
    pub(crate) request_memory: RequestMemory,
    /// Told when a log is wanted in another directory.
    pub(crate) movers: Notify,
    /// Becomes true when the broker stops.
    pub(crate) stopping: watch::Sender<bool>,
    /// Closed by the drop of all this, which comes after the drop of what stands above: the log directories are free.
    pub(crate) _held: oneshot::Sender<Infallible>,
}

impl Shared {
    /// The broker's settings as they hold now; those in `settings` hold from start to end.
    pub(crate) fn values(&self) -> Arc<Values> {
        self.topics.values()
    }

    pub(crate) fn node_id(&self) -> i32 {
        self.settings.node_id
    }

    pub(crate) fn cluster_id(&self) -> &str {
        self.dirs.cluster_id()
    }

    /// A topic with the broker's defaults, as it is made when somebody asks for one that is not there.
    pub(crate) fn auto_created(&self, name: &str) -> NewTopic {
        match name {
            CONSUMER_OFFSETS => return self.consumer_offsets(),
            TRANSACTION_STATE => return self.transaction_state(),
            _ => {}
        }
        let settings = TopicValues::default();
        NewTopic {
            name: name.to_string(),
            partitions: self.settings.num_partitions,
            settings,
        }
    }

    fn consumer_offsets(&self) -> NewTopic {
        let settings = &self.settings;
        kept_by_key(
            CONSUMER_OFFSETS,
            settings.offsets_topic_partitions,
            settings.offsets_topic_segment_bytes,
        )
    }

    fn transaction_state(&self) -> NewTopic {
        let settings = &self.settings;
        kept_by_key(
            TRANSACTION_STATE,
            settings.transaction_topic_partitions,
            settings.transaction_topic_segment_bytes,
        )
    }

    /// A partition of a topic, if both are there.
    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        self.topics.find(topic)?.partition(index).cloned()
    }

    /// The topic that keeps transactional ids, made if it is not there yet.
    pub(crate) fn transaction_topic(&self) -> Result<Arc<Topic>, TopicError> {
        self.topics
            .find_or_create(TRANSACTION_STATE, || self.transaction_state())
    }

    /// The topic that keeps groups and their offsets, made if it is not there yet.
    pub(crate) fn offsets_topic(&self) -> Result<Arc<Topic>, TopicError> {
        self.topics
            .find_or_create(CONSUMER_OFFSETS, || self.consumer_offsets())
    }
}

/// A topic of the broker's own that keeps the last record of each key.
fn kept_by_key(name: &str, partitions: i32, segment_bytes: i32) -> NewTopic {
    let mut settings = TopicValues::default();
    let segment_bytes = segment_bytes.to_string();
    for (name, value) in [
        ("cleanup.policy", "compact"),
        ("compression.type", "producer"),
        ("segment.bytes", segment_bytes.as_str()),
    ] {
        settings
            .set(name, value)
            .expect("a test makes the topics of coordinators");
    }
    NewTopic {
        name: name.to_string(),
        partitions,
        settings,
    }
}

/// What a handler knows of its request besides its body.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    /// What the client is told to connect to: it came through this listener.
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) version: i16,
    /// The client's name for itself; empty when it has none.
    pub(crate) client_id: String,
    pub(crate) client_address: IpAddr,
}
