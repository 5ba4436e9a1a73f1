//! When the rows of a store with a time to live expire: an index by time beside it.
//!
//! ```text
//! store  NAME         key -> value, with the time it was put
//! store  NAME-expiry  due (8, sign flipped) | key -> nothing
//! ```
//!
//! A row is in the index once, at a time no later than its end: a row that is put again keeps its entry, and when that
//! comes due, it moves to where the row's end then is. So a put costs no more than a look for the row it replaces.

use std::{any::Any, sync::Arc, time::Duration};

use tidemill_data::{BoxError, StoreName, Timestamp};
use tidemill_store::StoreKind;

use super::{
    DueStore, ProcessorContext,
    bound::{Bound, Place, kept},
    due::{BY_TIME, Due, due_entries, time_bytes},
};
use crate::{App, Clock, failure::Halt, graph::StoreIndex};

/// The expiry of one store's rows.
pub(crate) struct Expiry {
    rows: Arc<Place>,
    pub(super) index: Bound<Vec<u8>, Vec<u8>>,
    ttl: Duration,
    clock: Clock,
}

impl Expiry {
    pub(super) fn declare(app: &App, rows: &Arc<Place>, ttl: Duration, clock: Clock) -> Self {
        let name = StoreName::named(format!("{}-expiry", rows.name));
        Self {
            rows: Arc::clone(rows),
            index: Bound::declare(app, &name, StoreKind::KeyValue),
            ttl,
            clock,
        }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn is_live(&self, put_at: Timestamp, now: Timestamp) -> bool {
        put_at.saturating_add(self.ttl) > now
    }

    /// Notes that a row is about to be put.
    pub(super) fn touch(&self, at: &mut ProcessorContext<'_>, key: &[u8]) -> Result<(), BoxError> {
        let id = at.store(&self.rows)?;
        let known = at.ctx.stores.timestamped(id).get(key).map(|row| row.is_some());
        if kept(at, known.map_err(Halt::from))? {
            return Ok(());
        }
        let due = at.now(self.clock).saturating_add(self.ttl);
        self.enter(at, due, key)?;
        at.ctx
            .schedules
            .due_in(at.node, self.clock, self.index.place.index, due);
        Ok(())
    }

    fn enter(&self, at: &mut ProcessorContext<'_>, due: Timestamp, key: &[u8]) -> Result<(), BoxError> {
        let id = at.store(&self.index.place)?;
        let entry = [&time_bytes(due), key].concat();
        at.ctx.stores.key_value(id).put(&entry, &[], due);
        Ok(())
    }
}

impl DueStore for Expiry {
    fn index(&self) -> StoreIndex {
        self.index.place.index
    }

    fn clock(&self) -> Clock {
        self.clock
    }

    fn timers(&self) -> Option<&(dyn Any + Send + Sync)> {
        None
    }

    fn expire(&self, at: &mut ProcessorContext<'_>, now: Timestamp) -> Result<Option<Timestamp>, BoxError> {
        let (index, rows) = (at.store(&self.index.place)?, at.store(&self.rows)?);
        let entries = at.ctx.stores.key_value(index).all(BY_TIME);
        let entries = entries
            .map_err(Halt::from)
            .and_then(|all| due_entries(all, 0, now));
        let Due { entries, mut next } = kept(at, entries)?;
        for (time, key) in entries {
            let entry = [&time_bytes(time), key.as_slice()].concat();
            at.ctx.stores.key_value(index).delete(&entry, time);
            let row = at.ctx.stores.timestamped(rows).get(&key);
            let put_at = row.map(|row| row.map(|(_, put_at)| put_at));
            let Some(put_at) = kept(at, put_at.map_err(Halt::from))? else {
                continue;
            };
            if self.is_live(put_at, now) {
                let end = put_at.saturating_add(self.ttl);
                self.enter(at, end, &key)?;
                next = next.map_or(Some(end), |next| Some(next.min(end)));
            } else {
                at.ctx.stores.timestamped(rows).delete(&key, now);
            }
        }
        Ok(next)
    }
}
