//! Questions in the stores' bytes: what goes over the wire, and what is asked here in the same words.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use tidemill_data::{Data, Stamped, StoreName, Timestamp, Windowed};
use tidemill_streams::{RowRange, TaskId};

use crate::error::QueryError;
use crate::query::{Answer, Bound, Position, RowsAndPosition, StoreQuery, View};
use crate::running::Shared;

/// What is asked of a store.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// The row of a key, now or as of a time.
    Row { key: Bytes, as_of: Option<Timestamp> },
    /// Rows of a range of keys.
    Rows(RowRange),
    /// The row of one window or session.
    Window(Windowed<Bytes>),
    /// Rows of windows.
    Windows(WindowRange),
}

/// Windows that start within some times, or sessions that overlap them, in order of start, end and key.
#[derive(Clone, Debug)]
pub(super) struct WindowRange {
    /// Of one key only.
    pub(super) key: Option<Bytes>,
    pub(super) times_ms: RangeInclusive<i64>,
    /// Only what comes after this one.
    pub(super) after: Option<Windowed<Bytes>>,
    pub(super) rows_max: usize,
}

/// Who is asked, and for how recent an answer.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) view: View,
    pub(super) bound: Bound,
    pub(super) only: Option<TaskId>,
}

/// A row as it lies in its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawRow {
    pub(super) key: Bytes,
    /// When its window starts and ends.
    pub(super) span: Option<(i64, i64)>,
    pub(super) value: Bytes,
    pub(super) timestamp: Timestamp,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) rows: Vec<RawRow>,
    /// Whether there are more than were wanted.
    pub(super) more: bool,
    pub(super) position: Position,
}

/// Where a window comes among others.
pub(super) fn place(window: &Windowed<Bytes>) -> (i64, i64, &Bytes) {
    (window.start_ms, window.end_ms, &window.key)
}

impl Asked {
    /// Asks the stores of this instance.
    pub(super) async fn here(
        self,
        shared: &Arc<Shared>,
        name: &str,
        scope: Scope,
    ) -> Result<Raw, QueryError> {
        match self {
            Self::Row { key, as_of } => {
                let store: StoreQuery<Bytes, Bytes, _> = scope.of(name, shared);
                let found = match as_of {
                    Some(at) => store.get_as_of(&key, at).await?,
                    None => store.get_stamped(&key).await?,
                };
                Ok(found.map(|row| row.map(|row| (key, None, row))).into())
            }
            Self::Rows(range) => {
                let rows_max = range.rows_max;
                let range = RowRange {
                    rows_max: rows_max.saturating_add(1),
                    ..range
                };
                let store: StoreQuery<Bytes, Bytes, _> = scope.of(name, shared);
                let found = store.rows(range).await?;
                let rows = found.map(|rows| rows.into_iter().map(|(key, row)| (key, None, row)));
                Ok(Raw::from(rows).cut(rows_max))
            }
            Self::Window(window) => {
                let store: StoreQuery<Windowed<Bytes>, Bytes, _> = scope.of(name, shared);
                let found = store.window(&window).await?;
                Ok(found.map(|row| row.map(|row| windowed((window, row)))).into())
            }
            Self::Windows(range) => {
                let (from, to) = range.times_ms.into_inner();
                let times = Timestamp::from_millis(from)..=Timestamp::from_millis(to);
                let store: StoreQuery<Windowed<Bytes>, Bytes, _> = scope.of(name, shared);
                let found = match &range.key {
                    Some(key) => store.windows_of(key, times).await?,
                    None => store.windows(times).await?,
                };
                let rows = found.map(|mut rows| {
                    rows.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)));
                    let after = range.after.as_ref().map(place);
                    rows.retain(|(window, _)| after.is_none_or(|after| place(window) > after));
                    rows.into_iter().map(windowed)
                });
                Ok(Raw::from(rows).cut(range.rows_max))
            }
        }
    }
}

impl Scope {
    fn of<K: Data + 'static>(
        self,
        name: &str,
        shared: &Arc<Shared>,
    ) -> StoreQuery<K, Bytes, RowsAndPosition> {
        let store = StoreQuery::new(StoreName::<K, Bytes>::named(name.to_owned()), Arc::clone(shared));
        StoreQuery {
            view: self.view,
            bound: self.bound,
            only: self.only,
            ..store.with_position()
        }
    }
}

type Parts = (Bytes, Option<(i64, i64)>, Stamped<Bytes>);

fn windowed((window, row): (Windowed<Bytes>, Stamped<Bytes>)) -> Parts {
    (window.key, Some((window.start_ms, window.end_ms)), row)
}

impl<I: IntoIterator<Item = Parts>> From<Answer<I>> for Raw {
    fn from(answer: Answer<I>) -> Self {
        let row = |(key, span, row): Parts| RawRow {
            key,
            span,
            value: row.value,
            timestamp: row.timestamp,
        };
        Self {
            rows: answer.found.into_iter().map(row).collect(),
            more: false,
            position: answer.position,
        }
    }
}

impl Raw {
    fn cut(mut self, rows_max: usize) -> Self {
        self.more = self.rows.len() > rows_max;
        self.rows.truncate(rows_max);
        self
    }
}
