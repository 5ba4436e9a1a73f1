//! The HTTP port: `/metrics` for Prometheus, `/health` for whoever restarts brokers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::broker::StartError;
use crate::shared::Shared;

/// What Prometheus asks for.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Binds `address`, as `host:port`.
pub(crate) async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind {
        address: address.to_string(),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves until the broker stops.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let mut stopping = shared.stopping.subscribe();
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .with_state(shared);
    tokio::select! {
        served = async { axum::serve(listener, router).await } => {
            if let Err(error) = served {
                tracing::error!(%error, "the HTTP port is not served any more");
            }
        }
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, METRICS_TYPE)],
        shared.metrics.text(&shared),
    )
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    cluster_id: String,
    broker_id: i32,
    /// Partitions that take no records since the disk failed.
    read_only_partitions: Vec<String>,
}

async fn health(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let logs = shared.dirs.logs();
    let read_only = logs.iter().filter(|log| log.is_read_only());
    let mut read_only: Vec<_> = read_only.map(|log| log.topic_partition().to_string()).collect();
    read_only.sort();
    let (code, status) = match read_only.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
    };
    let health = Health {
        status,
        cluster_id: shared.cluster_id().to_string(),
        broker_id: shared.node_id(),
        read_only_partitions: read_only,
    };
    (code, Json(health))
}
