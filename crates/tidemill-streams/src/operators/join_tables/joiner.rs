//! Which rows a join of tables has, and the user's closure that makes them.

use tidemill_data::BoxError;

use crate::{context::Context, failure::Halt, graph::NodeId};

/// Which rows a join has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Inner,
    Left,
    Outer,
}

pub(super) fn inner<K, V, T, W>(
    join: impl Fn(&K, V, T) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
) -> impl Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static {
    move |key, left, right| match (left, right) {
        (Some(left), Some(right)) => join(key, left, right),
        _ => Ok(None),
    }
}

pub(super) fn left<K, V, T, W>(
    join: impl Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static,
) -> impl Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync + 'static {
    move |key, left, right| left.map_or(Ok(None), |left| join(key, left, right))
}

pub(super) struct Joiner<F> {
    pub(super) kind: Kind,
    pub(super) join: F,
}

impl<F> Joiner<F> {
    /// The row that two sides make, if the kind of join gives one; the outer `None` says that the policy dealt with a
    /// failure.
    pub(super) fn row<K, V, T, W>(
        &self,
        ctx: &mut Context,
        node: NodeId,
        key: &K,
        left: Option<V>,
        right: Option<T>,
    ) -> Result<Option<Option<W>>, Halt>
    where
        F: Fn(&K, Option<V>, Option<T>) -> Result<Option<W>, BoxError>,
    {
        let joins = match self.kind {
            Kind::Inner => left.is_some() && right.is_some(),
            Kind::Left => left.is_some(),
            Kind::Outer => left.is_some() || right.is_some(),
        };
        if !joins {
            return Ok(Some(None));
        }
        ctx.try_call(node, || (self.join)(key, left, right))
    }
}
