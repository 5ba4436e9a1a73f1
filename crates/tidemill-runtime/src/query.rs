//! Queries of the stores of this instance.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use tidemill_data::{Headers, Place, Presence, StoreName};
use tidemill_store::{Direction, StateStores, StoreError, StoreId, StoreKind};
use tidemill_streams::TaskId;
use tokio::sync::oneshot;

use crate::error::QueryError;
use crate::live_task::LiveTask;
use crate::restore::Restoring;
use crate::running::Shared;
use crate::state::State;

/// How long a query waits for the program to be running.
const READY_WAIT: Duration = Duration::from_secs(30);

/// A question for one worker, answered on its thread from what its tasks have, uncommitted writes included.
pub(crate) struct Query {
    pub(crate) store: Arc<str>,
    pub(crate) kind: StoreKind,
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Result<Vec<Row>, QueryError>>,
}

#[derive(Clone)]
pub(crate) enum Ask {
    Key(Vec<u8>),
    Range(Option<Vec<u8>>, Option<Vec<u8>>),
}

pub(crate) type Row = (Vec<u8>, Vec<u8>);

impl Query {
    pub(crate) fn answer(self, tasks: &mut BTreeMap<TaskId, LiveTask>, restorer: &Restoring) {
        let mut rows = Vec::new();
        let mut outcome = Ok(());
        if restorer.holds(&self.store) {
            outcome = Err(QueryError::NotReady {
                name: self.store.to_string(),
                state: State::Rebalancing,
            });
        }
        for live in tasks.values_mut() {
            let stores = live.task.stores();
            let Some(store) = stores.find(&self.store) else {
                continue;
            };
            if let Err(error) = read(stores, store, self.kind, &self.ask, &mut rows) {
                outcome = Err(QueryError::Store {
                    name: self.store.to_string(),
                    reason: error.to_string(),
                });
            }
        }
        // A row that was found is an answer, even where another task is still being restored.
        let complete = matches!(self.ask, Ask::Key(_)) && !rows.is_empty();
        // Whoever asked may have stopped waiting.
        let _ = self.reply.send(if complete {
            Ok(rows)
        } else {
            outcome.map(|()| rows)
        });
    }
}

fn read(
    stores: &mut StateStores,
    store: StoreId,
    kind: StoreKind,
    ask: &Ask,
    rows: &mut Vec<Row>,
) -> Result<(), StoreError> {
    match (kind, ask) {
        (StoreKind::Timestamped, Ask::Key(key)) => {
            let found = stores.timestamped(store).get(key)?;
            rows.extend(found.map(|(value, _)| (key.clone(), value.to_vec())));
        }
        (StoreKind::Timestamped, Ask::Range(from, to)) => {
            let store = stores.timestamped(store);
            let mut found = store.range(from.as_deref(), to.as_deref(), Direction::Forward)?;
            while let Some((key, value, _)) = found.entry() {
                rows.push((key.to_vec(), value.to_vec()));
                found.advance()?;
            }
        }
        (StoreKind::KeyValue, Ask::Key(key)) => {
            let found = stores.key_value(store).get(key)?;
            rows.extend(found.map(|value| (key.clone(), value.to_vec())));
        }
        (StoreKind::KeyValue, Ask::Range(from, to)) => {
            let mut found =
                stores
                    .key_value(store)
                    .range(from.as_deref(), to.as_deref(), Direction::Forward)?;
            while let Some((key, value)) = found.entry() {
                rows.push((key.to_vec(), value.to_vec()));
                found.advance()?;
            }
        }
        // `Running::store` refuses the other kinds.
        _ => {}
    }
    Ok(())
}

/// A store of a running program, to be read by its name's types. It has the rows of the partitions this instance works
/// on; while the program is being assigned partitions or restored, a query waits for it.
pub struct Store<K, V> {
    name: StoreName<K, V>,
    kind: StoreKind,
    place: String,
    shared: Arc<Shared>,
}

impl<K: 'static, V: 'static> Store<K, V> {
    pub(crate) fn new(name: StoreName<K, V>, kind: StoreKind, app: &str, shared: Arc<Shared>) -> Self {
        // Formats see the changelog's name, as they did when the rows were written.
        let place = format!("{app}-{}-changelog", name.name());
        Self {
            name,
            kind,
            place,
            shared,
        }
    }

    /// The row of a key, if this instance has one.
    pub async fn get(&self, key: &K) -> Result<Option<V>, QueryError> {
        let Some(key) = self.encode(key)? else {
            return Ok(None);
        };
        let rows = self.ask(Ask::Key(key)).await?;
        rows.first()
            .map(|(_, value)| self.decode_value(value))
            .transpose()
    }

    /// The rows of a range of keys, in the order of their bytes.
    pub async fn range(&self, keys: impl RangeBounds<K>) -> Result<Vec<(K, V)>, QueryError> {
        let from = self.bound(keys.start_bound())?;
        let to = self.bound(keys.end_bound())?;
        let excluded = |bound: Bound<&K>, bytes: &Option<Vec<u8>>| match bound {
            Bound::Excluded(_) => bytes.clone(),
            _ => None,
        };
        let (after, before) = (
            excluded(keys.start_bound(), &from),
            excluded(keys.end_bound(), &to),
        );
        let mut rows = self.ask(Ask::Range(from, to)).await?;
        rows.retain(|(key, _)| after.as_ref() != Some(key) && before.as_ref() != Some(key));
        rows.sort_unstable();
        rows.iter().map(|row| self.decode(row)).collect()
    }

    /// All rows this instance has, in the order of their keys' bytes.
    pub async fn all(&self) -> Result<Vec<(K, V)>, QueryError> {
        self.range(..).await
    }

    fn bound(&self, bound: Bound<&K>) -> Result<Option<Vec<u8>>, QueryError> {
        match bound {
            Bound::Included(key) | Bound::Excluded(key) => self.encode(key),
            Bound::Unbounded => Ok(None),
        }
    }

    fn encode(&self, key: &K) -> Result<Option<Vec<u8>>, QueryError> {
        let (mut bytes, headers) = (Vec::new(), Headers::default());
        let presence = self
            .name
            .key()
            .encode(Place::key(&self.place, &headers), key, &mut bytes);
        let presence = presence.map_err(|e| self.format_error(&e))?;
        Ok((presence == Presence::Value).then_some(bytes))
    }

    fn decode(&self, (key, value): &Row) -> Result<(K, V), QueryError> {
        let headers = Headers::default();
        let key = self
            .name
            .key()
            .decode(Place::key(&self.place, &headers), Some(key));
        Ok((key.map_err(|e| self.format_error(&e))?, self.decode_value(value)?))
    }

    fn decode_value(&self, value: &[u8]) -> Result<V, QueryError> {
        let headers = Headers::default();
        let value = self
            .name
            .value()
            .decode(Place::value(&self.place, &headers), Some(value));
        value.map_err(|e| self.format_error(&e))
    }

    fn format_error(&self, error: &dyn std::fmt::Display) -> QueryError {
        QueryError::Format {
            name: self.name.name().to_owned(),
            reason: error.to_string(),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Vec<Row>, QueryError> {
        let not_ready = |state| QueryError::NotReady {
            name: self.name.name().to_owned(),
            state,
        };
        // A rebalance may begin between the look at the state and the answer; then the query waits again.
        const ATTEMPTS: usize = 5;
        for _ in 0..ATTEMPTS {
            self.shared
                .wait_until_running(READY_WAIT)
                .await
                .map_err(not_ready)?;
            match self.ask_all(&ask).await {
                Err(QueryError::NotReady { .. }) => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
        Err(not_ready(self.shared.state()))
    }

    async fn ask_all(&self, ask: &Ask) -> Result<Vec<Row>, QueryError> {
        let store: Arc<str> = self.name.name().into();
        let replies = self.shared.ask(|reply| Query {
            store: store.clone(),
            kind: self.kind,
            ask: ask.clone(),
            reply,
        });
        let mut rows = Vec::new();
        for reply in replies {
            // A worker that ended without an answer has none of the rows any more.
            if let Ok(answer) = reply.await {
                rows.extend(answer?);
            }
        }
        Ok(rows)
    }
}
