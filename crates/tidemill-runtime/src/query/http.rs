//! Queries over HTTP, for other instances and other programs.
//!
//! | request | answer |
//! |---|---|
//! | `GET /stores/STORE/rows/KEY` | the row's value as it is in the store; its timestamp in the header `timestamp` |
//! | `GET /stores/STORE/rows/KEY?as_of=MS` | the same as of a time, of a table that keeps versions |
//! | `GET /stores/STORE/rows?prefix=KEY` | rows as JSON: `[{"key", "value", "timestamp"}, …]` |
//! | `GET /stores/STORE/rows?from=KEY&to=KEY&limit=N&reverse=true` | the same of a range, both ends inclusive |
//! | `GET /owners` | what all instances announced: `[{"server", "tasks"}, …]`, the latest first |
//!
//! Keys and values are bytes in the formats of the store, written as hexadecimal digits wherever they are not a body of
//! their own. A row or store that is not here is 404, a program that is being restored 503.

use std::ops::Bound;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemill_data::{Stamped, StoreName, Timestamp};
use tidemill_streams::{Direction, RowRange};

use super::StoreQuery;
use crate::error::QueryError;
use crate::running::{Running, Shared};

/// Rows that one request gets unless it asks for fewer.
const ROWS_MAX: usize = 10_000;

impl Running {
    /// A service that answers queries of this instance's tables over HTTP, to be served at `application.server`:
    ///
    /// ```no_run
    /// # async fn served(running: tidemill_runtime::Running) -> std::io::Result<()> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    /// axum::serve(listener, running.query_service()).await
    /// # }
    /// ```
    ///
    /// `GET /stores/STORE/rows/KEY` gives the value of a row, `GET /stores/STORE/rows?prefix=KEY` (or `from`, `to`, `limit`,
    /// `reverse`) rows as JSON, and `GET /owners` which instance has which tasks. Keys are hexadecimal digits of the bytes
    /// in the store.
    pub fn query_service(&self) -> Router {
        Router::new()
            .route("/stores/{store}/rows/{key}", get(row))
            .route("/stores/{store}/rows", get(rows))
            .route("/owners", get(owners))
            .with_state(self.shared.clone())
    }
}

/// A request that was not answered as asked.
enum Refused {
    Query(QueryError),
    Malformed(&'static str),
    NoRow,
}

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Malformed(reason) => return (StatusCode::BAD_REQUEST, reason).into_response(),
            Self::NoRow => return StatusCode::NOT_FOUND.into_response(),
            Self::Query(error) => error,
        };
        let status = match &error {
            QueryError::UnknownStore { .. } => StatusCode::NOT_FOUND,
            QueryError::Kind { .. } | QueryError::NotFollowed { .. } => StatusCode::BAD_REQUEST,
            QueryError::NotReady { .. } | QueryError::Behind { .. } => StatusCode::SERVICE_UNAVAILABLE,
            QueryError::Format { .. } | QueryError::Store { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, error.to_string()).into_response()
    }
}

fn store(shared: Arc<Shared>, name: String) -> StoreQuery<Bytes, Bytes> {
    StoreQuery::new(StoreName::named(name), shared)
}

#[derive(Deserialize)]
struct AsOf {
    as_of: Option<i64>,
}

async fn row(
    State(shared): State<Arc<Shared>>,
    Path((name, key)): Path<(String, String)>,
    Query(AsOf { as_of }): Query<AsOf>,
) -> Result<(HeaderMap, Bytes), Refused> {
    let (store, key) = (store(shared, name), bytes(&key)?);
    let key = Bytes::from(key);
    let row = match as_of {
        Some(ms) => store.get_as_of(&key, Timestamp::from_millis(ms)).await?,
        None => store.get_stamped(&key).await?,
    };
    let Stamped { value, timestamp } = row.ok_or(Refused::NoRow)?;
    let mut headers = HeaderMap::new();
    headers.insert("timestamp", HeaderValue::from(timestamp.millis()));
    Ok((headers, value))
}

#[derive(Deserialize)]
struct Wanted {
    prefix: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    reverse: bool,
}

impl Wanted {
    fn range(&self) -> Result<RowRange, Refused> {
        let bound = |key: &Option<String>| match key {
            Some(key) => bytes(key).map(Bound::Included),
            None => Ok(Bound::Unbounded),
        };
        let range = match (&self.prefix, &self.from, &self.to) {
            (Some(prefix), None, None) => RowRange::prefix(&bytes(prefix)?),
            (Some(_), ..) => return Err(Refused::Malformed("give either `prefix`, or `from` and `to`")),
            (None, from, to) => RowRange {
                from: bound(from)?,
                to: bound(to)?,
                ..RowRange::ALL
            },
        };
        let direction = if self.reverse {
            Direction::Backward
        } else {
            Direction::Forward
        };
        Ok(RowRange {
            direction,
            rows_max: self.limit.unwrap_or(ROWS_MAX).min(ROWS_MAX),
            ..range
        })
    }
}

#[derive(Serialize)]
struct RowText {
    key: String,
    value: String,
    timestamp: i64,
}

async fn rows(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Vec<RowText>>, Refused> {
    let rows = store(shared, name).rows(wanted.range()?).await?;
    let text = |(key, row): (Bytes, Stamped<Bytes>)| RowText {
        key: hex(&key),
        value: hex(&row.value),
        timestamp: row.timestamp.millis(),
    };
    Ok(Json(rows.into_iter().map(text).collect()))
}

async fn owners(State(shared): State<Arc<Shared>>) -> Result<Response, Refused> {
    Ok(Json(shared.owners("").await?).into_response())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(hex: &str) -> Result<Vec<u8>, Refused> {
    const MALFORMED: Refused = Refused::Malformed("a key is written as pairs of hexadecimal digits");
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits
        .filter(|digits| digits.len().is_multiple_of(2))
        .ok_or(MALFORMED)?;
    let (pairs, _) = digits.as_chunks::<2>();
    let byte = |[high, low]: &[u32; 2]| u8::try_from(high * 16 + low).map_err(|_| MALFORMED);
    pairs.iter().map(byte).collect()
}
