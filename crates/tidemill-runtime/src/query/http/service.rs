//! The service: from requests to questions, from answers to responses.

use std::ops::Bound as End;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Serialize;
use tidemill_data::{StoreName, Windowed};
use tidemill_streams::{Direction, RowRange};

use super::asked::{Asked, Raw, Scope, WindowRange};
use super::text::{self, AT_LEAST, MORE, POSITION, Parameters, RowText, TIMESTAMP};
use crate::error::QueryError;
use crate::query::{Bound, Position, StoreQuery, View};
use crate::running::Shared;

/// Rows that one request gets unless it asks for fewer; the rest is to be asked for again.
pub(super) const ROWS_MAX: usize = 10_000;
/// A request waits no longer for a position, whatever it asks: who gave up has long gone.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/stores/{store}/rows/{key}", get(row))
        .route("/stores/{store}/rows", get(rows))
        .route("/stores/{store}/windows/{key}/{start}/{end}", get(window))
        .route("/stores/{store}/windows/{key}", get(windows_of))
        .route("/stores/{store}/windows", get(windows))
        .route("/stores/{store}/owner/{key}", get(owner))
        .route("/owners", get(owners))
        .with_state(shared)
}

/// A request that was not answered as asked.
#[derive(Debug)]
enum Refused {
    Query(QueryError),
    Malformed(String),
    NoRow(Position),
}

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::Malformed(reason)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Malformed(reason) => return (StatusCode::BAD_REQUEST, reason).into_response(),
            Self::NoRow(position) => return (StatusCode::NOT_FOUND, headers(&position)).into_response(),
            Self::Query(error) => error,
        };
        let status = match &error {
            QueryError::UnknownStore { .. } => StatusCode::NOT_FOUND,
            QueryError::Kind { .. } | QueryError::NotFollowed { .. } => StatusCode::BAD_REQUEST,
            QueryError::NotHere { .. } => StatusCode::MISDIRECTED_REQUEST,
            QueryError::NotReady { .. } | QueryError::Behind { .. } => StatusCode::SERVICE_UNAVAILABLE,
            QueryError::Unreachable { .. } | QueryError::Elsewhere { .. } => StatusCode::BAD_GATEWAY,
            QueryError::Format { .. } | QueryError::Store { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let reached = match &error {
            QueryError::Behind { reached, .. } => headers(reached),
            _ => HeaderMap::new(),
        };
        (status, reached, error.to_string()).into_response()
    }
}

fn headers(position: &Position) -> HeaderMap {
    let text = HeaderValue::try_from(position.to_string());
    let text = text.expect("names of topics and numbers may stand in a header");
    HeaderMap::from_iter([(axum::http::HeaderName::from_static(POSITION), text)])
}

/// What is asked about all stores alike.
fn scope(parameters: &mut Parameters, headers: &HeaderMap) -> Result<Scope, Refused> {
    let said = match headers.get(AT_LEAST) {
        Some(value) => {
            let text = value
                .to_str()
                .map_err(|_| format!("header `{AT_LEAST}` is no text"))?;
            let position = text.parse::<Position>();
            position.map_err(|error| format!("header `{AT_LEAST}`: {error}"))?
        }
        None => Position::new(),
    };
    let expected = "a position: TOPIC-PARTITION@OFFSET, with commas between several";
    let wanted = parameters.number::<Position>("at_least", expected)?;
    let wait: Option<u64> = parameters.number("wait", "a number of milliseconds")?;
    let view = if parameters.flag("committed")? {
        View::Committed
    } else {
        View::Latest
    };
    Ok(Scope {
        view,
        bound: Bound {
            position: said.merge(&wanted.unwrap_or_default()),
            wait: Duration::from_millis(wait.unwrap_or(0)).min(WAIT_MAX),
        },
        only: parameters.take("task", "a task, as in 0_1", text::task)?,
    })
}

fn rows_max(parameters: &mut Parameters) -> Result<usize, Refused> {
    let limit = parameters.number("limit", "a number of rows")?;
    Ok(limit.unwrap_or(ROWS_MAX).min(ROWS_MAX))
}

fn key(text: &str) -> Result<Bytes, Refused> {
    let key = text::key(text);
    Ok(key.ok_or_else(|| format!("key {text:?} must be pairs of hexadecimal digits"))?)
}

type Here = State<Arc<Shared>>;
type Pairs = Query<Vec<(String, String)>>;

async fn row(
    State(shared): Here,
    Path((store, key_text)): Path<(String, String)>,
    Query(pairs): Pairs,
    given: HeaderMap,
) -> Result<Response, Refused> {
    let mut parameters = Parameters::new(pairs)?;
    let scope = scope(&mut parameters, &given)?;
    let as_of = parameters.time("as_of")?;
    parameters.end()?;
    let key = key(&key_text)?;
    one(Asked::Row { key, as_of }.here(&shared, &store, scope).await?)
}

async fn window(
    State(shared): Here,
    Path((store, key_text, start, end)): Path<(String, String, String, String)>,
    Query(pairs): Pairs,
    given: HeaderMap,
) -> Result<Response, Refused> {
    let mut parameters = Parameters::new(pairs)?;
    let scope = scope(&mut parameters, &given)?;
    parameters.end()?;
    let time = |text: &str| {
        let ms = text.parse::<i64>();
        ms.map_err(|_| format!("{text:?} must be a time in milliseconds since 1970"))
    };
    let window = Windowed::new(key(&key_text)?, time(&start)?, time(&end)?);
    one(Asked::Window(window).here(&shared, &store, scope).await?)
}

/// The response that is one row.
fn one(mut found: Raw) -> Result<Response, Refused> {
    let Some(row) = found.rows.pop() else {
        return Err(Refused::NoRow(found.position));
    };
    let mut headers = headers(&found.position);
    headers.insert(TIMESTAMP, HeaderValue::from(row.timestamp.millis()));
    Ok((headers, row.value).into_response())
}

async fn rows(
    State(shared): Here,
    Path(store): Path<String>,
    Query(pairs): Pairs,
    given: HeaderMap,
) -> Result<Response, Refused> {
    let mut parameters = Parameters::new(pairs)?;
    let scope = scope(&mut parameters, &given)?;
    let range = range(&mut parameters)?;
    parameters.end()?;
    Ok(many(Asked::Rows(range).here(&shared, &store, scope).await?))
}

fn range(parameters: &mut Parameters) -> Result<RowRange, Refused> {
    let prefix = parameters.key("prefix")?;
    let (from, to) = (parameters.key("from")?, parameters.key("to")?);
    let (after, before) = (parameters.key("after")?, parameters.key("before")?);
    let end = |inclusive: Option<Bytes>, exclusive: Option<Bytes>, names| match (inclusive, exclusive) {
        (Some(_), Some(_)) => Err(format!("give either {names}")),
        (Some(key), None) => Ok(End::Included(key.to_vec())),
        (None, Some(key)) => Ok(End::Excluded(key.to_vec())),
        (None, None) => Ok(End::Unbounded),
    };
    let (from, to) = (
        end(from, after, "`from` or `after`")?,
        end(to, before, "`to` or `before`")?,
    );
    let range = match prefix {
        Some(_) if (&from, &to) != (&End::Unbounded, &End::Unbounded) => {
            return Err("give either `prefix`, or where the range begins and ends"
                .to_owned()
                .into());
        }
        Some(prefix) => RowRange::prefix(&prefix),
        None => RowRange {
            from,
            to,
            ..RowRange::ALL
        },
    };
    Ok(RowRange {
        direction: if parameters.flag("reverse")? {
            Direction::Backward
        } else {
            Direction::Forward
        },
        rows_max: rows_max(parameters)?,
        ..range
    })
}

async fn windows_of(
    State(shared): Here,
    Path((store, key_text)): Path<(String, String)>,
    Query(pairs): Pairs,
    given: HeaderMap,
) -> Result<Response, Refused> {
    let key = key(&key_text)?;
    of_windows(&shared, &store, Some(key), pairs, &given).await
}

async fn windows(
    State(shared): Here,
    Path(store): Path<String>,
    Query(pairs): Pairs,
    given: HeaderMap,
) -> Result<Response, Refused> {
    of_windows(&shared, &store, None, pairs, &given).await
}

async fn of_windows(
    shared: &Arc<Shared>,
    store: &str,
    key: Option<Bytes>,
    pairs: Vec<(String, String)>,
    given: &HeaderMap,
) -> Result<Response, Refused> {
    let mut parameters = Parameters::new(pairs)?;
    let scope = scope(&mut parameters, given)?;
    let (from, to) = (parameters.time("from")?, parameters.time("to")?);
    let after = parameters.take("after", "START,END,KEY of a window", text::window)?;
    let rows_max = rows_max(&mut parameters)?;
    parameters.end()?;
    let times_ms = from.map_or(0, |from| from.millis())..=to.map_or(i64::MAX, |to| to.millis());
    let asked = Asked::Windows(WindowRange {
        key,
        times_ms,
        after,
        rows_max,
    });
    Ok(many(asked.here(shared, store, scope).await?))
}

/// The response that is a list of rows.
fn many(found: Raw) -> Response {
    let mut headers = headers(&found.position);
    if found.more {
        headers.insert(MORE, HeaderValue::from_static("true"));
    }
    let rows: Vec<RowText> = found.rows.into_iter().map(RowText::from).collect();
    (headers, Json(rows)).into_response()
}

/// Who has a key.
#[derive(Serialize)]
struct OwnerText {
    task: Option<String>,
    server: Option<String>,
}

async fn owner(
    State(shared): Here,
    Path((store, key_text)): Path<(String, String)>,
    Query(pairs): Pairs,
) -> Result<Response, Refused> {
    Parameters::new(pairs)?.end()?;
    let key = key(&key_text)?;
    let store: StoreQuery<Bytes, Bytes> = StoreQuery::new(StoreName::named(store), shared);
    let (task, server) = (store.task_of_bytes(&key)?, store.owner_of_bytes(&key).await?);
    let task = task.map(|task| task.to_string());
    Ok(Json(OwnerText { task, server }).into_response())
}

async fn owners(State(shared): Here) -> Result<Response, Refused> {
    Ok(Json(shared.owners("").await?).into_response())
}
