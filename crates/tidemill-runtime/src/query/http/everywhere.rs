//! Queries of all instances: each task is asked where it is, here or over HTTP.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tidemill_data::{Headers, Place, Stamped, Timestamp, Windowed};
use tidemill_streams::{Direction, Row, RowRange, TaskId, WindowedRow};

use super::asked::{Asked, Raw, RawRow, Scope, WindowRange};
use super::client::{Call, Client, Setback};
use crate::error::QueryError;
use crate::query::rows::{is_table, is_versioned, values};
use crate::query::windows::{is_windowed, millis};
use crate::query::{Answer, Form, READY_WAIT, Rows, StoreQuery, unreadable};
use crate::state::State;

/// Between attempts at a task that is nowhere yet, or whose instance cannot be reached: pauses that double.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Tasks that are asked at the same time.
const AT_ONCE: usize = 16;

/// A store of all instances: what [`StoreQuery::everywhere`] gives.
///
/// A question about a key goes to the task that has the key, one about a range to every task; each is answered by the
/// instance that announced the task, here or by its [`query_service`](crate::Running::query_service) at its
/// `application.server`. While a task moves or is being restored, the question waits for it. Clones share what they
/// know of who has which task, and their connections.
pub struct Everywhere<K, V, F = Rows> {
    here: StoreQuery<K, V, F>,
    name: Arc<str>,
    client: Client,
    // Guards who was last heard to have a task; short sections.
    owners: Arc<Mutex<BTreeMap<TaskId, String>>>,
}

impl<K: 'static, V: 'static, F: Form> StoreQuery<K, V, F> {
    /// The same store of all instances: rows that are not here are asked of the instance that has them, over HTTP.
    ///
    /// All of them need an `application.server`, and to serve their
    /// [`query_service`](crate::Running::query_service) there. Keep the value for further questions.
    ///
    /// ```
    /// # use tidemill_data::StoreName;
    /// # use tidemill_runtime::{QueryError, Running};
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # async fn asked(running: &Running) -> Result<(), QueryError> {
    /// let counts = running.store(&COUNTS).everywhere();
    /// let of_ann = counts.get(&"ann".to_owned()).await?;
    /// let from_b_to_d = counts.range("b".to_owned().."d".to_owned()).await?;
    /// # Ok(()) }
    /// ```
    pub fn everywhere(self) -> Everywhere<K, V, F> {
        Everywhere {
            name: self.name.name().into(),
            here: self,
            client: Client::new(),
            owners: Arc::default(),
        }
    }
}

impl<K: Clone + Send + Sync + 'static, V: Send + 'static, F: Form> Everywhere<K, V, F> {
    /// The row of a key.
    pub async fn get(&self, key: &K) -> Result<F::Of<Option<V>>, QueryError> {
        let row = self.row(key, None).await?;
        Ok(F::of(row.map(|row| row.map(|row| row.value))))
    }

    /// The row of a key with the time since when it is so.
    pub async fn get_stamped(&self, key: &K) -> Result<F::Of<Option<Stamped<V>>>, QueryError> {
        Ok(F::of(self.row(key, None).await?))
    }

    /// The row that a key had at a time, and since when, in a table that keeps versions.
    pub async fn get_as_of(&self, key: &K, at: Timestamp) -> Result<F::Of<Option<Stamped<V>>>, QueryError> {
        Ok(F::of(self.row(key, Some(at)).await?))
    }

    async fn row(&self, key: &K, as_of: Option<Timestamp>) -> Result<Answer<Option<Stamped<V>>>, QueryError> {
        match as_of {
            Some(_) => self.here.refuse_unless(is_versioned)?,
            None => self.here.refuse_unless(is_table)?,
        }
        let Some(bytes) = self.here.encode(key)? else {
            return Ok(Answer::default());
        };
        let task = self.here.task_of_bytes(&bytes)?;
        let key = Bytes::from(bytes);
        let found = self.ask(task, &Asked::Row { key, as_of }).await?;
        self.only_row(found)
    }

    fn only_row(&self, mut found: Raw) -> Result<Answer<Option<Stamped<V>>>, QueryError> {
        let row = found.rows.pop().map(|row| self.value(&row)).transpose()?;
        Ok(Answer {
            found: row,
            position: found.position,
        })
    }

    /// The rows of a range of keys, in the order of their bytes.
    pub async fn range(&self, keys: impl RangeBounds<K>) -> Result<F::Of<Vec<(K, V)>>, QueryError> {
        let range = self.here.key_range(&keys)?;
        Ok(F::of(self.in_order(range).await?.map(values)))
    }

    /// The rows whose keys' bytes begin with these.
    pub async fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<F::Of<Vec<(K, V)>>, QueryError> {
        let rows = self.in_order(RowRange::prefix(prefix.as_ref())).await?;
        Ok(F::of(rows.map(values)))
    }

    /// All rows, in the order of their keys' bytes.
    pub async fn all(&self) -> Result<F::Of<Vec<(K, V)>>, QueryError> {
        self.range(..).await
    }

    /// The rows of a range given in bytes, in either direction, with their times, and no more than it says.
    pub async fn rows(&self, range: RowRange) -> Result<F::Of<Vec<Row<K, V>>>, QueryError> {
        Ok(F::of(self.in_order(range).await?))
    }

    async fn in_order(&self, range: RowRange) -> Result<Answer<Vec<Row<K, V>>>, QueryError> {
        self.here.refuse_unless(is_table)?;
        let (direction, rows_max) = (range.direction, range.rows_max);
        let mut found = self.ask_all(&Asked::Rows(range)).await?;
        found.rows.sort_by(|a, b| match direction {
            Direction::Forward => a.key.cmp(&b.key),
            Direction::Backward => b.key.cmp(&a.key),
        });
        found.rows.truncate(rows_max);
        let row = |row: &RawRow| Ok((self.key(row)?, self.value(row)?));
        let rows: Result<_, QueryError> = found.rows.iter().map(row).collect();
        Ok(Answer {
            found: rows?,
            position: found.position,
        })
    }
}

impl<K: Clone + Send + Sync + 'static, V: Send + 'static, F: Form> Everywhere<Windowed<K>, V, F> {
    /// The row of one window or session of a key.
    pub async fn window(&self, window: &Windowed<K>) -> Result<F::Of<Option<Stamped<V>>>, QueryError> {
        self.here.refuse_unless(is_windowed)?;
        let Some(bytes) = self.here.window_key(&window.key)? else {
            return Ok(F::of(Answer::default()));
        };
        let task = self.here.task_of_bytes(&bytes)?;
        let window = Windowed::new(Bytes::from(bytes), window.start_ms, window.end_ms);
        let found = self.ask(task, &Asked::Window(window)).await?;
        Ok(F::of(self.only_row(found)?))
    }

    /// The windows of a key that start within these times, or its sessions that overlap them, in order of their starts.
    pub async fn windows_of(
        &self,
        key: &K,
        times: impl RangeBounds<Timestamp>,
    ) -> Result<F::Of<Vec<WindowedRow<K, V>>>, QueryError> {
        self.here.refuse_unless(is_windowed)?;
        let Some(bytes) = self.here.window_key(key)? else {
            return Ok(F::of(Answer::default()));
        };
        let task = self.here.task_of_bytes(&bytes)?;
        let asked = windows(Some(bytes.into()), &times);
        Ok(F::of(self.in_time(self.ask(task, &asked).await?)?))
    }

    /// The windows of all keys that start within these times, or the sessions that overlap them, in order of their
    /// starts.
    pub async fn windows(
        &self,
        times: impl RangeBounds<Timestamp>,
    ) -> Result<F::Of<Vec<WindowedRow<K, V>>>, QueryError> {
        self.here.refuse_unless(is_windowed)?;
        let found = self.ask_all(&windows(None, &times)).await?;
        Ok(F::of(self.in_time(found)?))
    }

    fn in_time(&self, mut found: Raw) -> Result<Answer<Vec<WindowedRow<K, V>>>, QueryError> {
        found.rows.sort_by(|a, b| (a.span, &a.key).cmp(&(b.span, &b.key)));
        let row = |row: &RawRow| {
            let (start, end) = row.span.unwrap_or_default();
            let key = self.here.decode_window_key(&row.key)?;
            Ok((Windowed::new(key, start, end), self.value(row)?))
        };
        let rows: Result<_, QueryError> = found.rows.iter().map(row).collect();
        Ok(Answer {
            found: rows?,
            position: found.position,
        })
    }
}

fn windows(key: Option<Bytes>, times: &impl RangeBounds<Timestamp>) -> Asked {
    Asked::Windows(WindowRange {
        key,
        times_ms: millis(times),
        after: None,
        rows_max: usize::MAX,
    })
}

impl<K: 'static, V: 'static, F: Form> Everywhere<K, V, F> {
    fn key(&self, row: &RawRow) -> Result<K, QueryError> {
        let (changelog, headers) = (self.here.changelog(), Headers::default());
        let place = Place::key(&changelog, &headers);
        let decoded = self.here.name.key().decode(place, Some(&row.key));
        decoded.map_err(|error| unreadable(&self.name, error))
    }

    fn value(&self, row: &RawRow) -> Result<Stamped<V>, QueryError> {
        let (changelog, headers) = (self.here.changelog(), Headers::default());
        let place = Place::value(&changelog, &headers);
        let decoded = self.here.name.value().decode(place, Some(&row.value));
        let value = decoded.map_err(|error| unreadable(&self.name, error))?;
        Ok(Stamped::new(value, row.timestamp))
    }

    /// Asks every task that has the store. Each answers for itself, so that nothing is missing or there twice, whatever
    /// moves meanwhile.
    async fn ask_all(&self, asked: &Asked) -> Result<Raw, QueryError> {
        let Some(tasks) = self.here.tasks()? else {
            return self.ask(None, asked).await;
        };
        let answers = futures::stream::iter(tasks).map(|task| self.ask(Some(task), asked));
        let mut answers = answers.buffer_unordered(AT_ONCE);
        let mut all = Raw {
            rows: Vec::new(),
            more: false,
            position: crate::query::Position::new(),
        };
        while let Some(of_task) = answers.try_next().await? {
            all.rows.extend(of_task.rows);
            all.position = all.position.merge(&of_task.position);
        }
        Ok(all)
    }

    /// Asks one task where it is, until it is somewhere; a global store, which is whole here, is asked of no task.
    async fn ask(&self, task: Option<TaskId>, asked: &Asked) -> Result<Raw, QueryError> {
        let scope = Scope {
            view: self.here.view,
            bound: self.here.bound.clone(),
            only: task,
        };
        let Some(task) = task else {
            return asked.clone().here(&self.here.shared, &self.name, scope).await;
        };
        // None: who asks waits for as long as it takes.
        let until = tokio::time::Instant::now().checked_add(READY_WAIT.saturating_add(scope.bound.wait));
        let mut pause = PAUSE_MIN;
        loop {
            match self.attempt(task, asked, &scope).await {
                Ok(found) => return Ok(found),
                Err(Setback::Lasting(error)) => return Err(error),
                Err(Setback::Passing(error))
                    if until.is_some_and(|until| tokio::time::Instant::now() >= until) =>
                {
                    return Err(error);
                }
                Err(Setback::Passing(_)) => {}
            }
            self.forget(task);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, task: TaskId, asked: &Asked, scope: &Scope) -> Result<Raw, Setback> {
        let instance = self.here.shared.instance(&self.name).map_err(Setback::Lasting)?;
        let own = instance.config.application_server.as_ref();
        let server = self.owner_of(task).await.map_err(Setback::Lasting)?;
        if let Some(server) = server.filter(|server| Some(server) != own) {
            let call = Call {
                server: &server,
                store: &self.name,
                scope,
            };
            return self.client.ask(&call, asked.clone()).await;
        }
        let found = asked
            .clone()
            .here(&self.here.shared, &self.name, scope.clone())
            .await;
        found.map_err(|error| match error {
            QueryError::NotHere { .. } => Setback::Passing(error),
            QueryError::NotReady { .. } if !self.here.shared.state().is_ending() => Setback::Passing(error),
            error => Setback::Lasting(error),
        })
    }

    /// Who announced the task, as last heard.
    async fn owner_of(&self, task: TaskId) -> Result<Option<String>, QueryError> {
        if let Some(known) = self.known().get(&task) {
            return Ok(Some(known.clone()));
        }
        let said = self.here.shared.owners(&self.name).await?;
        let mut known = self.known();
        // The latest comes first, and holds.
        for owner in said.into_iter().rev() {
            for task in owner.tasks.iter().filter_map(|text| super::text::task(text)) {
                known.insert(task, owner.server.clone());
            }
        }
        Ok(known.get(&task).cloned())
    }

    fn forget(&self, task: TaskId) {
        self.known().remove(&task);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, String>> {
        self.owners
            .lock()
            .expect("no section that holds this lock panics")
    }
}

impl<K, V, F> Clone for Everywhere<K, V, F> {
    fn clone(&self) -> Self {
        Self {
            here: self.here.clone(),
            name: self.name.clone(),
            client: self.client.clone(),
            owners: self.owners.clone(),
        }
    }
}

impl State {
    /// Whether no task will work here any more.
    fn is_ending(self) -> bool {
        !matches!(self, Self::Created | Self::Rebalancing | Self::Running)
    }
}
