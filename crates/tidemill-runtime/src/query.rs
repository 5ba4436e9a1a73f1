//! Queries of the stores of this instance.
//!
//! A question goes to every worker and is answered on its thread, from what its tasks have, uncommitted writes included;
//! or, when asked so, from what their last commits left.

mod form;
#[cfg(feature = "http")]
mod http;
mod owners;
mod position;
mod rows;
mod windows;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tidemill_client::TopicPartition;
use tidemill_data::{StoreName, Timestamp};
use tidemill_store::StoreKind;
use tidemill_streams::{StoreReader, Subtopology, TaskError, TaskId};
use tokio::sync::oneshot;

pub use self::form::{Answer, Form, Rows, RowsAndPosition};
#[cfg(feature = "http")]
pub use self::http::Everywhere;
pub use self::position::{Position, PositionError};
use crate::error::QueryError;
use crate::globals::GlobalPosition;
use crate::live_task::LiveTask;
use crate::restore::Restoring;
use crate::running::Shared;
use crate::state::State;

/// How long a query waits for the program to be running.
const READY_WAIT: Duration = Duration::from_secs(30);

/// A rebalance may begin between the look at the state and the answer; then the query waits again, so often.
const ATTEMPTS: usize = 5;

/// Reads one task's stores and keeps what it finds. `true`: nothing is left to find elsewhere.
type Read = Box<dyn FnMut(&mut StoreReader<'_>) -> Result<bool, TaskError> + Send>;

/// A question for one worker.
pub(crate) struct Query {
    store: Arc<str>,
    view: View,
    // No other task is asked.
    only: Option<TaskId>,
    read: Read,
    bound: Bound,
    // By when the bound must be reached, once a worker has seen the question.
    until: Option<Timestamp>,
    reply: oneshot::Sender<Result<Reply, QueryError>>,
}

/// What a worker says, beside the rows that were read: what they reflect, and whether others need not be heard.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    position: Position,
    enough: bool,
}

/// Which rows a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// All that was written.
    Latest,
    /// What was committed.
    Committed,
}

/// How far an answer has to be, and how long it may take to be.
#[derive(Clone, Debug, Default)]
struct Bound {
    position: Position,
    wait: Duration,
}

/// What a worker answers from.
pub(crate) struct Sources<'a> {
    pub(crate) tasks: &'a mut BTreeMap<TaskId, LiveTask>,
    pub(crate) restorer: &'a Restoring,
    pub(crate) globals: &'a GlobalPosition,
    /// Whether the tasks are those of the partitions that the group gave this worker.
    pub(crate) holding: bool,
    pub(crate) now: Timestamp,
}

impl Query {
    /// Answers, or gives the question back to be asked again: the stores are not yet as far as it wants.
    pub(crate) fn answer(mut self, from: &mut Sources<'_>) -> Option<Self> {
        let answer = self.look(from);
        let until = *self
            .until
            .get_or_insert_with(|| from.now.saturating_add(self.bound.wait));
        if matches!(answer, Err(QueryError::Behind { .. })) && from.now < until {
            return Some(self);
        }
        // Whoever asked may have stopped waiting.
        let _ = self.reply.send(answer);
        None
    }

    fn look(&mut self, from: &mut Sources<'_>) -> Result<Reply, QueryError> {
        let mut reply = Reply::default();
        let mut outcome = Ok(());
        if !from.holding || from.restorer.holds(&self.store, self.only) {
            outcome = Err(QueryError::NotReady {
                name: self.store.to_string(),
                state: State::Rebalancing,
            });
        }
        for live in from.tasks.values_mut() {
            let own = live.task.stores().find(&self.store).is_some();
            let globals = live.task.topology().global_stores();
            let global = globals.iter().find(|global| *global.store == *self.store);
            let position = match global {
                _ if own => live.position(self.view == View::Committed),
                Some(global) => from.globals.of(&global.topic),
                None => continue,
            };
            let is_asked_for = self.only.is_none_or(|only| only == live.id() || !own);
            if !is_asked_for {
                continue;
            }
            let (partition, is_global) = (live.id().partition, global.is_some());
            if !position.has_reached(&self.bound.position, |at| is_global || at.partition == partition) {
                outcome = outcome.and(Err(self.behind(position)));
                continue;
            }
            // A row that was found is an answer, even where another task is still being restored. Every task has the
            // whole of a global store.
            match self.read(live, own) {
                Ok(enough) if enough || is_global || self.only.is_some() => {
                    let enough = true;
                    return Ok(Reply { position, enough });
                }
                Ok(_) => reply.position.reach_all(&position),
                Err(error) => outcome = Err(failed(&self.store, error)),
            }
        }
        outcome?;
        match self.only {
            Some(task) => Err(not_here(&self.store, task)),
            None => Ok(reply),
        }
    }

    fn read(&mut self, live: &mut LiveTask, own: bool) -> Result<bool, TaskError> {
        if self.view == View::Committed && own {
            let mut committed = live.task.last_commit()?;
            (self.read)(&mut committed.reader())
        } else {
            (self.read)(&mut live.task.reader())
        }
    }

    fn behind(&self, reached: Position) -> QueryError {
        QueryError::Behind {
            name: self.store.to_string(),
            wanted: self.bound.position.clone(),
            reached,
        }
    }
}

fn not_here(store: &str, task: TaskId) -> QueryError {
    QueryError::NotHere {
        name: store.to_owned(),
        task: task.to_string(),
    }
}

fn unreadable(store: &str, reason: impl ToString) -> QueryError {
    QueryError::Format {
        name: store.to_owned(),
        reason: reason.to_string(),
    }
}

fn inputs(part: &Subtopology) -> Vec<String> {
    let repartitions = part.repartition_sources.iter().map(|topic| &topic.name);
    part.source_topics.iter().chain(repartitions).cloned().collect()
}

fn failed(store: &str, error: TaskError) -> QueryError {
    let name = store.to_owned();
    match error {
        TaskError::State { error, .. } => QueryError::Format {
            name,
            reason: error.to_string(),
        },
        error => QueryError::Store {
            name,
            reason: error.to_string(),
        },
    }
}

/// A store of a running program, to be read by its name's types: what [`Running::store`](crate::Running::store) gives.
///
/// It has the rows of the partitions this instance works on, or all rows of a global table; while the program is being
/// assigned partitions or restored, a query waits for it.
///
/// Every answer reflects its inputs up to a [`Position`], which is told where asked for by
/// [`with_position`](Self::with_position); and a query may demand one by [`at_least`](Self::at_least):
///
/// ```
/// # use std::time::Duration;
/// # use tidemill_data::StoreName;
/// # use tidemill_runtime::{Position, QueryError, Running};
/// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
/// # async fn asked(running: &Running) -> Result<(), QueryError> {
/// // The record at offset 41 of clicks-0 was just written: its count, or an error if that takes more than a second.
/// let written = Position::new().with("clicks", 0, 41);
/// let counts = running.store(&COUNTS).at_least(written, Duration::from_secs(1)).with_position();
/// let count = counts.get(&"ann".to_owned()).await?;
/// println!("{:?}, as of {}", count.found, count.position);
/// # Ok(()) }
/// ```
pub struct StoreQuery<K, V, F = Rows> {
    name: StoreName<K, V>,
    view: View,
    bound: Bound,
    only: Option<TaskId>,
    form: PhantomData<fn() -> F>,
    shared: Arc<Shared>,
    // Why there is nothing to read, if so.
    refused: Option<QueryError>,
}

impl<K: 'static, V: 'static> StoreQuery<K, V> {
    pub(crate) fn new(name: StoreName<K, V>, shared: Arc<Shared>) -> Self {
        let stores = shared.topology.stores();
        let globals = shared.topology.global_stores();
        let known = stores
            .iter()
            .map(|store| &store.name)
            .chain(globals.iter().map(|global| &global.store));
        let refused = (!known.clone().any(|known| known == name.name())).then(|| QueryError::UnknownStore {
            name: name.name().to_owned(),
            known: known.cloned().collect(),
        });
        Self {
            name,
            view: View::Latest,
            bound: Bound::default(),
            only: None,
            form: PhantomData,
            shared,
            refused,
        }
    }
}

impl<K: 'static, V: 'static, F: Form> StoreQuery<K, V, F> {
    /// The same store, each answer together with the position of the inputs that it reflects.
    ///
    /// The inputs are those of the tasks that keep the store: behind a repartition topic, that topic.
    #[must_use]
    pub fn with_position(self) -> StoreQuery<K, V, RowsAndPosition> {
        StoreQuery {
            name: self.name,
            view: self.view,
            bound: self.bound,
            only: self.only,
            form: PhantomData,
            shared: self.shared,
            refused: self.refused,
        }
    }

    /// The same store, once it reflects at least this position: an answer waits for that as long as `wait`, and is then
    /// [`QueryError::Behind`]. With no time to wait it is refused at once.
    ///
    /// Each task here answers for its own partitions of the position; those of other instances answer for theirs. That
    /// a key has no row is an answer once all tasks here are as far.
    #[must_use]
    pub fn at_least(mut self, position: Position, wait: Duration) -> Self {
        self.bound = Bound { position, wait };
        self
    }

    /// The same store as the tasks' last commits left it: nothing that a failure might yet take back.
    #[must_use]
    pub fn committed(self) -> Self {
        Self {
            view: View::Committed,
            ..self
        }
    }

    /// The topic whose name formats see, as they did when the rows were written.
    fn changelog(&self) -> String {
        format!("{}-{}-changelog", self.shared.topology.app(), self.name.name())
    }

    fn kind(&self) -> Option<StoreKind> {
        let stores = self.shared.topology.stores();
        let found = stores.into_iter().find(|store| store.name == self.name.name());
        found.map(|store| store.kind)
    }

    fn refuse_unless(&self, fits: impl Fn(StoreKind) -> bool) -> Result<(), QueryError> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        self.refuse_foreign_topics()?;
        // A global store is a table.
        if self.kind().is_none_or(fits) {
            return Ok(());
        }
        Err(QueryError::Kind {
            name: self.name.name().to_owned(),
        })
    }

    /// A store follows its own inputs and no other topics: to wait for those would be to wait for ever.
    fn refuse_foreign_topics(&self) -> Result<(), QueryError> {
        let topology = &self.shared.topology;
        let view = topology
            .stores()
            .into_iter()
            .find(|store| store.name == self.name.name());
        let follows: Vec<String> = match view {
            Some(view) => topology
                .subtopologies()
                .get(view.subtopology)
                .map_or_else(Vec::new, inputs),
            None => {
                let globals = topology.global_stores().into_iter();
                let of = globals.filter(|global| global.store == self.name.name());
                of.map(|global| global.topic).collect()
            }
        };
        let foreign = |(at, _): &(&TopicPartition, i64)| !follows.iter().any(|topic| *topic == *at.topic);
        match self.bound.position.iter().find(foreign) {
            Some((at, _)) => Err(QueryError::NotFollowed {
                name: self.name.name().to_owned(),
                topic: at.topic.to_string(),
                follows,
            }),
            None => Ok(()),
        }
    }

    /// Asks all workers, and gives what their tasks' reads found.
    async fn ask<R: Send + 'static>(
        &self,
        read: impl Fn(&mut StoreReader<'_>, &mut Vec<R>) -> Result<bool, TaskError> + Send + Sync + 'static,
    ) -> Result<Answer<Vec<R>>, QueryError> {
        let not_ready = |state| QueryError::NotReady {
            name: self.name.name().to_owned(),
            state,
        };
        let read = Arc::new(read);
        if self.only.is_some() {
            // Whoever names a task wants to know at once where it is not.
            return self.ask_once(&read).await;
        }
        for _ in 0..ATTEMPTS {
            self.shared
                .wait_until_running(READY_WAIT)
                .await
                .map_err(not_ready)?;
            match self.ask_once(&read).await {
                Err(QueryError::NotReady { .. }) => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
        Err(not_ready(self.shared.state()))
    }

    async fn ask_once<R: Send + 'static, Q>(&self, read: &Arc<Q>) -> Result<Answer<Vec<R>>, QueryError>
    where
        Q: Fn(&mut StoreReader<'_>, &mut Vec<R>) -> Result<bool, TaskError> + Send + Sync + 'static,
    {
        // Guards what the workers found so far; held while one of them reads one task.
        let found = Arc::new(Mutex::new(Vec::new()));
        let store: Arc<str> = self.name.name().into();
        let mut replies: FuturesUnordered<_> = self
            .shared
            .ask(|reply| {
                let (read, found) = (Arc::clone(read), Arc::clone(&found));
                Query {
                    store: store.clone(),
                    view: self.view,
                    only: self.only,
                    read: Box::new(move |reader| {
                        let mut found = found.lock().expect("a reader that panics ends its worker");
                        read(reader, &mut found)
                    }),
                    bound: self.bound.clone(),
                    until: None,
                    reply,
                }
            })
            .into_iter()
            .collect();
        let mut outcome = self.only.map_or(Ok(()), |task| Err(not_here(&store, task)));
        let mut position = Position::new();
        while let Some(reply) = replies.next().await {
            match reply {
                Ok(Ok(Reply { position: of, enough })) => {
                    if enough {
                        (outcome, position) = (Ok(()), of);
                        break;
                    }
                    position.reach_all(&of);
                }
                // That the task is with one of the others says less than what that one says.
                Ok(Err(QueryError::NotHere { .. })) => {}
                Ok(Err(error)) => outcome = Err(error),
                // A worker that ended without an answer has none of the rows any more. Whoever wants a position waits for
                // the worker that has them next, instead of taking that for an answer.
                Err(_) if !self.bound.position.is_empty() => {
                    outcome = Err(QueryError::NotReady {
                        name: store.to_string(),
                        state: State::Rebalancing,
                    });
                }
                Err(_) => {}
            }
        }
        let mut found = found.lock().expect("as above");
        outcome.map(|()| Answer {
            found: std::mem::take(&mut *found),
            position,
        })
    }
}
