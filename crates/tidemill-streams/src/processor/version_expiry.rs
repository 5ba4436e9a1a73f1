//! When the latest versions of a store with a time to live end: as those of a table do, see [`Ttl`].

use std::{any::Any, sync::Arc, time::Duration};

use tidemill_data::{BoxError, Headers, Timestamp};

use super::{
    DueStore, ProcessorContext,
    bound::{Place, kept},
};
use crate::{App, Clock, context::Context, expiring::Ttl, failure::Halt, graph::StoreIndex};

/// The expiry of one store's latest versions.
pub(crate) struct VersionExpiry {
    rows: Arc<Place>,
    ttl: Ttl,
}

impl VersionExpiry {
    pub(super) fn declare(app: &App, rows: &Arc<Place>, ttl: Duration, clock: Clock) -> Self {
        Self {
            rows: Arc::clone(rows),
            ttl: Ttl::declare(&mut app.builder.lock(), rows.index, (ttl, clock)),
        }
    }

    /// Since when, in event time, the latest version of a key has outlived its time.
    pub(super) fn over_since(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &[u8],
    ) -> Result<Option<Timestamp>, Halt> {
        self.ttl.over_since(at.ctx, key)
    }

    /// Ends the latest version of a key if its time is over, so that the one which is put next does not begin at its end.
    pub(super) fn end_if_over(&self, at: &mut ProcessorContext<'_>, key: &[u8]) -> Result<(), Halt> {
        match self.ttl.over_since(at.ctx, key)? {
            Some(since) => {
                self.ttl.removed(at.ctx, key)?;
                self.end(at.ctx, key, since)
            }
            None => Ok(()),
        }
    }

    /// Notes that a key got another latest version, or has none any more.
    pub(super) fn written(
        &self,
        at: &mut ProcessorContext<'_>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Halt> {
        match value {
            Some(_) => self.ttl.put(at.ctx, at.node, key),
            None => self.ttl.removed(at.ctx, key),
        }
    }

    fn end(&self, ctx: &mut Context, key: &[u8], since: Timestamp) -> Result<(), Halt> {
        let id = ctx.store_id(self.rows.index);
        let store = ctx.stores.versioned(id);
        let Some(from) = store.get(key)?.map(|version| version.valid_from) else {
            return Ok(());
        };
        // Before that there is no history: the deletion would be left out, and the version live for ever.
        let since = since.max(from).max(store.history_from());
        let _ = store.put_with_headers(key, None, since, &Headers::new())?;
        Ok(())
    }
}

impl DueStore for VersionExpiry {
    fn index(&self) -> StoreIndex {
        self.ttl.index
    }

    fn clock(&self) -> Clock {
        self.ttl.clock()
    }

    fn timers(&self) -> Option<&(dyn Any + Send + Sync)> {
        None
    }

    fn expire(&self, at: &mut ProcessorContext<'_>, now: Timestamp) -> Result<Option<Timestamp>, BoxError> {
        let due = self.ttl.take_due(at.ctx, now);
        let due = kept(at, due)?;
        for (end, key) in due.entries {
            let since = self.ttl.event_time(at.ctx, end);
            let ended = self.end(at.ctx, &key, since);
            kept(at, ended)?;
        }
        Ok(due.next)
    }
}
