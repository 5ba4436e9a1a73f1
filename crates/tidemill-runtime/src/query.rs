//! Queries of the stores of this instance.
//!
//! A question goes to every worker and is answered on its thread, from what its tasks have, uncommitted writes included;
//! or, when asked so, from what their last commits left.

#[cfg(feature = "http")]
mod http;
mod owners;
mod rows;
mod windows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill_data::StoreName;
use tidemill_store::StoreKind;
use tidemill_streams::{StoreReader, TaskError, TaskId};
use tokio::sync::oneshot;

use crate::error::QueryError;
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
    read: Read,
    reply: oneshot::Sender<Result<(), QueryError>>,
}

/// Which rows a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// All that was written.
    Latest,
    /// What was committed.
    Committed,
}

impl Query {
    pub(crate) fn answer(mut self, tasks: &mut BTreeMap<TaskId, LiveTask>, restorer: &Restoring) {
        let mut outcome = Ok(());
        if restorer.holds(&self.store) {
            outcome = Err(QueryError::NotReady {
                name: self.store.to_string(),
                state: State::Rebalancing,
            });
        }
        for live in tasks.values_mut() {
            let holds = live.task.stores().find(&self.store).is_some();
            let global = live.task.topology().global_stores();
            let global = global.iter().any(|global| *global.store == *self.store);
            if !holds && !global {
                continue;
            }
            let read = if self.view == View::Committed && holds {
                let committed = live.task.last_commit();
                committed.and_then(|mut committed| (self.read)(&mut committed.reader()))
            } else {
                (self.read)(&mut live.task.reader())
            };
            match read {
                // A row that was found is an answer, even where another task is still being restored. Every task has
                // the whole of a global store.
                Ok(enough) if enough || global => {
                    outcome = Ok(());
                    break;
                }
                Ok(_) => {}
                Err(error) => outcome = Err(failed(&self.store, error)),
            }
        }
        // Whoever asked may have stopped waiting.
        let _ = self.reply.send(outcome);
    }
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
pub struct StoreQuery<K, V> {
    name: StoreName<K, V>,
    view: View,
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
            shared,
            refused,
        }
    }

    /// The same store as the tasks' last commits left it: nothing that a failure might yet take back.
    #[must_use]
    pub fn committed(self) -> Self {
        Self {
            view: View::Committed,
            ..self
        }
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
        // A global store is a table.
        if self.kind().is_none_or(fits) {
            return Ok(());
        }
        Err(QueryError::Kind {
            name: self.name.name().to_owned(),
        })
    }

    /// Asks all workers, and gives what their tasks' reads found.
    async fn ask<R: Send + 'static>(
        &self,
        read: impl Fn(&mut StoreReader<'_>, &mut Vec<R>) -> Result<bool, TaskError> + Send + Sync + 'static,
    ) -> Result<Vec<R>, QueryError> {
        let not_ready = |state| QueryError::NotReady {
            name: self.name.name().to_owned(),
            state,
        };
        let read = Arc::new(read);
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

    async fn ask_once<R: Send + 'static, F>(&self, read: &Arc<F>) -> Result<Vec<R>, QueryError>
    where
        F: Fn(&mut StoreReader<'_>, &mut Vec<R>) -> Result<bool, TaskError> + Send + Sync + 'static,
    {
        // Guards what the workers found so far; held while one of them reads one task.
        let found = Arc::new(Mutex::new(Vec::new()));
        let store: Arc<str> = self.name.name().into();
        let replies = self.shared.ask(|reply| {
            let (read, found) = (Arc::clone(read), Arc::clone(&found));
            Query {
                store: store.clone(),
                view: self.view,
                read: Box::new(move |reader| {
                    let mut found = found.lock().expect("a reader that panics ends its worker");
                    read(reader, &mut found)
                }),
                reply,
            }
        });
        let mut outcome = Ok(());
        for reply in replies {
            // A worker that ended without an answer has none of the rows any more.
            if let Ok(Err(error)) = reply.await {
                outcome = Err(error);
            }
        }
        let mut found = found.lock().expect("as above");
        outcome.map(|()| std::mem::take(&mut *found))
    }
}
