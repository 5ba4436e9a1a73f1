//! Which rows a processor asks a store for by key, and the way through them.

use tidemill_data::{BoxError, Timestamp};
use tidemill_store::Direction;

use super::{
    ProcessorContext, StoreRows,
    bound::{Bound, KeySpan},
};
use crate::failure::Halt;

/// Which rows.
pub(super) enum Wanted {
    Span(KeySpan),
    Prefix(Vec<u8>),
}

impl Wanted {
    pub(super) fn takes(&self, key: &[u8]) -> bool {
        match self {
            Self::Span(span) => span.except.as_deref() != Some(key),
            Self::Prefix(_) => true,
        }
    }
}

impl<K: 'static, V: 'static> Bound<K, V> {
    pub(super) fn row(&self, key: &[u8], value: &[u8]) -> Result<(K, V), Halt> {
        Ok((self.decode_key(key)?, self.decode_value(value)?))
    }

    /// The rows of a store with timestamps; of those, the ones whose time `keeps` lets pass.
    pub(super) fn timestamped_rows<'a>(
        &'a self,
        at: &'a mut ProcessorContext<'_>,
        wanted: Wanted,
        direction: Direction,
        keeps: impl Fn(Timestamp) -> bool + 'a,
    ) -> Result<StoreRows<'a, (K, V)>, BoxError> {
        let id = at.store(&self.place)?;
        let store = at.ctx.stores.timestamped(id);
        let rows = match &wanted {
            Wanted::Span(span) => store.range(span.from.as_deref(), span.to.as_deref(), direction),
            Wanted::Prefix(prefix) => store.prefix(prefix, direction),
        };
        let mut rows = match rows {
            Ok(rows) => rows,
            Err(error) => return Err(super::context::stop(at.halted, error)),
        };
        Ok(StoreRows::new(at.halted, move || {
            while let Some((key, value, put_at)) = rows.entry() {
                let takes = wanted.takes(key) && keeps(put_at);
                let row = takes.then(|| self.row(key, value)).transpose()?;
                let headers = rows.headers()?;
                rows.advance()?;
                if let Some(row) = row {
                    return Ok(Some((row, headers)));
                }
            }
            Ok(None)
        }))
    }
}
