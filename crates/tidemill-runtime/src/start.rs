//! From a program and its settings to threads at work.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use tidemill_client::{Isolation, Member, Settings, Subscription, Transport, connect};
use tidemill_data::Timestamp;
use tidemill_streams::App;

use crate::config::Config;
use crate::databases::Databases;
use crate::embedded::EmbeddedBroker;
use crate::error::{RunError, StartError};
use crate::plan::{Missing, prepare};
use crate::restore::{RestoreListener, RestoreProgress};
use crate::running::{Running, Shared, WorkerHandle};
use crate::state::{State, StateBoard, StateListener, ThreadPhase};
use crate::state_dir::StateDir;
use crate::worker::{Command, Instance, Post, Turn, Worker};

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
            state_listener: None,
            restore_listener: None,
            transport: None,
        }
    }
}

/// A start being set up.
pub struct Launch {
    app: App,
    config: Config,
    state_listener: Option<StateListener>,
    restore_listener: Option<RestoreListener>,
    transport: Option<Arc<dyn Transport>>,
}

impl Launch {
    /// Calls `listener` at every change of state: the new one, then the one before.
    pub fn on_state(mut self, listener: impl Fn(State, State) + Send + Sync + 'static) -> Self {
        self.state_listener = Some(Arc::new(listener));
        self
    }

    /// Calls `listener` when a store's restoring begins, after each batch, and when it is complete.
    pub fn on_restore(mut self, listener: impl Fn(&RestoreProgress) + Send + Sync + 'static) -> Self {
        self.restore_listener = Some(Arc::new(listener));
        self
    }

    /// Uses this transport instead of connecting to `bootstrap.servers`.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Starts the program, as [`Start::start`].
    pub async fn start(self) -> Result<Running, StartError> {
        let topology = self.app.topology()?;
        for lint in topology.lints() {
            tracing::debug!("{lint}");
        }
        let name = self
            .config
            .application_id
            .clone()
            .unwrap_or_else(|| topology.app().to_owned());
        let cluster = Cluster::reach(&self.config, self.transport).await?;
        let prepared = {
            let (transport, topology, config) =
                (cluster.transport.clone(), topology.clone(), self.config.clone());
            let missing = cluster.missing;
            blocking(move || {
                let dir = StateDir::open(&config.state_dir, &name)?;
                let plan = prepare(&topology, &*transport, config.replication_factor, missing)?;
                let databases = Databases::new(dir, &config);
                let restore_listener = self.restore_listener;
                Ok(Instance {
                    topology,
                    plan,
                    config,
                    transport,
                    databases,
                    restore_listener,
                })
            })
            .await?
        };
        launch(Arc::new(prepared), cluster, self.state_listener)
    }
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
        with_defaults(&mut settings);
        Ok(Self {
            transport: connect(&settings)?.into(),
            bootstrap,
            missing,
            broker,
        })
    }
}

/// As Kafka's own producer: no duplicates and no reordering by retries.
fn with_defaults(settings: &mut Settings) {
    settings
        .entry("producer.enable.idempotence".into())
        .or_insert_with(|| "true".into());
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(outcome) => outcome,
        Err(error) => Err(StartError::Thread(std::io::Error::other(error))),
    }
}

fn launch(
    instance: Arc<Instance>,
    cluster: Cluster,
    state_listener: Option<StateListener>,
) -> Result<Running, StartError> {
    let board = Arc::new(StateBoard::new(instance.config.threads, state_listener));
    let error = Arc::new(Mutex::new(None));
    let subscription = subscription(&instance);
    let mut members = Vec::new();
    for thread in 0..instance.config.threads {
        let client = format!("{}-{}", subscription.client, thread + 1);
        let id = instance.config.group_instance_id.as_ref();
        members.push(instance.transport.join(&Subscription {
            client,
            instance: id.map(|id| format!("{id}-{}", thread + 1)),
            ..subscription.clone()
        })?);
    }
    board.begin();
    let (mut workers, mut threads) = (Vec::new(), Vec::new());
    for (index, member) in members.into_iter().enumerate() {
        let (commands, receiver) = channel();
        workers.push(WorkerHandle {
            commands,
            wake: member.wake(),
        });
        let seat = Seat {
            index,
            instance: instance.clone(),
            board: board.clone(),
            error: error.clone(),
        };
        let name = format!("{}-{}", subscription.client, index + 1);
        threads.push(seat.spawn(name, member, receiver).map_err(StartError::Thread)?);
    }
    let shared = Shared {
        topology: instance.topology.clone(),
        board,
        workers,
        error,
    };
    Ok(Running::new(
        Arc::new(shared),
        cluster.bootstrap,
        threads,
        cluster.broker,
    ))
}

fn subscription(instance: &Instance) -> Subscription {
    let Instance {
        topology,
        config,
        databases,
        ..
    } = instance;
    let parts = topology.subtopologies().iter();
    let topics = parts.flat_map(|part| {
        part.source_topics
            .iter()
            .chain(part.repartition_sources.iter().map(|topic| &topic.name))
            .cloned()
    });
    let group = instance.application().to_owned();
    let instance_id = databases.dir().instance_id();
    let client = config
        .client_id
        .clone()
        .unwrap_or_else(|| format!("{group}-{instance_id}"));
    Subscription {
        queued_bytes_max: config.input_buffer_bytes / config.threads.max(1),
        isolation: if config.exactly_once {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        },
        ..Subscription::new(
            group,
            client,
            topics.collect::<BTreeSet<_>>().into_iter().collect(),
        )
    }
}

/// What a thread needs to run a worker and to tell how it ended.
struct Seat {
    index: usize,
    instance: Arc<Instance>,
    board: Arc<StateBoard>,
    error: Arc<Mutex<Option<RunError>>>,
}

impl Seat {
    fn spawn(
        self,
        name: String,
        member: Box<dyn Member>,
        commands: std::sync::mpsc::Receiver<Command>,
    ) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name(name.clone()).spawn(move || {
            let run = std::panic::AssertUnwindSafe(|| self.run(&name, member, commands));
            let outcome =
                std::panic::catch_unwind(run).unwrap_or_else(|_| Err(RunError::Panic(name.clone())));
            self.instance.databases.flush();
            match outcome {
                Ok(()) => self.board.thread_is(self.index, ThreadPhase::Ended),
                Err(error) => {
                    tracing::error!("{name}: {error}");
                    self.error
                        .lock()
                        .expect("no section that holds this lock panics")
                        .get_or_insert(error);
                    self.board.thread_is(self.index, ThreadPhase::Failed);
                }
            }
        })
    }

    fn run(
        &self,
        name: &str,
        member: Box<dyn Member>,
        commands: std::sync::mpsc::Receiver<Command>,
    ) -> Result<(), RunError> {
        let wait = self.instance.config.poll_wait;
        let post = Post {
            name: name.to_owned(),
            number: self.index + 1,
        };
        let mut worker = Worker::new(self.instance.clone(), post, member, commands, now())?;
        loop {
            match worker.turn(now(), wait) {
                Ok(Turn::Next(phase)) => self.board.thread_is(self.index, phase),
                Ok(Turn::Stopped) => return worker.leave(),
                Err(error) => {
                    // Others take over at once, instead of waiting for the session to end.
                    if let Err(leaving) = worker.leave() {
                        tracing::warn!("{name}: {leaving}");
                    }
                    return Err(error);
                }
            }
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
