//! Queries over HTTP, for other instances and other programs.
//!
//! | request | answer |
//! |---|---|
//! | `GET /stores/STORE/rows/KEY` | the row's value as it is in the store; its timestamp in the header `timestamp` |
//! | `GET /stores/STORE/rows/KEY?as_of=MS` | the same as of a time, of a table that keeps versions |
//! | `GET /stores/STORE/rows?from=KEY&to=KEY&limit=N&reverse=true` | rows as JSON: `[{"key", "value", "timestamp"}, …]`; both ends are inclusive, `after` and `before` exclude them |
//! | `GET /stores/STORE/rows?prefix=KEY` | the same of keys that begin alike |
//! | `GET /stores/STORE/windows/KEY/START/END` | the value of one window or session, as of a row |
//! | `GET /stores/STORE/windows/KEY?from=MS&to=MS&limit=N` | windows that start within these times, or sessions that overlap them: `[{"key", "start", "end", "value", "timestamp"}, …]` by start, end and key |
//! | `GET /stores/STORE/windows?from=MS&to=MS&limit=N` | the same of all keys |
//! | `GET /stores/STORE/owner/KEY` | who has a key: `{"task", "server"}` |
//! | `GET /owners` | what all instances announced: `[{"server", "tasks"}, …]`, the latest first |
//!
//! Keys and values are bytes in the formats of the store, written as hexadecimal digits wherever they are not a body of
//! their own; `-` is the empty key in a path. A list has at most 10,000 rows; with the header `more: true` there are
//! others, to be asked for by `after` (of windows `after=START,END,KEY`) or `before`.
//!
//! Every question about rows may say `committed=true` (only what was committed), `task=0_1` (only that task's rows), and
//! how far it wants the store to be: `at_least=clicks-0@41` or a header `at-least`, with `wait=MS` to wait for it, a
//! minute at most. Every answer says in the header `position` how far the store was.
//!
//! | status | why |
//! |---|---|
//! | 400 | the request is wrong, and how |
//! | 404 | with `position`: there is no such row; without: there is no such store |
//! | 421 | the task that was named is not here |
//! | 503 | with `position`: the store is no further than that; without: it is being restored, or moves |

mod asked;
mod client;
mod everywhere;
mod service;
mod text;

use axum::Router;

pub use self::everywhere::Everywhere;
use crate::running::Running;

impl Running {
    /// A service that answers queries of this instance's stores over HTTP, to be served at `application.server`:
    ///
    /// ```no_run
    /// # async fn served(running: tidemill_runtime::Running) -> std::io::Result<()> {
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    /// axum::serve(listener, running.query_service()).await
    /// # }
    /// ```
    ///
    /// `GET /stores/STORE/rows/KEY` gives the value of a row, `GET /stores/STORE/rows?prefix=KEY` (or `from`, `to`, `limit`,
    /// `reverse`) rows as JSON, `GET /stores/STORE/windows/KEY?from=MS&to=MS` windows and sessions,
    /// `GET /stores/STORE/owner/KEY` who has a key, and `GET /owners` which instance has which tasks. Keys are hexadecimal
    /// digits of the bytes in the store. [`StoreQuery::everywhere`](crate::StoreQuery::everywhere) asks it from Rust.
    pub fn query_service(&self) -> Router {
        service::router(self.shared.clone())
    }
}
