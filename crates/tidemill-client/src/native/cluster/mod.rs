//! Finding one's way in a cluster: metadata from whichever broker answers, coordinators, leaders.

mod view;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tidemill_protocol::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use tidemill_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use tidemill_protocol::{ErrorCode, Request};

use crate::TransportError;

use super::connection::{Address, Backoff, CallError, Lane, Pool};
pub(crate) use view::{Leader, Node, View};

/// Whether a topic that is asked for may come into being by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AutoCreate {
    Allowed,
    Never,
}

/// What a coordinator is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoordinatorOf {
    Group,
    Transaction,
}

/// Why the cluster gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("none of the bootstrap servers answers; the last: {0}")]
    NoneAnswers(CallError),
    #[error("{0}")]
    Refused(ErrorCode),
}

impl ClusterError {
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Call(error) | Self::NoneAnswers(error) => error.may_pass(),
            Self::Refused(code) => code.is_retriable(),
        }
    }

    pub(crate) fn into_transport(self, operation: &'static str) -> TransportError {
        TransportError::Cluster {
            operation,
            reason: self.to_string(),
        }
    }
}

/// A cluster as one client sees it.
pub(crate) struct Cluster {
    bootstrap: Vec<Address>,
    pool: Pool,
    retry_backoff: (Duration, Duration),
    // Guards what is known; sections never wait.
    view: Mutex<View>,
}

impl Cluster {
    pub(crate) fn new(bootstrap: Vec<Address>, pool: Pool, retry_backoff: (Duration, Duration)) -> Arc<Self> {
        Arc::new(Self {
            bootstrap,
            pool,
            retry_backoff,
            view: Mutex::default(),
        })
    }

    /// The same cluster through connections of another client, with a view of its own.
    pub(crate) fn named(&self, client_id: &str) -> Arc<Self> {
        Self::new(
            self.bootstrap.clone(),
            self.pool.named(client_id),
            self.retry_backoff,
        )
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("no section that holds it panics")
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Waits between attempts at the same thing.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.retry_backoff.0, self.retry_backoff.1, 0x7469_6465)
    }

    /// Sends a request that any broker can answer: to those we know, then to the bootstrap servers.
    pub(crate) async fn ask_any<R: Request>(&self, request: &R) -> Result<R::Response, ClusterError> {
        let mut addresses: Vec<Address> = self.view().brokers().cloned().collect();
        addresses.extend(
            self.bootstrap
                .iter()
                .filter(|a| !addresses.contains(a))
                .cloned()
                .collect::<Vec<_>>(),
        );
        let mut last = None;
        for address in &addresses {
            match self.pool.call(address, Lane::Ask, request).await {
                Ok(response) => return Ok(response),
                Err(error) if error.may_pass() => last = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        let last = last.expect("there is at least one bootstrap server");
        Err(ClusterError::NoneAnswers(last))
    }

    /// Asks about topics, and takes the answer into the view.
    pub(crate) async fn refresh(
        &self,
        topics: &[&str],
        create: AutoCreate,
    ) -> Result<MetadataResponse, ClusterError> {
        let topic = |name: &&str| MetadataRequestTopic {
            name: Some((*name).into()),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: Some(topics.iter().map(topic).collect()),
            allow_auto_topic_creation: create == AutoCreate::Allowed,
            ..Default::default()
        };
        let response = self.ask_any(&request).await?;
        self.view().apply(&response, Instant::now());
        Ok(response)
    }

    /// Asks about all topics there are.
    pub(crate) async fn all_topics(&self) -> Result<MetadataResponse, ClusterError> {
        let request = MetadataRequest {
            topics: None,
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        self.ask_any(&request).await
    }

    /// The broker that coordinates a group or transaction.
    pub(crate) async fn coordinator(&self, of: CoordinatorOf, key: &str) -> Result<Address, ClusterError> {
        let request = FindCoordinatorRequest {
            key: key.into(),
            key_type: match of {
                CoordinatorOf::Group => 0,
                CoordinatorOf::Transaction => 1,
            },
            coordinator_keys: vec![key.into()],
        };
        let response = self.ask_any(&request).await?;
        coordinator_in(&response)
    }

    /// Does `attempt` again, with growing waits, while it fails for reasons that pass and time is left.
    pub(crate) async fn retrying<T, F>(
        &self,
        within: Duration,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, ClusterError>
    where
        F: Future<Output = Result<T, ClusterError>>,
    {
        let deadline = Instant::now() + within;
        let mut backoff = self.backoff();
        loop {
            match attempt().await {
                Err(error) if error.may_pass() && Instant::now() < deadline => {
                    tracing::debug!("will be tried again: {error}");
                    tokio::time::sleep(backoff.next_wait()).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Since version 4 an answer holds a list, before one coordinator.
fn coordinator_in(response: &FindCoordinatorResponse) -> Result<Address, ClusterError> {
    let (code, host, port) = match response.coordinators.first() {
        Some(found) => (found.error_code, &found.host, found.port),
        None => (response.error_code, &response.host, response.port),
    };
    if code != ErrorCode::None {
        return Err(ClusterError::Refused(code));
    }
    let port = u16::try_from(port).map_err(|_| ClusterError::Refused(ErrorCode::CoordinatorNotAvailable))?;
    Ok(Address {
        host: host.to_string(),
        port,
    })
}
