//! The listeners: where connections are taken, and what clients that came through each are told to connect to.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::broker::StartError;
use crate::connection;
use crate::settings::{BrokerSettings, Listener};
use crate::shared::Shared;

/// A listener that is bound.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) socket: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// What clients of one listener are told to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) listener: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    /// As `bootstrap.servers` wants it.
    pub(crate) fn bootstrap(&self) -> String {
        join_host(&self.host, self.port)
    }
}

/// Binds all listeners, in their order.
pub(crate) async fn bind(settings: &BrokerSettings) -> Result<Vec<Bound>, StartError> {
    let mut bound = Vec::new();
    for listener in &settings.listeners {
        let host = if listener.host.is_empty() {
            "0.0.0.0"
        } else {
            &listener.host
        };
        let failed = |source| StartError::Bind {
            address: join_host(host, listener.port),
            source,
        };
        let socket = TcpListener::bind((host, listener.port)).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let endpoint = Arc::new(advertised(settings, listener, address));
        bound.push(Bound {
            socket,
            address,
            endpoint,
        });
    }
    Ok(bound)
}

/// What clients of `listener` are told: what is advertised under its name, else where it listens, else this machine's
/// name for itself.
fn advertised(settings: &BrokerSettings, listener: &Listener, address: SocketAddr) -> Endpoint {
    let told = settings
        .advertised_listeners
        .iter()
        .find(|advertised| advertised.name == listener.name)
        .unwrap_or(listener);
    let host =
        Some(told.host.as_str()).filter(|host| !host.is_empty() && *host != "0.0.0.0" && *host != "::");
    Endpoint {
        listener: listener.name.clone(),
        host: host.unwrap_or("localhost").to_string(),
        port: if told.port == 0 { address.port() } else { told.port },
    }
}

fn join_host(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Takes connections until the broker stops.
pub(crate) async fn accept(shared: Arc<Shared>, bound: Bound) {
    let Bound { socket, endpoint, .. } = bound;
    let mut connections = JoinSet::new();
    let mut stopping = shared.stopping.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => break,
            // Reaps what ended, so that the set holds only what runs.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => match shared.admission.admit(peer.ip(), &shared.values()) {
                Ok(admitted) => {
                    let serve = connection::serve(Arc::clone(&shared), Arc::clone(&endpoint), stream, peer);
                    connections.spawn(async move {
                        serve.await;
                        drop(admitted);
                    });
                }
                Err(full) => tracing::warn!(%peer, listener = endpoint.listener, reason = %full, "refused"),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of files, most likely: give those that are open the time to close.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}
