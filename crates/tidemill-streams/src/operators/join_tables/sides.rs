//! The operators of a join of tables: each side, and where they meet.

use std::sync::Arc;

use tidemill_data::BoxError;

use super::{
    super::row_wise::write_through,
    joiner::{Joiner, Kind},
};
use crate::{
    Change, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::Halt,
    graph::NodeId,
    grouped::Wanted,
    record::with_headers_of,
    table::Getter,
    table_store::TableStore,
};

/// One side of a join: takes up the changes of one table and looks up rows of the other.
pub(super) struct Side<K, T, W, F> {
    pub(super) other: Arc<dyn Getter<K, T>>,
    pub(super) joiner: Arc<Joiner<F>>,
    pub(super) old: Wanted,
    pub(super) merge: Arc<Merge<K, W>>,
}

pub(super) struct ThisSide<K, T, W, F>(pub(super) Side<K, T, W, F>);

pub(super) struct OtherSide<K, T, W, F>(pub(super) Side<K, T, W, F>);

impl<K: 'static, V: 'static, T: Clone + 'static, W: 'static, F> Edge<K, Change<V>> for ThisSide<K, T, W, F>
where
    F: Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, Change<V>>) -> Flow {
        // A delete without a row on the other side takes nothing away, unless this side's row was a result by itself.
        let alone = self.0.joiner.kind != Kind::Inner;
        self.0.change(ctx, record, alone, |ctx, key, left, right| {
            self.0.joiner.row(ctx, self.0.merge.node, key, left, right)
        })
    }
}

impl<K: 'static, V: 'static, T: Clone + 'static, W: 'static, F> Edge<K, Change<T>> for OtherSide<K, V, W, F>
where
    V: Clone,
    F: Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, Change<T>>) -> Flow {
        let alone = self.0.joiner.kind == Kind::Outer;
        self.0.change(ctx, record, alone, |ctx, key, right, left| {
            self.0.joiner.row(ctx, self.0.merge.node, key, left, right)
        })
    }
}

impl<K: 'static, T: Clone + 'static, W: 'static, F> Side<K, T, W, F> {
    fn change<V>(
        &self,
        ctx: &mut Context,
        record: Record<K, Change<V>>,
        alone: bool,
        row: impl Fn(&mut Context, &K, Option<V>, Option<T>) -> Result<Option<Option<W>>, Halt>,
    ) -> Flow {
        let Record {
            key,
            value: change,
            timestamp,
            headers,
        } = record;
        // A version of the past changes no row of now.
        if !change.latest {
            ctx.drop_record();
            return Ok(());
        }
        let other = self.other.get(ctx, self.merge.node, &key)?;
        let silent = !alone || (change.new.is_none() && change.old.is_none());
        if other.is_none() && silent {
            return Ok(());
        }
        let timestamp = other
            .as_ref()
            .map_or(timestamp, |other| timestamp.max(other.timestamp));
        let headers = match &other {
            Some(other) => with_headers_of(headers, &other.headers),
            None => headers,
        };
        let other = other.map(|other| other.value);
        let old = if self.old.is_set() {
            row(ctx, &key, change.old, other.clone())?
        } else {
            Some(None)
        };
        let new = row(ctx, &key, change.new, other)?;
        let (Some(new), Some(old)) = (new, old) else {
            return Ok(());
        };
        let record = Record {
            key,
            value: Change::new(new, old),
            timestamp,
            headers,
        };
        write_through(
            ctx,
            self.merge.node,
            self.merge.store.as_ref(),
            &self.merge.out,
            record,
        )
    }
}

/// Where both sides meet.
pub(super) struct Merge<K, W> {
    pub(super) node: NodeId,
    pub(super) store: Option<TableStore<K, W>>,
    pub(super) out: Arc<Outlet<K, Change<W>>>,
}
