//! A broker's life: start, serve, stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tidemill_log::{Disk, LogDirs, LogDirsOptions, OpenError};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::admission::{Admission, RequestMemory};
use crate::cleaner;
use crate::clock;
use crate::config::{BrokerConfig, DataDir};
use crate::fetch_sessions::FetchSessions;
use crate::groups::{GroupShards, Groups};
use crate::housekeeping;
use crate::http;
use crate::listeners;
use crate::local::{self, Local};
use crate::metadata::{Durability, MetadataError, MetadataFile};
use crate::metrics::Metrics;
use crate::mover;
use crate::producer_ids::ProducerIds;
use crate::settings::{BrokerSettings, ListenerError, TopicAtStart, TopicValues, Values};
use crate::shared::Shared;
use crate::topics::{NewTopic, TopicError, Topics, config_of};
use crate::transactions::{TransactionShards, Transactions};

/// What the newest records of all logs may hold in memory.
const TAIL_CACHE_BYTES: usize = 16 << 20;
const RECOVERY_THREADS_PER_DIR: usize = 2;

/// A broker that could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener cannot be read or served.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// No listener was given.
    #[error("no listener is given")]
    NoListener,
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// A directory cannot be made.
    #[error("{}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The metadata log cannot be read or written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The logs cannot be opened.
    #[error(transparent)]
    Logs(#[from] OpenError),
    /// What a crash left undone could not be done.
    #[error("the topics could not be restored: {0}")]
    Topics(String),
}

/// A running broker.
///
/// [`Broker::shutdown`] stops it in good order. Dropping it stops it too, without the last sync and the mark of a clean
/// stop: the next start on the same directory checks the logs as after a crash.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    bootstrap: String,
    // The listeners by name, in their order.
    bound_to: Vec<(String, SocketAddr)>,
    http_address: Option<SocketAddr>,
    shared: Arc<Shared>,
    // Closed when the last of those who hold `shared` is done with it.
    released: oneshot::Receiver<Infallible>,
    stopping: Stopping,
    local: Local,
    tasks: JoinSet<()>,
    // Removed when the broker goes.
    _temporary: Option<TempDir>,
}

impl Broker {
    /// Starts a broker. It serves when this returns.
    pub async fn start(config: BrokerConfig) -> Result<Broker, StartError> {
        let mut settings = config.settings()?;
        tell_about(&config);
        let temporary = place_data(&config, &mut settings)?;
        let bound = listeners::bind(&settings).await?;
        let first = bound.first().ok_or(StartError::NoListener)?;
        let (address, bootstrap) = (first.address, first.endpoint.bootstrap());
        let endpoint = Arc::clone(&first.endpoint);
        let bound_to = bound
            .iter()
            .map(|bound| (bound.endpoint.listener.clone(), bound.address))
            .collect();
        let durability = if temporary.is_some() {
            Durability::PageCache
        } else {
            Durability::Synced
        };
        let (dirs, topics) = open(config.disk, &settings, &config.values, durability)?;
        let http = match settings.http_listener.as_str() {
            "" => None,
            address => Some(http::bind(address).await?),
        };
        let (held, released) = oneshot::channel();
        let request_memory = RequestMemory::new(settings.requests_bytes_max);
        let shared = Arc::new(Shared {
            fetch_sessions: FetchSessions::new(settings.fetch_sessions_max),
            settings,
            dirs,
            topics,
            producer_ids: ProducerIds::default(),
            group_shards: GroupShards::default(),
            transaction_shards: TransactionShards::default(),
            metrics: Metrics::new(),
            admission: Admission::default(),
            request_memory,
            movers: Notify::new(),
            stopping: watch::Sender::new(false),
            _held: held,
        });
        let stopping = Stopping(shared.stopping.clone());
        create_topics(&shared, &config.topics)?;
        Groups::of(&shared).resume();
        Transactions::of(&shared).resume();
        let mut tasks = JoinSet::new();
        for bound in bound {
            tasks.spawn(listeners::accept(Arc::clone(&shared), bound));
        }
        let http_address = http.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = http {
            tasks.spawn(http::serve(Arc::clone(&shared), listener));
        }
        let (local, arrivals) = Local::new();
        tasks.spawn(local::accept(Arc::clone(&shared), endpoint, arrivals));
        tasks.spawn(housekeeping::run(Arc::clone(&shared)));
        tasks.spawn(mover::run(Arc::clone(&shared)));
        cleaner::spawn(&shared, &mut tasks);
        tracing::info!(%address, advertised = bootstrap, cluster = shared.cluster_id(), "listening");
        Ok(Broker {
            address,
            bootstrap,
            bound_to,
            http_address,
            shared,
            released,
            stopping,
            local,
            tasks,
            _temporary: temporary,
        })
    }

    /// The address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address that the listener of this name is bound to.
    pub fn listener_address(&self, name: &str) -> Option<SocketAddr> {
        let mut bound_to = self.bound_to.iter();
        bound_to
            .find(|(listener, _)| listener.eq_ignore_ascii_case(name))
            .map(|(_, address)| *address)
    }

    /// The address of `/metrics` and `/health`, where `tidemill.http.listener` asks for them.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Where clients in this process connect, without a socket.
    pub fn local(&self) -> Local {
        self.local.clone()
    }

    /// What clients connect to, as `bootstrap.servers` wants it.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Takes the settings of `config` that may change while a broker runs, as after an edit of its file. Returns the
    /// names of those that differ and hold until the next start.
    pub fn reload(&self, config: &BrokerConfig) -> Vec<&'static str> {
        let fixed = self.shared.topics.reload(&config.values);
        tracing::info!(unchanged = ?fixed, "settings were read again");
        fixed
    }

    /// Stops: closes every connection, syncs the logs and marks the stop as clean.
    pub async fn shutdown(mut self) {
        self.stop_tasks().await;
        let dirs = Arc::clone(&self.shared.dirs);
        match tokio::task::spawn_blocking(move || dirs.close()).await {
            Ok(Ok(())) => tracing::info!(address = %self.address, "stopped"),
            Ok(Err(error)) => tracing::error!(%error, "stopped without a clean mark"),
            Err(error) => tracing::error!(%error, "the logs were not closed"),
        }
        self.release().await;
    }

    /// Stops as a crash would leave things: no last sync, no mark of a clean stop. The directories are free when this
    /// returns, which is what a drop cannot promise.
    pub async fn abandon(mut self) {
        self.stop_tasks().await;
        self.release().await;
    }

    async fn stop_tasks(&mut self) {
        self.stopping.now();
        while self.tasks.join_next().await.is_some() {}
        // Transactions first: they write their markers through the groups' coordinators too.
        Transactions::of(&self.shared).shutdown().await;
        Groups::of(&self.shared).shutdown().await;
    }

    /// Waits until the log directories are free: what a connection had begun on a thread for blocking work goes on to its
    /// end after the connection was closed.
    async fn release(self) {
        let Self { shared, released, .. } = self;
        drop(shared);
        let Err(_closed) = released.await;
    }
}

/// Tells everyone that the broker stops, at the latest when it is dropped.
#[derive(Debug)]
struct Stopping(watch::Sender<bool>);

impl Stopping {
    fn now(&self) {
        self.0.send_replace(true);
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        self.now();
    }
}

fn tell_about(config: &BrokerConfig) {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    for (name, reason) in config.without_counterpart() {
        tracing::info!(setting = name, "has no counterpart here: {reason}");
    }
}

/// Puts the data where it belongs; the directory goes when what is returned does.
fn place_data(config: &BrokerConfig, settings: &mut BrokerSettings) -> Result<Option<TempDir>, StartError> {
    match &config.data {
        DataDir::Settings => Ok(None),
        DataDir::Given(dir) => {
            settings.log_dirs = vec![dir.clone()];
            Ok(None)
        }
        DataDir::Temporary => {
            let dir = tempfile::Builder::new().prefix("tidemill-").tempdir();
            let dir = dir.map_err(|source| StartError::Directory {
                path: std::env::temp_dir(),
                source,
            })?;
            settings.log_dirs = vec![dir.path().to_path_buf()];
            Ok(Some(dir))
        }
    }
}

fn open(
    disk: Arc<dyn Disk>,
    settings: &BrokerSettings,
    values: &Values,
    durability: Durability,
) -> Result<(Arc<LogDirs>, Topics), StartError> {
    raise_file_limit();
    for path in &settings.log_dirs {
        std::fs::create_dir_all(path).map_err(|source| StartError::Directory {
            path: path.clone(),
            source,
        })?;
    }
    let home = settings.log_dirs.first().ok_or(OpenError::NoDirectory)?;
    let (before, _) = MetadataFile::read(home)?;
    let options = LogDirsOptions {
        dirs: settings.log_dirs.clone(),
        node_id: settings.node_id,
        new_cluster_id: new_cluster_id(),
        tail_cache_bytes: TAIL_CACHE_BYTES,
        recovery_threads_per_dir: RECOVERY_THREADS_PER_DIR,
    };
    // What was changed while an earlier broker ran here holds again.
    let altered = values.with_altered(&before.broker);
    let config = |partition: &_| config_of(&before, &altered, partition);
    let (dirs, reports) = LogDirs::open(disk, options, &config, clock::now())?;
    for (partition, report) in reports.iter().filter(|(_, report)| !report.is_clean()) {
        if let Some(cut) = &report.truncated {
            tracing::warn!(%partition, offset = %cut.offset, bytes = cut.bytes, fault = %cut.fault, "a torn tail was cut off");
        }
        for damaged in &report.damaged {
            tracing::error!(%partition, segment = %damaged.base_offset, damage = ?damaged.damage, "records are damaged");
        }
    }
    let dirs = Arc::new(dirs);
    // Opening the directories locked them, and only then may the metadata log be written. It is read again, or what a
    // broker that was just stopping wrote since would be cut off.
    let (image, good) = MetadataFile::read(home)?;
    let metadata = MetadataFile::open(home, image, good, durability)?;
    let values = values.with_altered(&metadata.image().broker);
    let topics = Topics::recover(values, Arc::clone(&dirs), metadata);
    Ok((
        dirs,
        topics.map_err(|error| StartError::Topics(error.to_string()))?,
    ))
}

/// Makes the topics that are to be there from the start, where they are not.
fn create_topics(shared: &Shared, topics: &[TopicAtStart]) -> Result<(), StartError> {
    for topic in topics {
        let failed = |error: TopicError| StartError::Topics(format!("{}: {error}", topic.name));
        let mut settings = TopicValues::default();
        if let Some(policy) = &topic.cleanup_policy {
            let set = settings.set("cleanup.policy", policy);
            set.map_err(|error| failed(error.into()))?;
        }
        let new = || NewTopic {
            name: topic.name.clone(),
            partitions: topic.partitions,
            settings,
        };
        shared.topics.find_or_create(&topic.name, new).map_err(failed)?;
    }
    Ok(())
}

/// Makes the data directories of a broker with these settings, as far as they are not there, and says which cluster
/// they belong to: `cluster_id`, or a new one, unless a directory has one already.
pub fn format(config: &BrokerConfig, cluster_id: Option<&str>) -> Result<String, StartError> {
    let settings = config.settings()?;
    let options = LogDirsOptions {
        dirs: settings.log_dirs,
        node_id: settings.node_id,
        new_cluster_id: cluster_id.map_or_else(new_cluster_id, str::to_string),
        tail_cache_bytes: 0,
        recovery_threads_per_dir: RECOVERY_THREADS_PER_DIR,
    };
    let none = |_: &_| tidemill_log::LogConfig::default();
    let (dirs, _) = LogDirs::open(Arc::clone(&config.disk), options, &none, clock::now())?;
    // There is nothing in it that could fail to close.
    dirs.close()
        .map_err(|error| StartError::Topics(error.to_string()))?;
    Ok(dirs.cluster_id().to_string())
}

/// Kafka's cluster ids: 16 random bytes in URL-safe base64.
fn new_cluster_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = Uuid::new_v4().as_u128();
    let digit = |place: u32| {
        let six = if place == 21 {
            (bits << 4) & 63
        } else {
            (bits >> (122 - 6 * place)) & 63
        };
        ALPHABET
            .get(usize::try_from(six).unwrap_or(0))
            .map_or('A', |byte| char::from(*byte))
    };
    (0..22).map(digit).collect()
}

/// Every log keeps files open, so the limit that a shell gives is soon reached.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
}
