//! From a program and its settings to threads at work.

use std::future::Future;
use std::sync::Arc;

use tidemill_client::{Isolation, Settings, Subscription, Transport, connect};
use tidemill_streams::{App, Topology};

use crate::config::Config;
use crate::control::Control;
use crate::databases::Databases;
use crate::embedded::EmbeddedBroker;
use crate::error::StartError;
use crate::failure::{Failure, FailureHandler, Response};
use crate::globals::GlobalStores;
use crate::metrics::Metrics;
use crate::patterns::Patterns;
use crate::plan::{Fit, Missing, prepare};
use crate::pool::{Pool, now};
use crate::restore::{RestoreListener, RestoreProgress};
use crate::running::{Running, Shared};
use crate::state::{State, StateBoard, StateListener};
use crate::state_dir::StateDir;
use crate::upgrade::{Changes, Shape};
use crate::worker::Instance;

/// Starts programs: `app.start(config).await`.
pub trait Start {
    /// Starts the program and returns once its threads run; [`Running::ready`] waits until they work.
    ///
    /// Errors: the program, its settings or its topics do not fit, or the cluster does not answer.
    fn start(&self, config: Config) -> impl Future<Output = Result<Running, StartError>> + Send;

    /// Begins to set up a start with listeners, or on another transport.
    fn launch(&self, config: Config) -> Launch;
}

impl Start for App {
    fn start(&self, config: Config) -> impl Future<Output = Result<Running, StartError>> + Send {
        self.launch(config).start()
    }

    fn launch(&self, config: Config) -> Launch {
        Launch {
            app: self.clone(),
            config,
            listeners: Listeners::default(),
            transport: None,
        }
    }
}

/// A start being set up.
pub struct Launch {
    app: App,
    config: Config,
    listeners: Listeners,
    transport: Option<Arc<dyn Transport>>,
}

/// Who is told of what.
#[derive(Default)]
struct Listeners {
    state: Option<StateListener>,
    restore: Option<RestoreListener>,
    failure: Option<FailureHandler>,
}

impl Launch {
    /// Calls `listener` at every change of state: the new one, then the one before.
    pub fn on_state(mut self, listener: impl Fn(State, State) + Send + Sync + 'static) -> Self {
        self.listeners.state = Some(Arc::new(listener));
        self
    }

    /// Calls `listener` when a store's restoring begins, after each batch, and when it is complete.
    pub fn on_restore(mut self, listener: impl Fn(&RestoreProgress) + Send + Sync + 'static) -> Self {
        self.listeners.restore = Some(Arc::new(listener));
        self
    }

    /// Asks `handler` what to do when a thread fails; without one the instance stops.
    pub fn on_failure(mut self, handler: impl Fn(&Failure) -> Response + Send + Sync + 'static) -> Self {
        self.listeners.failure = Some(Arc::new(handler));
        self
    }

    /// Uses this transport instead of connecting to `bootstrap.servers`.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Starts the program, as [`Start::start`].
    pub async fn start(self) -> Result<Running, StartError> {
        let cluster = Cluster::reach(&self.config, self.transport).await?;
        if self.app.needs_resolving() {
            let transport = cluster.transport.clone();
            self.app
                .resolve(&blocking(move || Ok(transport.topics()?)).await?);
        }
        if self.config.preserve_headers {
            self.app.preserve_headers();
        }
        let topology = self.app.topology()?;
        for lint in topology.lints() {
            tracing::debug!("{lint}");
        }
        let name = self
            .config
            .application_id
            .clone()
            .unwrap_or_else(|| topology.app().to_owned());
        let metrics = Arc::<Metrics>::default();
        let patterns = Patterns::of(&self.app, &self.config, now()).map(Arc::new);
        let restore_listener = Some(recording(&metrics, self.listeners.restore.clone()));
        let (prepared, globals) = {
            let (transport, topology, config) =
                (cluster.transport.clone(), topology.clone(), self.config.clone());
            let missing = cluster.missing;
            blocking(move || {
                let dir = StateDir::open(&config.state_dir, &name)?;
                let fit = patterns.as_ref().map_or(Fit::Exact, |_| Fit::Existing);
                let plan = prepare(&topology, &*transport, config.replication_factor, missing, fit)?;
                let databases = Databases::new(dir, &config);
                let control = Control::open(transport.clone(), &name, config.replication_factor)?;
                compare_with_last_run(&topology, &control, config.accept_changes)?;
                let globals =
                    GlobalStores::restore(&topology, &plan, &databases, &*transport, &config, &name)?;
                let instance = Instance {
                    topology,
                    plan,
                    config,
                    transport,
                    databases: Arc::new(databases),
                    control: Arc::new(control),
                    paused: Arc::default(),
                    restore_listener,
                    metrics,
                    global_position: globals.as_ref().map(GlobalStores::position).unwrap_or_default(),
                    globals: globals.as_ref().map(GlobalStores::base),
                    patterns,
                };
                Ok((instance, globals))
            })
            .await?
        };
        launch(Arc::new(prepared), globals, cluster, self.listeners)
    }
}

/// A listener that notes how far restoring is, before it tells the owner's.
fn recording(metrics: &Arc<Metrics>, owner: Option<RestoreListener>) -> RestoreListener {
    let metrics = metrics.clone();
    Arc::new(move |progress| {
        metrics.restored(progress);
        if let Some(owner) = &owner {
            owner(progress);
        }
    })
}

/// Refuses a program that would lose or misread the state of the one that ran before it.
fn compare_with_last_run(topology: &Topology, control: &Control, accept: bool) -> Result<(), StartError> {
    let now = Shape::of(topology);
    let Some(recorded) = control.topology()? else {
        return Ok(control.record_topology(&now.to_json())?);
    };
    let before = match Shape::from_json(&recorded) {
        Ok(before) => before,
        Err(reason) if accept => {
            tracing::warn!("what was recorded of the program that ran before cannot be read: {reason}");
            return Ok(control.record_topology(&now.to_json())?);
        }
        Err(reason) => {
            return Err(StartError::UnknownPredecessor {
                topic: control.topic().to_owned(),
                reason,
            });
        }
    };
    if before == now {
        return Ok(());
    }
    let changes = Changes::between(&before, &now);
    if !changes.allowed(accept) {
        return Err(StartError::Incompatible {
            changes: changes.to_string(),
        });
    }
    tracing::info!("the program changed:\n{changes}");
    Ok(control.record_topology(&now.to_json())?)
}

/// The cluster to work on, and the broker that is it, if it was started here.
struct Cluster {
    transport: Arc<dyn Transport>,
    bootstrap: String,
    missing: Missing,
    broker: Option<EmbeddedBroker>,
}

impl Cluster {
    async fn reach(config: &Config, given: Option<Arc<dyn Transport>>) -> Result<Self, StartError> {
        if let Some(transport) = given {
            return Ok(Self {
                transport,
                bootstrap: String::new(),
                missing: Missing::Refuse,
                broker: None,
            });
        }
        let mut settings = config.client.clone();
        let (bootstrap, missing, broker) = match config.bootstrap() {
            Some(bootstrap) => (bootstrap.to_owned(), Missing::Refuse, None),
            None => {
                let broker = EmbeddedBroker::start().await?;
                (broker.bootstrap(), Missing::Create, Some(broker))
            }
        };
        settings.insert("bootstrap.servers".into(), bootstrap.clone());
        with_defaults(&mut settings, config);
        let transport = match &broker {
            Some(broker) => broker.connect(&settings)?,
            None => connect(&settings)?,
        };
        Ok(Self {
            transport: transport.into(),
            bootstrap,
            missing,
            broker,
        })
    }
}

/// As Kafka's own producer: no duplicates and no reordering by retries. What it has in flight is within the tasks' budget,
/// unless the program says otherwise, and lets the largest record through.
fn with_defaults(settings: &mut Settings, config: &Config) {
    let names = [
        "queue.buffering.max.kbytes",
        "producer.queue.buffering.max.kbytes",
        "buffer.memory",
        "producer.buffer.memory",
    ];
    if !names.iter().any(|name| settings.contains_key(*name)) {
        let bytes = config
            .in_flight_bytes_max()
            .max(config.record_bytes_max().saturating_add(64 << 10));
        let kbytes = (bytes >> 10).to_string();
        settings.insert("producer.queue.buffering.max.kbytes".into(), kbytes);
    }
    settings
        .entry("producer.enable.idempotence".into())
        .or_insert_with(|| "true".into());
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(outcome) => outcome,
        Err(error) => Err(StartError::Thread(error.to_string())),
    }
}

fn launch(
    instance: Arc<Instance>,
    globals: Option<GlobalStores>,
    cluster: Cluster,
    listeners: Listeners,
) -> Result<Running, StartError> {
    let board = Arc::new(StateBoard::new(listeners.state));
    let subscription = subscription(&instance);
    let (topology, threads) = (instance.topology.clone(), instance.config.threads);
    let name = subscription.client.clone();
    let pool = Pool::new(instance, board.clone(), subscription, listeners.failure);
    for _ in 0..threads {
        if let Err(error) = pool.add() {
            pool.stop(State::PendingShutdown);
            return Err(error.into());
        }
    }
    let following = globals
        .map(|globals| globals.follow(pool.clone(), &name))
        .transpose();
    let following = match following {
        Ok(following) => following,
        Err(error) => {
            pool.stop(State::PendingShutdown);
            return Err(error.into());
        }
    };
    Ok(Running::new(
        Arc::new(Shared::new(topology, board, &pool)),
        pool,
        following,
        cluster.bootstrap,
        cluster.broker,
    ))
}

fn subscription(instance: &Instance) -> Subscription {
    let Instance {
        config, databases, ..
    } = instance;
    let group = instance.application().to_owned();
    let instance_id = databases.dir().instance_id();
    let client = config
        .client_id
        .clone()
        .unwrap_or_else(|| format!("{group}-{instance_id}"));
    Subscription {
        queued_bytes_max: (config.input_buffer_bytes / config.threads.max(1)).min(config.polled_bytes_max()),
        isolation: if config.exactly_once {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        },
        ..Subscription::new(group, client, instance.input_topics())
    }
}
