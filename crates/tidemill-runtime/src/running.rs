//! A program at work, as its owner sees it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tidemill_data::StoreName;
use tidemill_streams::Topology;
use tokio::sync::oneshot;

use crate::control::Owner;
use crate::embedded::EmbeddedBroker;
use crate::error::{QueryError, RunError};
use crate::globals::Following;
use crate::metrics::{Exposition, Snapshot};
use crate::pool::Pool;
use crate::query::{Query, Reply, StoreQuery};
use crate::state::{State, StateBoard};
use crate::worker::{Command, Instance};

/// A program that was started. Dropping it stops it without waiting for the end; [`stop`](Self::stop) waits.
pub struct Running {
    pub(crate) shared: Arc<Shared>,
    pool: Arc<Pool>,
    // The thread of the global stores, if there are any.
    following: Option<Following>,
    bootstrap: String,
    // The broker in this process, if the program started one. It goes last.
    broker: Option<EmbeddedBroker>,
}

/// What queries and the owner share.
pub(crate) struct Shared {
    pub(crate) topology: Arc<Topology>,
    pub(crate) board: Arc<StateBoard>,
    // Queries keep no program alive: once it has stopped its state directory is free, however long they are kept.
    pool: Weak<Pool>,
}

impl Shared {
    pub(crate) fn new(topology: Arc<Topology>, board: Arc<StateBoard>, pool: &Arc<Pool>) -> Self {
        Self {
            topology,
            board,
            pool: Arc::downgrade(pool),
        }
    }

    /// The instance as it is now, for a question about a store. Errors: it is no more.
    pub(crate) fn instance(&self, store: &str) -> Result<Arc<Instance>, QueryError> {
        let pool = self.pool.upgrade().ok_or_else(|| QueryError::NotReady {
            name: store.to_owned(),
            state: self.state(),
        })?;
        Ok(pool.instance())
    }

    pub(crate) fn state(&self) -> State {
        self.board.state()
    }

    /// Sends a question to every worker there is.
    pub(crate) fn ask(
        &self,
        query: impl Fn(oneshot::Sender<Result<Reply, QueryError>>) -> Query,
    ) -> Vec<oneshot::Receiver<Result<Reply, QueryError>>> {
        let mut answers = Vec::new();
        let Some(pool) = self.pool.upgrade() else {
            return answers;
        };
        pool.tell(|| {
            // A worker that has ended drops the question, which its answer's channel tells.
            let (reply, answer) = oneshot::channel();
            answers.push(answer);
            Command::Query(query(reply))
        });
        answers
    }

    /// Waits until the program runs; otherwise gives the state it is in for good, or after `at_most`.
    pub(crate) async fn wait_until_running(&self, at_most: Duration) -> Result<(), State> {
        let mut states = self.board.subscribe();
        let settled = |state: &State| !matches!(state, State::Created | State::Rebalancing);
        // Copied out on its own line: what is waited for borrows the state, and to ask for the state again while that borrow
        // lives is to wait for a writer that waits for us.
        let settled = tokio::time::timeout(at_most, states.wait_for(settled))
            .await
            .map(|state| state.map(|state| *state));
        match settled {
            Ok(Ok(State::Running)) => Ok(()),
            Ok(Ok(other)) => Err(other),
            Ok(Err(_)) | Err(_) => Err(self.state()),
        }
    }
}

impl Running {
    pub(crate) fn new(
        shared: Arc<Shared>,
        pool: Arc<Pool>,
        following: Option<Following>,
        bootstrap: String,
        broker: Option<EmbeddedBroker>,
    ) -> Self {
        Self {
            shared,
            pool,
            following,
            bootstrap,
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

    /// What it is doing, in numbers: rates, lags, tasks, and how far restoring is. As fresh as a quarter of a second.
    pub fn snapshot(&self) -> Snapshot {
        self.pool.instance().metrics.snapshot(self.state())
    }

    /// Adds its metrics to a registry of yours, by Kafka Streams' names.
    ///
    /// ```
    /// use prometheus_client::{encoding::text::encode, registry::Registry};
    ///
    /// # fn scrape(running: &tidemill_runtime::Running) -> Result<String, std::fmt::Error> {
    /// let mut registry = Registry::default();
    /// running.register_metrics(&mut registry);
    /// let mut text = String::new();
    /// encode(&mut text, &registry)?;
    /// # Ok(text) }
    /// ```
    pub fn register_metrics(&self, registry: &mut Registry) {
        let pool = &self.pool;
        let client = pool.client().to_owned();
        let exposition = Exposition::new(&pool.instance().metrics, &self.shared.board, client);
        registry.register_collector(Box::new(exposition));
    }

    /// Its metrics as Prometheus reads them, from a registry of its own.
    pub fn metrics(&self) -> String {
        let mut registry = Registry::default();
        self.register_metrics(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("text can be added to a string");
        text
    }

    /// The names of its threads, as in the logs.
    pub fn threads(&self) -> Vec<String> {
        self.pool.names()
    }

    /// Starts one more thread, which gets its share of the tasks, and gives its name; `None` once the program is
    /// stopping. Errors: the cluster cannot be reached.
    pub async fn add_thread(&self) -> Result<Option<String>, RunError> {
        let pool = self.pool.clone();
        off_the_executor(move || pool.add()).await?
    }

    /// Stops the youngest thread after a last commit, and gives its name; its tasks go to the others. `None`: there is
    /// none.
    pub async fn remove_thread(&self) -> Result<Option<String>, RunError> {
        let pool = self.pool.clone();
        off_the_executor(move || pool.remove(None)).await
    }

    /// Stops the thread of this name, as [`remove_thread`](Self::remove_thread).
    pub async fn remove_thread_named(&self, name: &str) -> Result<Option<String>, RunError> {
        let (pool, name) = (self.pool.clone(), name.to_owned());
        off_the_executor(move || pool.remove(Some(&name))).await
    }

    /// Processes nothing until [`resume`](Self::resume). The program stays in its group, goes on restoring, and answers
    /// queries.
    pub fn pause(&self) {
        self.pool.instance().paused.store(true, Ordering::Relaxed);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.pool.instance().paused.store(false, Ordering::Relaxed);
        self.pool.tell(|| Command::Look);
    }

    /// Whether it was told to [`pause`](Self::pause).
    pub fn is_paused(&self) -> bool {
        self.pool.instance().paused.load(Ordering::Relaxed)
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

    /// The instances that told where they answer queries (`application.server`), and their tasks, the latest first: of
    /// two that name a task, the first has it.
    pub async fn owners(&self) -> Result<Vec<Owner>, QueryError> {
        self.shared.owners("").await
    }

    /// A store, to be read. Asking is cheap; what can go wrong, the read says.
    pub fn store<K: 'static, V: 'static>(&self, name: &StoreName<K, V>) -> StoreQuery<K, V> {
        StoreQuery::new(name.clone(), self.shared.clone())
    }

    /// Stops in good order: no new input, a last commit, the group left, state flushed.
    ///
    /// Errors: why the program had stopped by itself, if it had.
    pub async fn stop(mut self) -> Result<(), RunError> {
        self.pool.stop(State::PendingShutdown);
        let pool = self.pool.clone();
        let following = self.following.take();
        let joined = off_the_executor(move || {
            let joined = pool.join();
            if let Some(following) = following {
                following.end();
            }
            joined
        })
        .await;
        if let Some(broker) = self.broker.take() {
            broker.shutdown().await;
        }
        joined?
    }
}

/// Makes a call that blocks.
pub(crate) async fn off_the_executor<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RunError> {
    let outcome = tokio::task::spawn_blocking(call).await;
    outcome.map_err(|error| RunError::Thread(error.to_string()))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.pool.stop(State::PendingShutdown);
    }
}
