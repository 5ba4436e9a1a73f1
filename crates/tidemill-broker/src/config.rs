//! What a broker is started with.

use std::path::PathBuf;
use std::sync::Arc;

use tidemill_log::{Disk, FileDisk};

use crate::settings::{
    BrokerSettings, ListenerError, PropertiesError, SettingError, TopicAtStart, Values, parse_properties,
    take_environment,
};

/// What a broker is started with: Kafka's settings, and where its data lies.
///
/// [`BrokerConfig::embedded`] is meant for a broker inside a program, [`BrokerConfig::server`] for one of its own.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    pub(crate) values: Values,
    pub(crate) data: DataDir,
    pub(crate) warnings: Vec<SettingError>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) topics: Vec<TopicAtStart>,
}

/// Where a broker's data lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataDir {
    /// In a new directory that goes when the broker does.
    Temporary,
    /// Where `log.dirs` says.
    Settings,
    /// Here, whatever the settings say.
    Given(PathBuf),
}

/// A `server.properties` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not a properties file.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// A setting does not take its value.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A listener cannot be read or served.
    #[error(transparent)]
    Listener(#[from] ListenerError),
}

/// What an embedded broker starts from where it differs from Kafka: a free port on the loopback interface, no wait for
/// more group members, sessions as short as a test wants them, few internal partitions.
const EMBEDDED: &[(&str, &str)] = &[
    ("listeners", "PLAINTEXT://127.0.0.1:0"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "10"),
    ("group.consumer.heartbeat.interval.ms", "500"),
    ("offsets.topic.num.partitions", "4"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.num.partitions", "4"),
    ("delete.topic.enable", "true"),
    ("auto.create.topics.enable", "true"),
];

impl Default for BrokerConfig {
    fn default() -> BrokerConfig {
        BrokerConfig::embedded()
    }
}

impl BrokerConfig {
    /// A broker inside a program: a free port, a temporary directory, nothing that a test would have to wait for.
    pub fn embedded() -> BrokerConfig {
        let mut values = Values::default();
        for (name, value) in EMBEDDED {
            values.set(name, value).expect("a test starts an embedded broker");
        }
        BrokerConfig {
            values,
            data: DataDir::Temporary,
            warnings: Vec::new(),
            disk: Arc::new(FileDisk),
            topics: Vec::new(),
        }
    }

    /// A broker of its own, with Kafka's defaults: port 9092 on every interface, data where `log.dirs` says.
    pub fn server() -> BrokerConfig {
        BrokerConfig {
            values: Values::default(),
            data: DataDir::Settings,
            warnings: Vec::new(),
            disk: Arc::new(FileDisk),
            topics: Vec::new(),
        }
    }

    /// Reads the text of a `server.properties`. An unknown setting becomes a warning, told when the broker starts.
    pub fn from_properties(text: &str) -> Result<BrokerConfig, ConfigError> {
        let mut config = BrokerConfig::server();
        for (name, value) in parse_properties(text)? {
            match config.values.set(&name, &value) {
                Err(unknown @ SettingError::Unknown { .. }) => config.warnings.push(unknown),
                other => other?,
            }
        }
        BrokerSettings::load(&config.values)?;
        Ok(config)
    }

    /// Takes settings from `variables`, as container images of Kafka do: `KAFKA_LOG_RETENTION_MS` is `log.retention.ms`,
    /// `KAFKA_CREATE_TOPICS=name:partitions:replicas,…` makes topics when the broker starts. A variable that is no
    /// setting becomes a warning.
    pub fn with_environment(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<BrokerConfig, ConfigError> {
        let environment = take_environment(&mut self.values, variables)?;
        self.warnings.extend(environment.unknown);
        self.topics.extend(environment.topics);
        BrokerSettings::load(&self.values)?;
        Ok(self)
    }

    /// Sets one of Kafka's broker settings; `name` must be known and take `value`.
    pub fn set(mut self, name: &str, value: impl ToString) -> Result<BrokerConfig, SettingError> {
        self.values.set(name, &value.to_string())?;
        Ok(self)
    }

    /// Keeps the data in `dir`, so that a later broker finds it there.
    pub fn with_data_dir(mut self, dir: impl Into<PathBuf>) -> BrokerConfig {
        self.data = DataDir::Given(dir.into());
        self
    }

    /// Puts partitions on `disk` instead of the file system itself: for who watches what a broker does to its files, or
    /// makes them fail. The metadata log stays on the file system, and so must what `disk` names.
    pub fn with_disk(mut self, disk: Arc<dyn Disk>) -> BrokerConfig {
        self.disk = disk;
        self
    }

    /// The settings that were not known, each naming the nearest that is.
    pub fn warnings(&self) -> &[SettingError] {
        &self.warnings
    }

    /// The settings that were given and have nothing here that they could change, with the reason.
    pub fn without_counterpart(&self) -> Vec<(&'static str, &'static str)> {
        let rows = self.values.without_counterpart();
        rows.filter_map(|row| row.broker.map(|name| (name, row.documentation)))
            .collect()
    }

    /// The settings, typed, with every default filled in.
    pub fn settings(&self) -> Result<BrokerSettings, ListenerError> {
        BrokerSettings::load(&self.values)
    }
}
