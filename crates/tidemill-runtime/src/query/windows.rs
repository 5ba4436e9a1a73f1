//! Queries of windowed tables: one window, the windows of a key, all windows of a time.

use std::ops::{Bound, RangeBounds, RangeInclusive};

use tidemill_data::{Stamped, Timestamp, Windowed};
use tidemill_store::StoreKind;
use tidemill_streams::WindowedRow;

use super::{Answer, Form, StoreQuery};
use crate::error::QueryError;

fn is_windowed(kind: StoreKind) -> bool {
    matches!(kind, StoreKind::Window { .. } | StoreKind::Session { .. })
}

impl<K: Clone + Send + Sync + 'static, V: Send + 'static, F: Form> StoreQuery<Windowed<K>, V, F> {
    /// The row of one window or session of a key, if this instance has it.
    pub async fn window(&self, window: &Windowed<K>) -> Result<F::Of<Option<Stamped<V>>>, QueryError> {
        self.refuse_unless(is_windowed)?;
        let (name, window) = (self.name.clone(), window.clone());
        let rows = self.ask(move |reader, found| {
            found.extend(reader.window(&name, &window)?);
            Ok(!found.is_empty())
        });
        Ok(F::of(rows.await?.map(|mut rows| rows.pop())))
    }

    /// The windows of a key that start within these times, or its sessions that overlap them, in order of their starts.
    pub async fn windows_of(
        &self,
        key: &K,
        times: impl RangeBounds<Timestamp>,
    ) -> Result<F::Of<Vec<WindowedRow<K, V>>>, QueryError> {
        Ok(F::of(self.windowed(Some(key.clone()), millis(&times)).await?))
    }

    /// The windows of all keys of this instance that start within these times, or the sessions that overlap them, in
    /// order of their starts.
    pub async fn windows(
        &self,
        times: impl RangeBounds<Timestamp>,
    ) -> Result<F::Of<Vec<WindowedRow<K, V>>>, QueryError> {
        Ok(F::of(self.windowed(None, millis(&times)).await?))
    }

    async fn windowed(
        &self,
        key: Option<K>,
        times: RangeInclusive<i64>,
    ) -> Result<Answer<Vec<WindowedRow<K, V>>>, QueryError> {
        self.refuse_unless(is_windowed)?;
        let name = self.name.clone();
        let rows = self.ask(move |reader, found| {
            found.extend(reader.windows(&name, key.as_ref(), times.clone())?);
            Ok(false)
        });
        let mut rows = rows.await?;
        rows.found
            .sort_by_key(|(window, _)| (window.start_ms, window.end_ms));
        Ok(rows)
    }
}

fn millis(times: &impl RangeBounds<Timestamp>) -> RangeInclusive<i64> {
    let from = match times.start_bound() {
        Bound::Included(from) => from.millis(),
        Bound::Excluded(from) => from.millis().saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match times.end_bound() {
        Bound::Included(to) => to.millis(),
        Bound::Excluded(to) => to.millis().saturating_sub(1),
        Bound::Unbounded => i64::MAX,
    };
    from..=to
}
