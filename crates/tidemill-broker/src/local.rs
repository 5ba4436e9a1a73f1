//! Connections without a socket, for clients in the broker's own process: requests and answers go as they are.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use tidemill_protocol::ApiKey;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::connection::{Closed, answer};
use crate::dispatch::Answer;
use crate::listeners::Endpoint;
use crate::shared::Shared;

/// Frames that wait in either direction. A client bounds what it has under way by itself; this bounds one that does not.
const FRAMES_MAX: usize = 16;

/// Where clients in the broker's process connect, from [`Broker::local`](crate::Broker::local).
#[derive(Clone, Debug)]
pub struct Local {
    arrivals: mpsc::UnboundedSender<Ends>,
}

/// A connection to a broker in this process. A frame is a request or an answer without the length that goes before it on
/// a socket. Dropping either direction closes it.
#[derive(Debug)]
pub struct LocalConnection {
    /// Takes requests, which are answered in their order.
    pub requests: mpsc::Sender<Bytes>,
    /// Gives the answers.
    pub responses: mpsc::Receiver<Bytes>,
}

/// The broker's ends of a connection.
type Ends = (mpsc::Receiver<Bytes>, mpsc::Sender<Bytes>);

impl Local {
    pub(crate) fn new() -> (Local, mpsc::UnboundedReceiver<Ends>) {
        let (arrivals, accepted) = mpsc::unbounded_channel();
        (Local { arrivals }, accepted)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The broker has stopped.
    pub fn connect(&self) -> io::Result<LocalConnection> {
        let (requests, received) = mpsc::channel(FRAMES_MAX);
        let (answers, responses) = mpsc::channel(FRAMES_MAX);
        match self.arrivals.send((received, answers)) {
            Ok(()) => Ok(LocalConnection { requests, responses }),
            Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

/// Serves connections until the broker stops.
///
/// `endpoint` is what clients are told to connect to, though they come here whatever it is.
pub(crate) async fn accept(
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    mut arrivals: mpsc::UnboundedReceiver<Ends>,
) {
    let mut connections = JoinSet::new();
    let mut stopping = shared.stopping.subscribe();
    loop {
        tokio::select! {
            Some(ends) = arrivals.recv() => {
                connections.spawn(serve(Arc::clone(&shared), Arc::clone(&endpoint), ends));
            }
            _ = stopping.wait_for(|stopping| *stopping) => break,
            // Reaps what ended, so that the set holds only what runs.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(arrivals);
    while connections.join_next().await.is_some() {}
}

async fn serve(shared: Arc<Shared>, endpoint: Arc<Endpoint>, ends: Ends) {
    let mut stopping = shared.stopping.subscribe();
    let result = tokio::select! {
        result = answer_all(&shared, &endpoint, ends) => result,
        _ = stopping.wait_for(|stopping| *stopping) => Ok(()),
    };
    if let Err(closed) = result {
        tracing::warn!(reason = %closed, "connection inside the process closed");
    }
}

async fn answer_all(
    shared: &Arc<Shared>,
    endpoint: &Arc<Endpoint>,
    (mut requests, answers): Ends,
) -> Result<(), Closed> {
    while let Some(frame) = requests.recv().await {
        let is_fetch = frame.first_chunk() == Some(&i16::from(ApiKey::Fetch).to_be_bytes());
        let answer = tokio::select! {
            biased;
            answer = answer(shared, endpoint, &frame, IpAddr::V4(Ipv4Addr::LOCALHOST)) => answer?,
            // A Fetch may wait for long; nobody misses its answer.
            () = answers.closed(), if is_fetch => return Ok(()),
        };
        match answer {
            Answer::Send(reply) => {
                let bytes = reply.into_bytes().map_err(Closed::Send)?;
                if answers.send(bytes).await.is_err() {
                    break;
                }
            }
            Answer::Nothing => {}
        }
    }
    Ok(())
}
