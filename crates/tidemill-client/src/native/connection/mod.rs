//! One connection: requests go out numbered, answers find their way back.
//!
//! Two tasks own the two directions; whoever calls waits for a slot, so that no more than so many requests are under
//! way, and then for the answer. A request that is not answered in time ends the connection: its answer would stand
//! before all later ones.

mod backoff;
mod pipeline;
mod pool;
mod versions;
mod wire;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidemill_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use tidemill_protocol::{
    ApiKey, Decode, DecodeError, EncodeError, ErrorCode, Frame, KString, Message, Reader, Request,
    ResponseHeader, request_frame,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

pub(crate) use backoff::Backoff;
use pipeline::Pipeline;
pub(crate) use pool::{Lane, Pool};
use versions::Versions;
pub(crate) use wire::Tcp;
pub use wire::{Address, Dial, FrameSink, FrameSource, Wire};

/// Why a request has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("{address}: {reason}")]
    Unreachable { address: Address, reason: String },
    #[error("{address}: the connection ended: {reason}")]
    Closed { address: Address, reason: String },
    #[error("{address}: no answer to {api:?} in {waited:?}")]
    TimedOut {
        address: Address,
        api: ApiKey,
        waited: Duration,
    },
    #[error("the broker has no version of {api:?} that we speak ({})", offered_text(*.offered))]
    Version {
        api: ApiKey,
        offered: Option<(i16, i16)>,
    },
    #[error("{address}: a broken answer to {api:?}: {error}")]
    Decode {
        address: Address,
        api: ApiKey,
        error: DecodeError,
    },
    #[error("{api:?}: {error}")]
    Encode { api: ApiKey, error: EncodeError },
}

impl CallError {
    /// Whether trying again elsewhere or later makes sense.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(self, Self::Version { .. } | Self::Encode { .. })
    }
}

fn offered_text(offered: Option<(i16, i16)>) -> String {
    offered.map_or_else(
        || "it has none".into(),
        |(low, high)| format!("it has {low} to {high}"),
    )
}

/// What connections of one client have in common.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSettings {
    pub(crate) client_id: String,
    pub(crate) request_timeout: Duration,
    /// The most requests without an answer.
    pub(crate) in_flight_max: usize,
    pub(crate) reconnect_backoff: Duration,
    pub(crate) reconnect_backoff_max: Duration,
}

/// An open connection. Its tasks end with it.
pub(crate) struct Connection {
    address: Address,
    client_id: KString,
    request_timeout: Duration,
    versions: Versions,
    slots: Semaphore,
    shared: Arc<Shared>,
    // Bounded by `slots`, by who starts requests, and by `tell`, which waits for each.
    frames: mpsc::UnboundedSender<Outgoing>,
    tasks: [AbortHandle; 2],
}

/// A request in line.
struct Outgoing {
    frame: Frame,
    // Told once it has been handed to the system.
    sent: Option<oneshot::Sender<()>>,
}

/// What the connection shares with its two tasks.
struct Shared {
    closed: AtomicBool,
    // Guards the numbering: frames enter the queue in the order of their numbers.
    pipeline: Mutex<Pipeline<oneshot::Sender<Bytes>>>,
    reason: Mutex<String>,
}

impl Shared {
    fn close(&self, reason: impl Into<String>) {
        if !self.closed.swap(true, Ordering::SeqCst) {
            *self.reason.lock().expect("no section that holds it panics") = reason.into();
        }
        // Whoever waits hears of it as its ticket is dropped.
        self.pipeline
            .lock()
            .expect("no section that holds it panics")
            .clear();
    }
}

impl Connection {
    /// Opens a connection and learns what the broker speaks.
    pub(crate) async fn open(
        dial: &dyn Dial,
        address: &Address,
        settings: &ConnectionSettings,
    ) -> Result<Self, CallError> {
        let wire = dial.dial(address).await.map_err(|e| CallError::Unreachable {
            address: address.clone(),
            reason: e.to_string(),
        })?;
        let shared = Arc::new(Shared {
            closed: AtomicBool::new(false),
            pipeline: Mutex::new(Pipeline::new()),
            reason: Mutex::default(),
        });
        let (frames, queue) = mpsc::unbounded_channel();
        let tasks = [
            tokio::spawn(send_all(shared.clone(), wire.sink, queue)).abort_handle(),
            tokio::spawn(receive_all(shared.clone(), wire.source)).abort_handle(),
        ];
        let mut connection = Self {
            address: address.clone(),
            client_id: settings.client_id.as_str().into(),
            request_timeout: settings.request_timeout,
            versions: Versions::default(),
            slots: Semaphore::new(settings.in_flight_max),
            shared,
            frames,
            tasks,
        };
        connection.versions = connection.negotiate().await?;
        Ok(connection)
    }

    /// Asks with our newest version; a broker that does not know it answers in version 0 what it knows (KIP-511).
    async fn negotiate(&self) -> Result<Versions, CallError> {
        let request = ApiVersionsRequest {
            client_software_name: "tidemill".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let newest = *ApiKey::ApiVersions.versions().end();
        let frame = self.exchange(&request, newest, self.request_timeout).await?;
        let body = |frame: &Bytes, version| -> Result<ApiVersionsResponse, DecodeError> {
            let mut reader = Reader::new(frame);
            ResponseHeader::decode(&mut reader, ApiKey::ApiVersions, version)?;
            ApiVersionsResponse::decode(&mut reader, version)
        };
        let broken = |error| self.broken(ApiKey::ApiVersions, error);
        // The error code stands first in every version.
        let refused = frame.get(4..6) == Some(&35i16.to_be_bytes()[..]);
        let response = if refused {
            let offered = body(&frame, 0).map_err(broken)?;
            let version = Versions::new(&offered)
                .pick::<ApiVersionsRequest>(newest)
                .unwrap_or(0);
            let frame = self.exchange(&request, version, self.request_timeout).await?;
            body(&frame, version).map_err(broken)?
        } else {
            body(&frame, newest).map_err(broken)?
        };
        match response.error_code {
            ErrorCode::None => Ok(Versions::new(&response)),
            code => Err(CallError::Unreachable {
                address: self.address.clone(),
                reason: format!("it does not tell its versions: {code}"),
            }),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.shared.closed.load(Ordering::SeqCst)
    }

    /// The level of a feature that the broker's cluster has agreed on; 0 where it is not known.
    pub(crate) fn feature(&self, name: &str) -> i16 {
        self.versions.feature(name)
    }

    /// Sends a request in the newest common version and waits for its answer.
    pub(crate) async fn call<R: Request>(&self, request: &R) -> Result<R::Response, CallError> {
        self.call_at_most(request, i16::MAX).await
    }

    /// As [`call`](Self::call), in no version above `max`.
    pub(crate) async fn call_at_most<R: Request>(
        &self,
        request: &R,
        max: i16,
    ) -> Result<R::Response, CallError> {
        self.answered(request, max, self.request_timeout).await
    }

    /// As [`call`](Self::call), for a request that the broker holds back on purpose.
    pub(crate) async fn call_within<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, CallError> {
        self.answered(request, i16::MAX, timeout).await
    }

    async fn answered<R: Request>(
        &self,
        request: &R,
        version_max: i16,
        timeout: Duration,
    ) -> Result<R::Response, CallError> {
        let version = self.versions.pick::<R>(version_max)?;
        let frame = self.exchange(request, version, timeout).await?;
        let mut reader = Reader::new(&frame);
        ResponseHeader::decode(&mut reader, R::KEY, version)
            .and_then(|_| R::Response::decode(&mut reader, version))
            .map_err(|error| self.broken(R::KEY, error))
    }

    /// Sends a request to which no answer comes, in the newest common version up to `version_max`. Returns when it has
    /// left, so that who tells faster than the broker reads must wait.
    pub(crate) async fn tell<R: Request>(&self, request: &R, version_max: i16) -> Result<(), CallError> {
        let version = self.versions.pick::<R>(version_max)?;
        let (sent, left) = oneshot::channel();
        {
            let mut pipeline = self
                .shared
                .pipeline
                .lock()
                .expect("no section that holds it panics");
            let number = pipeline.number();
            let frame = self.frame(request, version, number)?;
            let outgoing = Outgoing {
                frame,
                sent: Some(sent),
            };
            self.frames.send(outgoing).map_err(|_| self.closed())?;
        }
        match tokio::time::timeout(self.request_timeout, left).await {
            Ok(left) => left.map_err(|_| self.closed()),
            Err(_) => Err(self.timed_out(R::KEY, self.request_timeout)),
        }
    }

    fn frame<R: Request>(&self, request: &R, version: i16, number: i32) -> Result<Frame, CallError> {
        request_frame(request, version, number, Some(self.client_id.clone()))
            .map_err(|error| CallError::Encode { api: R::KEY, error })
    }

    async fn exchange<R: Request + Message>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let exchange = async {
            let slot = self.slots.acquire().await.map_err(|_| self.closed())?;
            let answer = self.submit(request, version)?.await.map_err(|_| self.closed());
            drop(slot);
            answer
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.timed_out(R::KEY, timeout)),
        }
    }

    /// Puts a request in line now, behind those before it; its answer is waited for later.
    pub(crate) fn start<R: Request>(
        self: &Arc<Self>,
        request: &R,
        version_max: i16,
    ) -> Result<Answer, CallError> {
        let version = self.versions.pick::<R>(version_max)?;
        let answer = self.submit(request, version)?;
        Ok(Answer {
            connection: self.clone(),
            version,
            answer,
        })
    }

    fn submit<R: Request>(&self, request: &R, version: i16) -> Result<oneshot::Receiver<Bytes>, CallError> {
        let (ticket, answer) = oneshot::channel();
        let mut pipeline = self
            .shared
            .pipeline
            .lock()
            .expect("no section that holds it panics");
        if !self.is_open() {
            return Err(self.closed());
        }
        let number = pipeline.add(ticket);
        match self.frame(request, version, number) {
            Ok(frame) => {
                let outgoing = Outgoing { frame, sent: None };
                self.frames.send(outgoing).map_err(|_| self.closed())?;
                Ok(answer)
            }
            Err(error) => {
                pipeline.withdraw();
                Err(error)
            }
        }
    }

    fn timed_out(&self, api: ApiKey, waited: Duration) -> CallError {
        self.shared.close(format!("no answer to {api:?} in {waited:?}"));
        CallError::TimedOut {
            address: self.address.clone(),
            api,
            waited,
        }
    }

    fn closed(&self) -> CallError {
        let reason = self
            .shared
            .reason
            .lock()
            .expect("no section that holds it panics")
            .clone();
        CallError::Closed {
            address: self.address.clone(),
            reason,
        }
    }

    fn broken(&self, api: ApiKey, error: DecodeError) -> CallError {
        self.shared.close(format!("a broken answer to {api:?}"));
        CallError::Decode {
            address: self.address.clone(),
            api,
            error,
        }
    }
}

/// An answer to come.
pub(crate) struct Answer {
    connection: Arc<Connection>,
    version: i16,
    answer: oneshot::Receiver<Bytes>,
}

impl Answer {
    /// Waits for the answer to a request of type `R`, which is what was started.
    pub(crate) async fn wait<R: Request>(self) -> Result<R::Response, CallError> {
        let Self {
            connection,
            version,
            answer,
        } = self;
        let frame = match tokio::time::timeout(connection.request_timeout, answer).await {
            Ok(frame) => frame.map_err(|_| connection.closed())?,
            Err(_) => return Err(connection.timed_out(R::KEY, connection.request_timeout)),
        };
        let mut reader = Reader::new(&frame);
        ResponseHeader::decode(&mut reader, R::KEY, version)
            .and_then(|_| R::Response::decode(&mut reader, version))
            .map_err(|error| connection.broken(R::KEY, error))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn send_all(
    shared: Arc<Shared>,
    mut sink: Box<dyn FrameSink>,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
) {
    while let Some(Outgoing { frame, sent }) = queue.recv().await {
        if let Err(error) = sink.send(frame).await {
            shared.close(error.to_string());
            return;
        }
        // Who no longer waits does not mind.
        sent.map(|sent| sent.send(()));
    }
}

async fn receive_all(shared: Arc<Shared>, mut source: Box<dyn FrameSource>) {
    let reason = loop {
        let frame = match source.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => break "the broker closed it".into(),
            Err(error) => break error.to_string(),
        };
        let taken = {
            let mut pipeline = shared.pipeline.lock().expect("no section that holds it panics");
            pipeline.take(&frame)
        };
        match taken {
            // Who no longer waits does not mind.
            Ok(ticket) => drop(ticket.send(frame)),
            Err(error) => break error.to_string(),
        }
    };
    shared.close(reason);
}

#[cfg(test)]
mod tests;
