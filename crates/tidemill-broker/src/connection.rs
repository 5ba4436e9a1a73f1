//! One connection: frames in, responses out, in the order of the requests.
//!
//! A request is answered before the next is looked at, so the order needs no bookkeeping, a producer's batches are
//! appended in the order it sent them, and what one client can have in work is one request; the rest waits in its socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidemill_protocol::{ApiKey, Reader, RequestHeader};
use tokio::net::TcpStream;

use crate::dispatch::{Answer, RequestError, dispatch};
use crate::frame::{FrameError, FrameReader};
use crate::listeners::Endpoint;
use crate::shared::{Context, Shared};

/// Why a connection was closed from our side.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("a response could not be sent: {0}")]
    Send(io::Error),
}

/// Serves one connection until it ends, the peer misbehaves or the broker stops.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    mut stream: TcpStream,
    peer: SocketAddr,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot turn off Nagle's algorithm");
    }
    let mut stopping = shared.stopping.subscribe();
    let result = tokio::select! {
        result = answer_all(&shared, &endpoint, &mut stream, peer) => result,
        _ = stopping.wait_for(|stopping| *stopping) => Ok(()),
    };
    match result {
        Ok(()) => {}
        Err(Closed::Send(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            tracing::error!(%peer, %error, "connection closed in the middle of a response")
        }
        // A client that went away did nothing wrong.
        Err(Closed::Frame(FrameError::Io(error)) | Closed::Send(error)) => {
            tracing::debug!(%peer, %error, "connection lost")
        }
        Err(closed) => tracing::warn!(%peer, reason = %closed, "connection closed"),
    }
}

async fn answer_all(
    shared: &Arc<Shared>,
    endpoint: &Arc<Endpoint>,
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> Result<(), Closed> {
    let mut frames = FrameReader::new(shared.settings.request_bytes_max, shared.request_memory.clone());
    loop {
        let next = frames.next(stream);
        let frame = match shared.settings.connection_idle_max {
            Some(idle) => match tokio::time::timeout(idle, next).await {
                Ok(frame) => frame?,
                Err(_) => return Ok(()),
            },
            None => next.await?,
        };
        let Some(frame) = frame else { return Ok(()) };
        let is_fetch = frame.first_chunk() == Some(&i16::from(ApiKey::Fetch).to_be_bytes());
        let waits = is_fetch && frames.is_empty();
        let answer = tokio::select! {
            biased;
            answer = answer(shared, endpoint, &frame, peer.ip()) => answer?,
            // A Fetch may wait for long; nobody misses its answer.
            () = gone(stream), if waits => return Ok(()),
        };
        match answer {
            Answer::Send(reply) => reply.send(stream).await.map_err(Closed::Send)?,
            Answer::Nothing => {}
        }
        // The request's bytes are gone with its handler.
        frames.release();
    }
}

/// Returns when the peer has closed its side. What it sent ahead hides that: then this never returns.
async fn gone(stream: &TcpStream) {
    match stream.peek(&mut [0]).await {
        Ok(0) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}

/// Answers one request, given without its length.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    endpoint: &Arc<Endpoint>,
    frame: &Bytes,
    client_address: IpAddr,
) -> Result<Answer, RequestError> {
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader).map_err(RequestError::Header)?;
    let context = Context {
        shared: Arc::clone(shared),
        endpoint: Arc::clone(endpoint),
        version: header.api_version,
        client_id: header
            .client_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        client_address,
    };
    let began = Instant::now();
    let answer = dispatch(context, &header, reader).await?;
    if let Ok(api) = ApiKey::try_from(header.api_key) {
        shared.metrics.answered(api, frame.len(), began.elapsed());
    }
    Ok(answer)
}
