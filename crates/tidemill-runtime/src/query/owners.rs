//! Which instance has the rows of a key.

use tidemill_data::{Windowed, partition_for_key};
use tidemill_streams::TaskId;

use super::{Form, StoreQuery};
use crate::control::Owner;
use crate::error::QueryError;
use crate::running::off_the_executor;

impl<K: Send + Sync + 'static, V: Send + 'static, F: Form> StoreQuery<K, V, F> {
    /// The instance that has the row of a key, by its `application.server`, if one was announced; asked of the
    /// program's control topic each time, so an answer is best kept until the instance it names has no such rows.
    ///
    /// Keys are taken to be partitioned as Kafka's default partitioner does.
    pub async fn owner(&self, key: &K) -> Result<Option<String>, QueryError> {
        let Some(bytes) = self.encode(key)? else {
            return Ok(None);
        };
        self.owner_of_bytes(&bytes).await
    }

    /// The task that has the row of a key; `None` of a global store, which every instance has.
    pub(super) fn task_of_bytes(&self, key: &[u8]) -> Result<Option<TaskId>, QueryError> {
        let tasks = self.tasks()?;
        let count = tasks.as_ref().map_or(0, Vec::len);
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let place = usize::try_from(partition_for_key(key, count.max(1))).unwrap_or(0);
        Ok(tasks.and_then(|tasks| tasks.get(place).copied()))
    }

    pub(super) async fn owner_of_bytes(&self, key: &[u8]) -> Result<Option<String>, QueryError> {
        let Some(task) = self.task_of_bytes(key)? else {
            // A global store is here.
            let instance = self.shared.instance(self.name.name())?;
            return Ok(instance.config.application_server.clone());
        };
        let (task, owners) = (task.to_string(), self.shared.owners(self.name.name()).await?);
        let owner = owners.into_iter().find(|owner| owner.tasks.contains(&task));
        Ok(owner.map(|owner| owner.server))
    }
}

impl<K: 'static, V: 'static, F: Form> StoreQuery<K, V, F> {
    /// The tasks that have the store, all together, by partition; `None` of a global store.
    pub(super) fn tasks(&self) -> Result<Option<Vec<TaskId>>, QueryError> {
        self.refuse_unless(|_| true)?;
        let stores = self.shared.topology.stores();
        let Some(view) = stores.iter().find(|store| store.name == self.name.name()) else {
            return Ok(None);
        };
        let instance = self.shared.instance(self.name.name())?;
        let count = instance.plan.tasks.get(view.subtopology);
        let task = |partition| TaskId {
            subtopology: view.subtopology,
            partition,
        };
        Ok(Some((0..count.copied().unwrap_or(0)).map(task).collect()))
    }
}

impl<K: Clone + Send + Sync + 'static, V: Send + 'static, F: Form> StoreQuery<Windowed<K>, V, F> {
    /// The instance that has the windows of a key, as [`owner`](Self::owner).
    pub async fn owner_of_key(&self, key: &K) -> Result<Option<String>, QueryError> {
        match self.window_key(key)? {
            Some(bytes) => self.owner_of_bytes(&bytes).await,
            None => Ok(None),
        }
    }
}

impl crate::running::Shared {
    /// What all instances announced, the latest first.
    pub(crate) async fn owners(&self, asked_for: &str) -> Result<Vec<Owner>, QueryError> {
        let instance = self.instance(asked_for)?;
        let unknown = |reason: String| QueryError::Store {
            name: asked_for.to_owned(),
            reason,
        };
        let owners = off_the_executor(move || instance.control.owners()).await;
        owners
            .map_err(|error| unknown(error.to_string()))?
            .map_err(|error| unknown(error.to_string()))
    }
}
