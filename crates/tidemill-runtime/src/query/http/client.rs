//! Asking another instance's service.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tidemill_data::{Timestamp, Windowed};
use tidemill_streams::{Direction, RowRange};

use super::asked::{Asked, Raw, RawRow, Scope, WindowRange, place};
use super::text::{self, AT_LEAST, MORE, POSITION, RowText, TIMESTAMP};
use crate::error::QueryError;
use crate::query::{Position, View};
use crate::state::State;

/// An instance that does not begin to answer within this time beyond what it was told to wait is taken to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// What one response may hold: a page of rows of some kilobytes each, in two digits a byte.
const BYTES_MAX: usize = 256 << 20;

/// Why another instance gave no answer.
#[derive(Debug)]
pub(super) enum Setback {
    /// It may come from the same place or another a little later.
    Passing(QueryError),
    /// It will not.
    Lasting(QueryError),
}

use Setback::{Lasting, Passing};

/// Connections to the services of other instances, kept for the next question.
#[derive(Clone, Debug)]
pub(super) struct Client {
    connections: hyper_util::client::legacy::Client<HttpConnector, Body>,
}

/// One question to one instance.
pub(super) struct Call<'a> {
    pub(super) server: &'a str,
    pub(super) store: &'a Arc<str>,
    pub(super) scope: &'a Scope,
}

struct Answered {
    status: StatusCode,
    position: Option<Position>,
    timestamp: Timestamp,
    more: bool,
    body: Bytes,
}

impl Client {
    pub(super) fn new() -> Self {
        let builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        Self {
            connections: builder.build(HttpConnector::new()),
        }
    }

    /// Asks until all rows that were wanted are here.
    pub(super) async fn ask(&self, call: &Call<'_>, asked: Asked) -> Result<Raw, Setback> {
        match asked {
            Asked::Row { key, as_of } => {
                let as_of = as_of.map(|at| format!("as_of={}", at.millis()));
                let path = format!("rows/{}", text::key_text(&key));
                self.one(call, &path, as_of.into_iter().collect(), (key, None))
                    .await
            }
            Asked::Window(Windowed {
                key,
                start_ms,
                end_ms,
            }) => {
                let path = format!("windows/{}/{start_ms}/{end_ms}", text::key_text(&key));
                self.one(call, &path, Vec::new(), (key, Some((start_ms, end_ms))))
                    .await
            }
            Asked::Rows(range) => self.rows(call, range).await,
            Asked::Windows(range) => self.windows(call, range).await,
        }
    }

    async fn one(
        &self,
        call: &Call<'_>,
        path: &str,
        parameters: Vec<String>,
        (key, span): (Bytes, Option<(i64, i64)>),
    ) -> Result<Raw, Setback> {
        let answered = self.get(call, path, parameters).await?;
        let (timestamp, value) = (answered.timestamp, answered.body);
        let row = RawRow {
            key,
            span,
            value,
            timestamp,
        };
        Ok(Raw {
            rows: (answered.status == StatusCode::OK)
                .then_some(row)
                .into_iter()
                .collect(),
            more: false,
            position: answered.position.unwrap_or_default(),
        })
    }

    async fn rows(&self, call: &Call<'_>, range: RowRange) -> Result<Raw, Setback> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let RowRange {
            mut from,
            mut to,
            direction,
            rows_max,
        } = range;
        let mut all = Collected::default();
        loop {
            let mut parameters = vec![format!("reverse={}", direction == Direction::Backward)];
            parameters.extend(match &from {
                Included(key) => Some(format!("from={}", text::hex(key))),
                Excluded(key) => Some(format!("after={}", text::hex(key))),
                Unbounded => None,
            });
            parameters.extend(match &to {
                Included(key) => Some(format!("to={}", text::hex(key))),
                Excluded(key) => Some(format!("before={}", text::hex(key))),
                Unbounded => None,
            });
            let last = self.page(call, "rows", parameters, rows_max, &mut all).await?;
            let Some(last) = last else {
                return Ok(all.into_raw());
            };
            let beyond = Excluded(last.key.to_vec());
            match direction {
                Direction::Forward => from = beyond,
                Direction::Backward => to = beyond,
            }
        }
    }

    async fn windows(&self, call: &Call<'_>, range: WindowRange) -> Result<Raw, Setback> {
        let path = match &range.key {
            Some(key) => format!("windows/{}", text::key_text(key)),
            None => "windows".to_owned(),
        };
        let mut after = range.after;
        let mut all = Collected::default();
        loop {
            let mut parameters = vec![
                format!("from={}", range.times_ms.start()),
                format!("to={}", range.times_ms.end()),
            ];
            parameters.extend(
                after
                    .as_ref()
                    .map(|after| format!("after={}", text::window_text(after))),
            );
            let last = self
                .page(call, &path, parameters, range.rows_max, &mut all)
                .await?;
            let Some(last) = last else {
                return Ok(all.into_raw());
            };
            let (start, end) = last.span.unwrap_or_default();
            let next = Windowed::new(last.key, start, end);
            if after.as_ref().is_some_and(|after| place(after) >= place(&next)) {
                return Err(Lasting(call.elsewhere("its pages do not go on".to_owned())));
            }
            after = Some(next);
        }
    }

    /// Adds one page, and gives its last row if more is to be asked for.
    async fn page(
        &self,
        call: &Call<'_>,
        path: &str,
        mut parameters: Vec<String>,
        rows_max: usize,
        all: &mut Collected,
    ) -> Result<Option<RawRow>, Setback> {
        let wanted = rows_max.saturating_sub(all.rows.len());
        parameters.push(format!("limit={wanted}"));
        let answered = self.get(call, path, parameters).await?;
        let texts: Result<Vec<RowText>, _> = serde_json::from_slice(&answered.body);
        let texts = texts.map_err(|error| Lasting(call.elsewhere(error.to_string())))?;
        let rows: Option<Vec<RawRow>> = texts.iter().map(RowText::row).collect();
        let rows =
            rows.ok_or_else(|| Lasting(call.elsewhere("its rows are no hexadecimal digits".to_owned())))?;
        // Of several pages the first is the oldest.
        all.position.get_or_insert(answered.position.unwrap_or_default());
        let (last, is_complete) = (rows.last().cloned(), !answered.more || rows.len() >= wanted);
        all.rows.extend(rows);
        Ok(last.filter(|_| !is_complete))
    }

    /// An answer: a success, or that there is no such row.
    async fn get(&self, call: &Call<'_>, path: &str, parameters: Vec<String>) -> Result<Answered, Setback> {
        let request = call.request(path, parameters).map_err(Lasting)?;
        let unreachable = |reason: String| {
            Passing(QueryError::Unreachable {
                name: call.store.to_string(),
                server: call.server.to_owned(),
                reason,
            })
        };
        let exchange = async {
            let response = self.connections.request(request).await;
            let response = response.map_err(|error| unreachable(causes(&error)))?;
            let (head, body) = response.into_parts();
            let body = axum::body::to_bytes(Body::new(body), BYTES_MAX).await;
            let body = body.map_err(|error| unreachable(causes(&error)))?;
            Ok(Response::from_parts(head, body))
        };
        let within = PATIENCE.saturating_add(call.scope.bound.wait);
        let response = tokio::time::timeout(within, exchange).await;
        let response = response.map_err(|_| unreachable(format!("no answer within {within:?}")))?;
        call.judge(response?)
    }
}

/// Pages of one answer.
#[derive(Default)]
struct Collected {
    rows: Vec<RawRow>,
    position: Option<Position>,
}

impl Collected {
    fn into_raw(self) -> Raw {
        Raw {
            rows: self.rows,
            more: false,
            position: self.position.unwrap_or_default(),
        }
    }
}

impl Call<'_> {
    fn elsewhere(&self, reason: String) -> QueryError {
        QueryError::Elsewhere {
            name: self.store.to_string(),
            server: self.server.to_owned(),
            reason,
        }
    }

    fn request(&self, path: &str, mut parameters: Vec<String>) -> Result<Request<Body>, QueryError> {
        parameters.extend(self.scope.only.map(|task| format!("task={task}")));
        if self.scope.view == View::Committed {
            parameters.push("committed=true".to_owned());
        }
        let wait_ms = u64::try_from(self.scope.bound.wait.as_millis()).unwrap_or(u64::MAX);
        parameters.push(format!("wait={wait_ms}"));
        // Names of stores are those of topics: they have no characters that an address cannot have.
        let (server, store) = (self.server, self.store);
        let address = format!("http://{server}/stores/{store}/{path}?{}", parameters.join("&"));
        let mut request = Request::get(address);
        if !self.scope.bound.position.is_empty() {
            request = request.header(AT_LEAST, self.scope.bound.position.to_string());
        }
        request
            .body(Body::empty())
            .map_err(|error| self.elsewhere(error.to_string()))
    }

    fn judge(&self, response: Response<Bytes>) -> Result<Answered, Setback> {
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        let position = header(POSITION).and_then(|text| text.parse().ok());
        let timestamp = header(TIMESTAMP).and_then(|text| text.parse().ok());
        let answered = Answered {
            status: response.status(),
            timestamp: timestamp.map_or(Timestamp::MIN, Timestamp::from_millis),
            more: header(MORE) == Some("true"),
            position,
            body: response.body().clone(),
        };
        let name = self.store.to_string();
        match (answered.status, &answered.position) {
            (StatusCode::OK, _) | (StatusCode::NOT_FOUND, Some(_)) => Ok(answered),
            (StatusCode::MISDIRECTED_REQUEST, _) => Err(Passing(QueryError::NotHere {
                name,
                task: self.scope.only.map(|task| task.to_string()).unwrap_or_default(),
            })),
            (StatusCode::SERVICE_UNAVAILABLE, Some(reached)) => Err(Lasting(QueryError::Behind {
                name,
                wanted: self.scope.bound.position.clone(),
                reached: reached.clone(),
            })),
            (StatusCode::SERVICE_UNAVAILABLE, None) => Err(Passing(QueryError::NotReady {
                name,
                state: State::Rebalancing,
            })),
            (status, _) => {
                let reason = String::from_utf8_lossy(&answered.body);
                Err(Lasting(self.elsewhere(format!("{status}: {reason}"))))
            }
        }
    }
}

/// An error with what it came from.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
