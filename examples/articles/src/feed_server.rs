//! A small local server for feed files, with ETags, so that the pipeline has something to fetch offline.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Files = Arc<BTreeMap<String, Vec<u8>>>;

/// Serves files by name until it is dropped.
pub struct FeedServer {
    address: SocketAddr,
    names: Vec<String>,
    serving: JoinHandle<io::Result<()>>,
}

impl FeedServer {
    /// Listens on a free port of the loopback interface.
    pub async fn start(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> io::Result<Self> {
        let files: Files = Arc::new(files.into_iter().collect());
        let names = files.keys().cloned().collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/{name}", get(file)).with_state(files);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            address,
            names,
            serving,
        })
    }

    /// Where it listens, ending with a slash.
    pub fn address(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The addresses of all its files, by name.
    pub fn urls(&self) -> impl Iterator<Item = String> + '_ {
        self.names.iter().map(|name| format!("{}{name}", self.address()))
    }
}

impl Drop for FeedServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn file(State(files): State<Files>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(bytes) = files.get(&name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag: String = Sha256::digest(bytes)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("\"{tag}\"");
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([(ETAG, tag)], bytes.clone()).into_response()
}
