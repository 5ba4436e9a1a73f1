//! A program at work, as its owner sees it.

use std::any::Any;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemill_client::Wake;
use tidemill_data::StoreName;
use tidemill_store::StoreKind;
use tidemill_streams::Topology;
use tokio::sync::oneshot;

use crate::embedded::EmbeddedBroker;
use crate::error::{QueryError, RunError};
use crate::query::{Query, Row, Store};
use crate::state::{State, StateBoard};
use crate::worker::Command;

/// A program that was started. Dropping it stops it without waiting for the end; [`stop`](Self::stop) waits.
pub struct Running {
    shared: Arc<Shared>,
    bootstrap: String,
    threads: Vec<JoinHandle<()>>,
    // The broker in this process, if the program started one. It goes last.
    broker: Option<EmbeddedBroker>,
}

/// What queries and the owner share.
pub(crate) struct Shared {
    pub(crate) topology: Arc<Topology>,
    pub(crate) board: Arc<StateBoard>,
    pub(crate) workers: Vec<WorkerHandle>,
    // Guards the first error of any thread.
    pub(crate) error: Arc<Mutex<Option<RunError>>>,
}

pub(crate) struct WorkerHandle {
    pub(crate) commands: Sender<Command>,
    pub(crate) wake: Wake,
}

impl Shared {
    pub(crate) fn state(&self) -> State {
        self.board.state()
    }

    /// Sends a question to every worker.
    pub(crate) fn ask(
        &self,
        query: impl Fn(oneshot::Sender<Result<Vec<Row>, QueryError>>) -> Query,
    ) -> Vec<oneshot::Receiver<Result<Vec<Row>, QueryError>>> {
        let ask = |worker: &WorkerHandle| {
            let (reply, answer) = oneshot::channel();
            // A worker that has ended drops the question, which its answer's channel tells.
            let _ = worker.commands.send(Command::Query(query(reply)));
            (worker.wake)();
            answer
        };
        self.workers.iter().map(ask).collect()
    }

    /// Waits until the program runs; otherwise gives the state it is in for good, or after `at_most`.
    pub(crate) async fn wait_until_running(&self, at_most: Duration) -> Result<(), State> {
        let mut states = self.board.subscribe();
        let settled = |state: &State| !matches!(state, State::Created | State::Rebalancing);
        match tokio::time::timeout(at_most, states.wait_for(settled)).await {
            Ok(Ok(state)) if *state == State::Running => Ok(()),
            _ => Err(self.state()),
        }
    }

    fn stop(&self) {
        self.board.shut_down();
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Stop);
            (worker.wake)();
        }
    }
}

impl Running {
    pub(crate) fn new(
        shared: Arc<Shared>,
        bootstrap: String,
        threads: Vec<JoinHandle<()>>,
        broker: Option<EmbeddedBroker>,
    ) -> Self {
        Self {
            shared,
            bootstrap,
            threads,
            broker,
        }
    }

    /// What the program is doing.
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// The cluster's address: as configured, or that of the broker in this process.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap
    }

    /// Waits until every task works. Errors: the program stopped instead.
    pub async fn ready(&self) -> Result<(), State> {
        self.shared
            .wait_until_running(Duration::from_secs(u64::from(u32::MAX)))
            .await
    }

    /// Waits until the program has ended, by itself or by [`stop`](Self::stop) from a clone of its handle.
    pub async fn ended(&self) -> State {
        let mut states = self.shared.board.subscribe();
        let ended = states
            .wait_for(|state| matches!(state, State::NotRunning | State::Error))
            .await;
        ended.map_or(State::NotRunning, |state| *state)
    }

    /// A store, to be read. Asking is cheap; what can go wrong, the read says.
    pub fn store<K: 'static, V: 'static>(&self, name: &StoreName<K, V>) -> StoreQuery<K, V> {
        let stores = self.shared.topology.stores();
        match stores.iter().find(|store| store.name == name.name()) {
            Some(view) if !matches!(view.kind, StoreKind::KeyValue | StoreKind::Timestamped) => {
                StoreQuery(Err(QueryError::Kind {
                    name: name.name().to_owned(),
                }))
            }
            Some(view) => {
                let app = self.shared.topology.app();
                StoreQuery(Ok(Store::new(name.clone(), view.kind, app, self.shared.clone())))
            }
            None => {
                let known = stores.into_iter().map(|store| store.name).collect();
                StoreQuery(Err(QueryError::UnknownStore {
                    name: name.name().to_owned(),
                    known,
                }))
            }
        }
    }

    /// Stops in good order: no new input, a last commit, the group left, state flushed.
    ///
    /// Errors: why the program had stopped by itself, if it had.
    pub async fn stop(mut self) -> Result<(), RunError> {
        self.shared.stop();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(join)).await;
        if let Some(broker) = self.broker.take() {
            broker.shutdown().await;
        }
        joined.unwrap_or_else(|e| Err(RunError::Panic(e.to_string())))?;
        match self
            .shared
            .error
            .lock()
            .expect("no section that holds this lock panics")
            .take()
        {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn join(thread: JoinHandle<()>) -> Result<(), RunError> {
    let name = thread.thread().name().unwrap_or("stream thread").to_owned();
    thread
        .join()
        .map_err(|_panic: Box<dyn Any + Send>| RunError::Panic(name))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// A store of a running program, or why there is none.
pub struct StoreQuery<K, V>(Result<Store<K, V>, QueryError>);

impl<K: 'static, V: 'static> StoreQuery<K, V> {
    /// The row of a key, if this instance has one.
    pub async fn get(&self, key: &K) -> Result<Option<V>, QueryError> {
        self.store()?.get(key).await
    }

    /// The rows of a range of keys, in the order of their bytes.
    pub async fn range(&self, keys: impl std::ops::RangeBounds<K>) -> Result<Vec<(K, V)>, QueryError> {
        self.store()?.range(keys).await
    }

    /// All rows this instance has, in the order of their keys' bytes.
    pub async fn all(&self) -> Result<Vec<(K, V)>, QueryError> {
        self.store()?.all().await
    }

    fn store(&self) -> Result<&Store<K, V>, QueryError> {
        self.0.as_ref().map_err(Clone::clone)
    }
}
