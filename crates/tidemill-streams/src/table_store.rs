//! A typed view of a timestamped or versioned store: the rows of a table.

use tidemill_data::{Headers, Stamped, Timestamp, Wire};
use tidemill_store::{StoreKind, VersionPut};

use crate::{
    Change, Record,
    context::Context,
    expiring::Ttl,
    failure::Halt,
    graph::{Graph, NodeId, StoreIndex},
    row_format::{EncodedValue, RowFormat},
    table::{Getter, LookedUp},
};

/// What became of a row that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is there.
    Row(Standing),
    /// It went: the value is, or encodes to, null.
    Removed(Standing),
    /// Nothing was written: the value could not be encoded, which the policy dealt with, or it is older than the
    /// store's history goes back.
    Nothing,
}

/// Whether what was written is what the key has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is.
    Latest,
    /// It is a version of the past: a later one stays.
    Superseded,
}

impl Written {
    /// The change that goes downstream, if anything was written.
    pub(crate) fn change<V>(self, new: Option<V>, old: Option<V>) -> Option<Change<V>> {
        let (new, standing) = match self {
            Self::Row(standing) => (new, standing),
            Self::Removed(standing) => (None, standing),
            Self::Nothing => return None,
        };
        let latest = standing == Standing::Latest;
        Some(Change { new, old, latest })
    }
}

/// The rows of a table in their store.
pub(crate) struct TableStore<K, V> {
    pub(crate) index: StoreIndex,
    pub(crate) format: RowFormat<K, V>,
    versioned: bool,
    /// When its rows go by themselves, if they do.
    pub(crate) ttl: Option<Ttl>,
}

impl<K, V> Clone for TableStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            index: self.index,
            format: self.format.clone(),
            versioned: self.versioned,
            ttl: self.ttl,
        }
    }
}

impl<K: 'static, V: 'static> TableStore<K, V> {
    pub(crate) fn new(graph: &Graph, index: StoreIndex, key: Wire<K>, value: Wire<V>) -> Self {
        let kind = graph.stores.get(index.0).map(|decl| decl.spec.kind);
        Self {
            index,
            format: RowFormat::new(graph, index, key, value),
            versioned: matches!(kind, Some(StoreKind::Versioned { .. })),
            ttl: None,
        }
    }

    pub(crate) fn expiring(self, ttl: Option<Ttl>) -> Self {
        Self { ttl, ..self }
    }

    /// The key's bytes in the task's buffer, to be given back; `None` for a record that is dropped for its key.
    pub(crate) fn key_bytes<W>(
        &self,
        ctx: &mut Context,
        node: NodeId,
        record: &Record<K, W>,
    ) -> Result<Option<Vec<u8>>, Halt> {
        self.format.key_bytes(ctx, node, record)
    }

    /// Whether the store keeps versions of rows.
    pub(crate) fn versioned(&self) -> bool {
        self.versioned
    }

    pub(crate) fn get(&self, ctx: &mut Context, key: &[u8]) -> Result<Option<Stamped<V>>, Halt> {
        let id = ctx.store_id(self.index);
        let row = if self.versioned {
            let version = ctx.stores.versioned(id).get(key)?;
            version.map(|version| (version.value, version.valid_from))
        } else {
            ctx.stores.timestamped(id).get(key)?
        };
        let Some((value, timestamp)) = row else {
            return Ok(None);
        };
        let value = self.format.decode(value)?;
        Ok(Some(Stamped::new(value, timestamp)))
    }

    /// The row as it was at a time, in a store that keeps versions; else as it is.
    fn get_at(&self, ctx: &mut Context, key: &[u8], at: Timestamp) -> Result<Option<Stamped<V>>, Halt> {
        if !self.versioned {
            return self.get(ctx, key);
        }
        let id = ctx.store_id(self.index);
        let Some(version) = ctx.stores.versioned(id).get_as_of(key, at)? else {
            return Ok(None);
        };
        let value = self.format.decode(version.value)?;
        Ok(Some(Stamped::new(value, version.valid_from)))
    }

    /// The headers of a row as it is, or as it was at a time, where the app preserves them.
    fn headers(&self, ctx: &mut Context, key: &[u8], at: Option<Timestamp>) -> Result<Headers, Halt> {
        if !ctx.preserves_headers() {
            return Ok(Headers::new());
        }
        let id = ctx.store_id(self.index);
        Ok(match at {
            Some(at) if self.versioned => ctx.stores.versioned(id).headers_as_of(key, at)?,
            None if self.versioned => ctx.stores.versioned(id).headers(key)?,
            _ => ctx.stores.timestamped(id).headers(key)?,
        })
    }

    /// Writes a row, or removes it when the value is or encodes to null.
    pub(crate) fn put(
        &self,
        ctx: &mut Context,
        node: NodeId,
        key: &[u8],
        value: Option<&V>,
        (timestamp, headers): (Timestamp, &Headers),
    ) -> Result<Written, Halt> {
        let written = match self.format.encode_value(ctx, node, value)? {
            EncodedValue::Row(bytes) => {
                let written = self.put_bytes(ctx, key, Some(&bytes), (timestamp, headers));
                ctx.value = bytes;
                written?
            }
            EncodedValue::Null => self.put_bytes(ctx, key, None, (timestamp, headers))?,
            EncodedValue::Failed => Written::Nothing,
        };
        match (self.ttl, written) {
            (Some(ttl), Written::Row(Standing::Latest)) => ttl.put(ctx, node, key)?,
            (Some(ttl), Written::Removed(Standing::Latest)) => ttl.removed(ctx, key)?,
            _ => {}
        }
        Ok(written)
    }

    /// Whether a row, if it is there, had outlived its time at `at`; without versions, at any time.
    fn is_over(&self, ctx: &mut Context, key: &[u8], at: Timestamp) -> Result<bool, Halt> {
        let Some(ttl) = self.ttl else { return Ok(false) };
        let since = ttl.over_since(ctx, key)?;
        Ok(since.is_some_and(|since| !self.versioned || since <= at))
    }

    /// As [`put`](Self::put), whatever the row's time to live is.
    pub(crate) fn put_bytes(
        &self,
        ctx: &mut Context,
        key: &[u8],
        value: Option<&[u8]>,
        (timestamp, headers): (Timestamp, &Headers),
    ) -> Result<Written, Halt> {
        let headers = ctx.stored(headers);
        let id = ctx.store_id(self.index);
        let mut standing = Standing::Latest;
        if self.versioned {
            standing = match ctx
                .stores
                .versioned(id)
                .put_with_headers(key, value, timestamp, headers)?
            {
                VersionPut::Latest => Standing::Latest,
                VersionPut::Superseded { .. } => Standing::Superseded,
                VersionPut::Expired => {
                    ctx.drop_record();
                    return Ok(Written::Nothing);
                }
            };
        } else if let Some(value) = value {
            ctx.stores
                .timestamped(id)
                .put_with_headers(key, value, timestamp, headers);
        } else {
            ctx.stores.timestamped(id).delete(key, timestamp);
        }
        Ok(match value {
            Some(_) => Written::Row(standing),
            None => Written::Removed(standing),
        })
    }
}

impl<K: 'static, V: 'static> Getter<K, V> for TableStore<K, V> {
    fn get(&self, ctx: &mut Context, node: NodeId, key: &K) -> Result<Option<LookedUp<V>>, Halt> {
        let Some(bytes) = self.format.encode_key(ctx, node, key, &Headers::new())? else {
            return Ok(None);
        };
        let row = match self.is_over(ctx, &bytes, Timestamp::MAX) {
            Ok(true) => Ok(None),
            Ok(false) => Self::get(self, ctx, &bytes),
            Err(halt) => Err(halt),
        };
        let headers = self.headers(ctx, &bytes, None);
        ctx.key = bytes;
        row?.map(|row| Ok(LookedUp::new(row, headers?))).transpose()
    }

    fn get_as_of(
        &self,
        ctx: &mut Context,
        node: NodeId,
        key: &K,
        at: Timestamp,
    ) -> Result<Option<LookedUp<V>>, Halt> {
        let Some(bytes) = self.format.encode_key(ctx, node, key, &Headers::new())? else {
            return Ok(None);
        };
        let row = match self.is_over(ctx, &bytes, at) {
            Ok(true) => Ok(None),
            Ok(false) => self.get_at(ctx, &bytes, at),
            Err(halt) => Err(halt),
        };
        let headers = self.headers(ctx, &bytes, Some(at));
        ctx.key = bytes;
        row?.map(|row| Ok(LookedUp::new(row, headers?))).transpose()
    }
}
