//! Fetches one feed: only if it changed since the last time, never too long, never too much.

use std::time::Duration;

use reqwest::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use reqwest::{Client, StatusCode};
use url::{Host, Url};

// A feed is a list of recent items; what is larger is a mistake or an attack.
const FEED_BYTES_MAX: usize = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const FEED_TYPES: &str =
    "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, */*;q=0.5";

/// What a server said.
#[derive(Debug)]
pub enum Fetched {
    /// The feed is the one we have.
    NotModified,
    /// The feed, and the tag to ask with next time.
    Feed {
        /// The file.
        bytes: Vec<u8>,
        /// The server's name for this version.
        etag: Option<String>,
    },
}

/// Fetches feeds.
pub struct Fetcher {
    client: Client,
    // For servers on this machine, which a proxy from the environment could not reach.
    direct: Client,
}

impl Fetcher {
    /// Sets up the client: HTTPS with `ring`, and a name servers can complain about.
    pub fn new() -> Result<Self, FetchError> {
        // Fails only if a provider is installed already, which is then just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            Client::builder()
                .user_agent(concat!("tidemill-articles/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(REQUEST_TIMEOUT)
        };
        Ok(Self {
            client: builder().build()?,
            direct: builder().no_proxy().build()?,
        })
    }

    /// Asks for a feed; with the tag of the version we have, a server may answer that nothing changed.
    pub async fn fetch(&self, url: &str, etag: Option<&str>) -> Result<Fetched, FetchError> {
        let client = if is_local(url) { &self.direct } else { &self.client };
        let mut request = client.get(url).header(ACCEPT, FEED_TYPES);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let mut response = request.send().await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::NotModified);
        }
        if !response.status().is_success() {
            return Err(FetchError::Status {
                status: response.status(),
            });
        }
        let etag = response
            .headers()
            .get(ETAG)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if bytes.len() + chunk.len() > FEED_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Fetched::Feed { bytes, etag })
    }
}

fn is_local(url: &str) -> bool {
    let parsed = Url::parse(url).ok();
    match parsed.as_ref().and_then(Url::host) {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A feed that could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No connection, no answer in time, or an answer that is no HTTP.
    #[error("cannot fetch: {}", causes(.0))]
    Http(#[from] reqwest::Error),
    /// The server refused.
    #[error("the server answered {status}")]
    Status {
        /// Its answer.
        status: StatusCode,
    },
    /// The answer did not end.
    #[error("the feed is larger than {FEED_BYTES_MAX} bytes")]
    TooLarge,
}

// reqwest names the operation; why it failed stands in the chain below.
fn causes(error: &reqwest::Error) -> String {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |fault| fault.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed_server::FeedServer;

    #[tokio::test]
    async fn a_feed_that_did_not_change_is_not_sent_again() {
        let server = FeedServer::start([("a.xml".to_owned(), b"<rss/>".to_vec())])
            .await
            .unwrap();
        let fetcher = Fetcher::new().unwrap();
        let url = server.urls().next().unwrap();
        let Fetched::Feed { bytes, etag } = fetcher.fetch(&url, None).await.unwrap() else {
            panic!("no feed")
        };
        assert_eq!(bytes, b"<rss/>");
        assert!(matches!(
            fetcher.fetch(&url, etag.as_deref()).await.unwrap(),
            Fetched::NotModified
        ));
        assert!(matches!(
            fetcher.fetch(&url, Some("\"old\"")).await.unwrap(),
            Fetched::Feed { .. }
        ));
    }

    #[tokio::test]
    async fn failures_say_what_happened() {
        let server = FeedServer::start([]).await.unwrap();
        let fetcher = Fetcher::new().unwrap();
        let missing = format!("{}nothing.xml", server.address());
        let refused = fetcher.fetch(&missing, None).await.unwrap_err();
        assert!(matches!(
            refused,
            FetchError::Status {
                status: StatusCode::NOT_FOUND
            }
        ));
        let closed = fetcher.fetch("http://127.0.0.1:1/", None).await.unwrap_err();
        assert!(matches!(closed, FetchError::Http(_)), "{closed}");
    }

    #[tokio::test]
    async fn a_feed_beyond_the_bound_is_given_up() {
        let server = FeedServer::start([("big".to_owned(), vec![b' '; FEED_BYTES_MAX + 1])])
            .await
            .unwrap();
        let url = server.urls().next().unwrap();
        let error = Fetcher::new().unwrap().fetch(&url, None).await.unwrap_err();
        assert!(matches!(error, FetchError::TooLarge));
    }
}
