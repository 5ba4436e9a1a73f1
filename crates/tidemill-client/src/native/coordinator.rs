//! The broker that coordinates a group or a transaction, found when needed and again when it moves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemill_protocol::{ErrorCode, Request};

use super::cluster::{Cluster, ClusterError, CoordinatorOf};
use super::connection::{Address, CallError, Lane};

pub(crate) struct Coordinator {
    cluster: Arc<Cluster>,
    of: CoordinatorOf,
    key: String,
    // Guards where it is; `None`: to be found.
    address: Mutex<Option<Address>>,
}

impl Coordinator {
    pub(crate) fn new(cluster: Arc<Cluster>, of: CoordinatorOf, key: &str) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            of,
            key: key.to_owned(),
            address: Mutex::new(None),
        })
    }

    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    async fn address(&self) -> Result<Address, ClusterError> {
        if let Some(address) = self
            .address
            .lock()
            .expect("no section that holds it panics")
            .clone()
        {
            return Ok(address);
        }
        let found = self.cluster.coordinator(self.of, &self.key).await?;
        *self.address.lock().expect("no section that holds it panics") = Some(found.clone());
        Ok(found)
    }

    /// To be found again: an answer said so.
    pub(crate) fn forget(&self) {
        *self.address.lock().expect("no section that holds it panics") = None;
    }

    /// Forgets it if `code` says that it is another now.
    pub(crate) fn note(&self, code: ErrorCode) {
        if matches!(
            code,
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable
        ) {
            self.forget();
        }
    }

    /// One request, in no version above `max`.
    pub(crate) async fn call_at_most<R: Request>(
        &self,
        lane: Lane,
        request: &R,
        max: i16,
    ) -> Result<R::Response, ClusterError> {
        let address = self.address().await?;
        let call = async {
            let connection = self.cluster.pool().connection(&address, lane).await?;
            connection.call_at_most(request, max).await
        };
        call.await.map_err(|error| self.lost(error))
    }

    /// The level of a feature that its broker's cluster has agreed on; 0 where it does not know it.
    pub(crate) async fn feature(&self, name: &str) -> Result<i16, ClusterError> {
        let address = self.address().await?;
        let connection = self.cluster.pool().connection(&address, Lane::Ask).await;
        let connection = connection.map_err(|error| self.lost(error))?;
        Ok(connection.feature(name))
    }

    fn lost(&self, error: CallError) -> ClusterError {
        self.forget();
        error.into()
    }

    /// One request; `within` where the coordinator holds it back on purpose.
    pub(crate) async fn call<R: Request>(
        &self,
        lane: Lane,
        request: &R,
        within: Option<Duration>,
    ) -> Result<R::Response, ClusterError> {
        let address = self.address().await?;
        let call = async {
            let connection = self.cluster.pool().connection(&address, lane).await?;
            match within {
                Some(within) => connection.call_within(request, within).await,
                None => connection.call(request).await,
            }
        };
        call.await.map_err(|error| self.lost(error))
    }
}
