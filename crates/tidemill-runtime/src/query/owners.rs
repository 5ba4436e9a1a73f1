//! Which instance has the rows of a key.

use tidemill_data::{Data, Presence, Windowed, partition_for_key};
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

    async fn owner_of_bytes(&self, key: &[u8]) -> Result<Option<String>, QueryError> {
        self.refuse_unless(|_| true)?;
        let instance = self.shared.pool.instance();
        let stores = self.shared.topology.stores();
        let Some(view) = stores.iter().find(|store| store.name == self.name.name()) else {
            // A global store is here.
            return Ok(instance.config.application_server.clone());
        };
        let tasks = instance.plan.tasks.get(view.subtopology).copied().unwrap_or(0);
        if tasks == 0 {
            return Ok(None);
        }
        let task = TaskId {
            subtopology: view.subtopology,
            partition: partition_for_key(key, tasks),
        };
        let (task, owners) = (task.to_string(), self.shared.owners(self.name.name()).await?);
        let owner = owners.into_iter().find(|owner| owner.tasks.contains(&task));
        Ok(owner.map(|owner| owner.server))
    }
}

impl<K: Data + Clone + Send + Sync + 'static, V: Send + 'static, F: Form> StoreQuery<Windowed<K>, V, F> {
    /// The instance that has the windows of a key, as [`owner`](Self::owner); the key is written in its type's own format.
    pub async fn owner_of_key(&self, key: &K) -> Result<Option<String>, QueryError> {
        let mut bytes = Vec::new();
        let presence = key.encode(&mut bytes).map_err(|error| QueryError::Format {
            name: self.name.name().to_owned(),
            reason: error.to_string(),
        })?;
        match presence {
            Presence::Value => self.owner_of_bytes(&bytes).await,
            Presence::Null => Ok(None),
        }
    }
}

impl crate::running::Shared {
    /// What all instances announced, the latest first.
    pub(crate) async fn owners(&self, asked_for: &str) -> Result<Vec<Owner>, QueryError> {
        let instance = self.pool.instance();
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
