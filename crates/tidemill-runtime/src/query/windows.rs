//! Queries of windowed tables: one window, the windows of a key, all windows of a time.

use std::ops::{Bound, RangeBounds, RangeInclusive};

use tidemill_data::{Headers, Place, Presence, Stamped, Timestamp, Windowed, Wire};
use tidemill_store::StoreKind;
use tidemill_streams::WindowedRow;

use super::{Answer, Form, StoreQuery, unreadable};
use crate::error::QueryError;

pub(super) fn is_windowed(kind: StoreKind) -> bool {
    matches!(kind, StoreKind::Window { .. } | StoreKind::Session { .. })
}

impl<K: Clone + Send + Sync + 'static, V: Send + 'static, F: Form> StoreQuery<Windowed<K>, V, F> {
    fn window_keys(&self) -> Result<Wire<K>, QueryError> {
        let keys = self.shared.topology.window_keys(self.name.name());
        keys.ok_or_else(|| unreadable(self.name.name(), "its keys are of another type"))
    }

    /// The bytes of a window's key; `None` for a null.
    pub(super) fn window_key(&self, key: &K) -> Result<Option<Vec<u8>>, QueryError> {
        let (mut bytes, headers, changelog) = (Vec::new(), Headers::default(), self.changelog());
        let encoded = self
            .window_keys()?
            .encode(Place::key(&changelog, &headers), key, &mut bytes);
        let presence = encoded.map_err(|error| unreadable(self.name.name(), error))?;
        Ok((presence == Presence::Value).then_some(bytes))
    }

    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "only other instances' rows come as bytes")
    )]
    pub(super) fn decode_window_key(&self, bytes: &[u8]) -> Result<K, QueryError> {
        let (headers, changelog) = (Headers::default(), self.changelog());
        let decoded = self
            .window_keys()?
            .decode(Place::key(&changelog, &headers), Some(bytes));
        decoded.map_err(|error| unreadable(self.name.name(), error))
    }

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

pub(super) fn millis(times: &impl RangeBounds<Timestamp>) -> RangeInclusive<i64> {
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
