//! The topics: which there are, and every change to them.
//!
//! A change is written to the metadata log first, then done on disk, then shown; what a crash leaves undone is done when
//! the broker starts again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tidemill_log::{DiskError, LogDirs, OpenError, TopicPartition};
use tidemill_protocol::KString;
use uuid::Uuid;

use crate::clock;
use crate::features::Levels;
use crate::log_config::log_config;
use crate::metadata::{Change, Image, MetadataError, MetadataFile};
use crate::partition::Partition;
use crate::settings::{SettingError, TopicValues, Values};

mod features;
mod settings;

pub(crate) use features::FeatureError;

/// How many partitions one topic may have; Kafka has no such bound, and falls over.
const TOPIC_PARTITIONS_MAX: i32 = 100_000;
const NAME_BYTES_MAX: usize = 249;

/// The topic that keeps groups and their offsets.
pub(crate) const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// The topic that keeps transactional ids and their transactions.
pub(crate) const TRANSACTION_STATE: &str = "__transaction_state";

/// A change to topics that was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TopicError {
    #[error("Topic '{0}' already exists.")]
    Exists(String),
    #[error("This server does not host this topic-partition: {0}")]
    Unknown(String),
    #[error("This server does not host this topic ID: {0}")]
    UnknownId(Uuid),
    #[error("Topic name is invalid: {name:?} {reason}")]
    Name { name: String, reason: &'static str },
    #[error("{0}")]
    Partitions(String),
    #[error("Unable to replicate the partition {factor} time(s): {reason}")]
    ReplicationFactor { factor: i16, reason: String },
    #[error("{0}")]
    Assignment(String),
    #[error("{0}")]
    Request(&'static str),
    #[error("{0}")]
    Resource(String),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("Topic deletion is disabled.")]
    DeletionDisabled,
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Log(#[from] OpenError),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// One topic as requests see it. It does not change; a change puts another in its place.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) settings: TopicValues,
    pub(crate) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.partitions.get(index))
    }

    pub(crate) fn is_internal(&self) -> bool {
        self.name == CONSUMER_OFFSETS || self.name == TRANSACTION_STATE
    }

    pub(crate) fn wire_name(&self) -> KString {
        self.name.as_str().into()
    }
}

/// A topic to be made.
#[derive(Debug)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) settings: TopicValues,
}

#[derive(Debug, Default)]
struct Registry {
    // Rises with every change.
    version: u64,
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl Registry {
    fn insert(&mut self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        self.version += 1;
        self.by_id.insert(topic.id, Arc::clone(&topic));
        self.by_name.insert(topic.name.clone(), Arc::clone(&topic));
        topic
    }
}

/// All topics of a broker.
#[derive(Debug)]
pub(crate) struct Topics {
    // The broker's settings as they hold now. Held for a copy of the handle.
    values: RwLock<Arc<Values>>,
    dirs: Arc<LogDirs>,
    // What features are at now. Held for a copy of the handle.
    levels: RwLock<Arc<Levels>>,
    // Guards the maps only; never held across I/O.
    registry: RwLock<Registry>,
    // Held for a whole change, so that changes come one after the other.
    metadata: Mutex<MetadataFile>,
}

impl Topics {
    /// The topics that `metadata` and the directories hold, after what a crash left undone is done.
    pub(crate) fn recover(
        values: Values,
        dirs: Arc<LogDirs>,
        metadata: MetadataFile,
    ) -> Result<Topics, TopicError> {
        let topics = Topics {
            values: RwLock::new(Arc::new(values)),
            dirs,
            levels: RwLock::new(Arc::new(metadata.image().levels.clone())),
            registry: RwLock::default(),
            metadata: Mutex::new(metadata),
        };
        {
            let mut metadata = topics.metadata();
            topics.sort_out_strays(&mut metadata)?;
            for (name, topic) in metadata.image().topics.clone() {
                topics.show(name, topic.id, topic.settings, topic.partitions)?;
            }
        }
        Ok(topics)
    }

    /// Deletes partitions whose topic is gone, and adopts those that the metadata never knew: records are worth more
    /// than a metadata log that was lost.
    fn sort_out_strays(&self, metadata: &mut MetadataFile) -> Result<(), TopicError> {
        let mut gone = Vec::new();
        let mut adopted: BTreeMap<String, (Uuid, u32)> = BTreeMap::new();
        for log in self.dirs.logs() {
            let partition = log.topic_partition();
            let known = metadata.image().topics.get(&partition.topic);
            if known.is_some_and(|topic| log.topic_id().is_none_or(|id| id == topic.id)) {
                continue;
            }
            match log.topic_id() {
                Some(id) if metadata.image().deleted.contains(&id) || known.is_some() => {
                    gone.push(partition.clone())
                }
                id => {
                    let id = id.unwrap_or_else(Uuid::new_v4);
                    let entry = adopted.entry(partition.topic.clone()).or_insert((id, 0));
                    entry.1 = entry.1.max(u32::try_from(partition.partition).unwrap_or(0) + 1);
                }
            }
        }
        self.dirs.delete(&gone)?;
        for (name, (id, partitions)) in adopted {
            tracing::warn!(
                topic = name,
                partitions,
                "found on disk and not in the metadata log, taken in"
            );
            metadata.append(&[Change::TopicCreated {
                id,
                name,
                partitions,
                settings: Vec::new(),
            }])?;
        }
        Ok(())
    }

    /// Opens or makes the partitions of a topic and shows it.
    fn show(
        &self,
        name: String,
        id: Uuid,
        settings: TopicValues,
        count: u32,
    ) -> Result<Arc<Topic>, TopicError> {
        let before = self.find(&name).filter(|topic| topic.id == id);
        let mut partitions = before
            .as_ref()
            .map(|topic| topic.partitions.clone())
            .unwrap_or_default();
        let config = log_config(&settings, &self.values());
        for index in partitions.len()..count as usize {
            let index = i32::try_from(index).expect("the number of partitions is bounded");
            let partition = TopicPartition::new(name.clone(), index);
            let log = match self.dirs.log(&partition) {
                Some(log) => log,
                None => self.dirs.create(partition, id, config.clone(), clock::now())?,
            };
            partitions.push(Partition::new(log));
        }
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        Ok(registry.insert(Topic {
            name,
            id,
            settings,
            partitions,
        }))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().by_name.get(name).cloned()
    }

    pub(crate) fn find_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.read().by_id.get(&id).cloned()
    }

    /// A number that rises with every change of topics.
    pub(crate) fn version(&self) -> u64 {
        self.read().version
    }

    /// All topics, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.read().by_name.values().cloned().collect()
    }

    /// Makes a topic.
    pub(crate) fn create(&self, new: NewTopic) -> Result<Arc<Topic>, TopicError> {
        let mut metadata = self.metadata();
        self.check_new(&new)?;
        let partitions = u32::try_from(new.partitions).expect("checked to be positive");
        let id = Uuid::new_v4();
        let settings = new
            .settings
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        metadata.append(&[Change::TopicCreated {
            id,
            name: new.name.clone(),
            partitions,
            settings,
        }])?;
        let shown = self.show(new.name.clone(), id, new.settings, partitions);
        shown.inspect_err(|_| self.take_back(&mut metadata, &new.name, id, partitions))
    }

    /// Undoes what could be made of a topic before the disk refused. Left there, its partitions would be taken for those
    /// of the next topic of that name, and be deleted as strays by the start after that.
    fn take_back(&self, metadata: &mut MetadataFile, name: &str, id: Uuid, count: u32) {
        let partitions = (0..count).filter_map(|index| i32::try_from(index).ok());
        let made: Vec<_> = partitions
            .map(|index| TopicPartition::new(name, index))
            .filter(|partition| {
                self.dirs
                    .log(partition)
                    .is_some_and(|log| log.topic_id() == Some(id))
            })
            .collect();
        let taken_back = metadata
            .append(&[Change::TopicDeleted { id }])
            .map_err(TopicError::from)
            .and_then(|()| Ok(self.dirs.delete(&made)?));
        if let Err(error) = taken_back {
            tracing::error!(topic = name, %error, "a topic that could not be made is cleared away by the next start");
        }
    }

    /// The topic `name`, made with `make` if it is not there.
    pub(crate) fn find_or_create(
        &self,
        name: &str,
        make: impl FnOnce() -> NewTopic,
    ) -> Result<Arc<Topic>, TopicError> {
        if let Some(topic) = self.find(name) {
            return Ok(topic);
        }
        match self.create(make()) {
            Err(TopicError::Exists(_)) => self
                .find(name)
                .ok_or_else(|| TopicError::Unknown(name.to_string())),
            other => other,
        }
    }

    /// Whether `new` could be made.
    pub(crate) fn check_new(&self, new: &NewTopic) -> Result<(), TopicError> {
        check_name(&new.name)?;
        if !(1..=TOPIC_PARTITIONS_MAX).contains(&new.partitions) {
            return Err(TopicError::Partitions(format!(
                "Number of partitions must be between 1 and {TOPIC_PARTITIONS_MAX}, not {}.",
                new.partitions
            )));
        }
        let registry = self.read();
        if registry.by_name.contains_key(&new.name) {
            return Err(TopicError::Exists(new.name.clone()));
        }
        // Kafka's metric names turn '.' into '_', so it refuses topics that would then be one.
        let folded = new.name.replace('.', "_");
        let collides = |other: &&String| other.replace('.', "_") == folded;
        match registry.by_name.keys().find(collides) {
            Some(_) if new.name.contains(['.', '_']) => Err(TopicError::Name {
                name: new.name.clone(),
                reason: "collides with another topic's name",
            }),
            _ => Ok(()),
        }
    }

    /// Deletes a topic and its records.
    pub(crate) fn delete(&self, topic: &Arc<Topic>) -> Result<(), TopicError> {
        let mut metadata = self.metadata();
        if self.find_id(topic.id).is_none() {
            return Err(TopicError::Unknown(topic.name.clone()));
        }
        metadata.append(&[Change::TopicDeleted { id: topic.id }])?;
        let removed = {
            let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
            registry.version += 1;
            registry.by_name.remove(&topic.name);
            registry.by_id.remove(&topic.id)
        };
        let partitions = removed.map(|topic| topic.partitions.clone()).unwrap_or_default();
        partitions
            .iter()
            .for_each(|partition| partition.waiters.wake_all());
        let names: Vec<_> = partitions
            .iter()
            .map(|partition| partition.log.topic_partition().clone())
            .collect();
        Ok(self.dirs.delete(&names)?)
    }

    /// Gives a topic `count` partitions in all.
    pub(crate) fn add_partitions(&self, name: &str, count: i32) -> Result<Arc<Topic>, TopicError> {
        let mut metadata = self.metadata();
        let topic = self.check_partitions(name, count)?;
        let partitions = u32::try_from(count).expect("checked to be positive");
        metadata.append(&[Change::PartitionsAdded {
            id: topic.id,
            partitions,
        }])?;
        self.show(topic.name.clone(), topic.id, topic.settings.clone(), partitions)
    }

    /// Whether a topic could have `count` partitions in all.
    pub(crate) fn check_partitions(&self, name: &str, count: i32) -> Result<Arc<Topic>, TopicError> {
        let topic = self
            .find(name)
            .ok_or_else(|| TopicError::Unknown(name.to_string()))?;
        let has = topic.partitions.len();
        let wanted = usize::try_from(count).unwrap_or(0);
        if wanted == has {
            return Err(TopicError::Partitions(format!(
                "Topic already has {has} partition(s)."
            )));
        }
        if wanted < has {
            return Err(TopicError::Partitions(format!(
                "The topic {name} currently has {has} partition(s); {count} would not be an increase."
            )));
        }
        if count > TOPIC_PARTITIONS_MAX {
            return Err(TopicError::Partitions(format!(
                "A topic has at most {TOPIC_PARTITIONS_MAX} partitions."
            )));
        }
        Ok(topic)
    }

    /// Sets aside `count` producer ids and returns the first: none of them is given out again, whatever happens.
    pub(crate) fn producer_ids(&self, count: u32) -> Result<u64, TopicError> {
        let mut metadata = self.metadata();
        let first = metadata.image().producer_id_next;
        metadata.append(&[Change::ProducerIds {
            next: first + u64::from(count),
        }])?;
        Ok(first)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn metadata(&self) -> MutexGuard<'_, MetadataFile> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log settings of each partition that is found on disk.
pub(crate) fn config_of(
    image: &Image,
    values: &Values,
    partition: &TopicPartition,
) -> tidemill_log::LogConfig {
    let none = TopicValues::default();
    log_config(
        image
            .topics
            .get(&partition.topic)
            .map_or(&none, |topic| &topic.settings),
        values,
    )
}

/// Refuses a name that Kafka would.
pub(crate) fn check_name(name: &str) -> Result<(), TopicError> {
    let refuse = |reason| {
        Err(TopicError::Name {
            name: name.to_string(),
            reason,
        })
    };
    if name.is_empty() {
        return refuse("is empty");
    }
    if name == "." || name == ".." {
        return refuse("is '.' or '..'");
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse("is longer than 249 characters");
    }
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    {
        return refuse("has a character other than ASCII alphanumerics, '.', '_' and '-'");
    }
    Ok(())
}
