//! Queries of tables: by key, range, prefix, and as of a time.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use tidemill_data::{Headers, Place, Presence, Stamped, Timestamp};
use tidemill_store::StoreKind;
use tidemill_streams::{Direction, Row, RowRange};

use super::{Answer, Form, StoreQuery, unreadable};
use crate::error::QueryError;

pub(super) fn is_table(kind: StoreKind) -> bool {
    matches!(
        kind,
        StoreKind::KeyValue | StoreKind::Timestamped | StoreKind::Versioned { .. }
    )
}

pub(super) fn is_versioned(kind: StoreKind) -> bool {
    matches!(kind, StoreKind::Versioned { .. })
}

impl<K: Send + Sync + 'static, V: Send + 'static, F: Form> StoreQuery<K, V, F> {
    /// The row of a key, if this instance has one.
    pub async fn get(&self, key: &K) -> Result<F::Of<Option<V>>, QueryError>
    where
        K: Clone,
    {
        let row = self.stamped(key).await?;
        Ok(F::of(row.map(|row| row.map(|row| row.value))))
    }

    /// The row of a key with the time since when it is so.
    pub async fn get_stamped(&self, key: &K) -> Result<F::Of<Option<Stamped<V>>>, QueryError>
    where
        K: Clone,
    {
        Ok(F::of(self.stamped(key).await?))
    }

    async fn stamped(&self, key: &K) -> Result<Answer<Option<Stamped<V>>>, QueryError>
    where
        K: Clone,
    {
        self.refuse_unless(is_table)?;
        let (name, key) = (self.name.clone(), key.clone());
        let rows = self.ask(move |reader, found| {
            found.extend(reader.row(&name, &key)?);
            Ok(!found.is_empty())
        });
        Ok(rows.await?.map(|mut rows| rows.pop()))
    }

    /// The row that a key had at a time, and since when, in a table that keeps versions.
    pub async fn get_as_of(&self, key: &K, at: Timestamp) -> Result<F::Of<Option<Stamped<V>>>, QueryError>
    where
        K: Clone,
    {
        self.refuse_unless(is_versioned)?;
        let (name, key) = (self.name.clone(), key.clone());
        let rows = self.ask(move |reader, found| {
            found.extend(reader.row_as_of(&name, &key, at)?);
            Ok(!found.is_empty())
        });
        Ok(F::of(rows.await?.map(|mut rows| rows.pop())))
    }

    /// The rows of a range of keys, in the order of their bytes.
    pub async fn range(&self, keys: impl RangeBounds<K>) -> Result<F::Of<Vec<(K, V)>>, QueryError> {
        Ok(F::of(self.in_order(self.key_range(&keys)?).await?.map(values)))
    }

    /// The rows whose keys' bytes begin with these.
    pub async fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<F::Of<Vec<(K, V)>>, QueryError> {
        let rows = self.in_order(RowRange::prefix(prefix.as_ref())).await?;
        Ok(F::of(rows.map(values)))
    }

    /// All rows this instance has, in the order of their keys' bytes.
    pub async fn all(&self) -> Result<F::Of<Vec<(K, V)>>, QueryError> {
        self.range(..).await
    }

    /// The rows of a range given in bytes, in either direction, with their times, and no more than it says.
    pub async fn rows(&self, range: RowRange) -> Result<F::Of<Vec<Row<K, V>>>, QueryError> {
        Ok(F::of(self.in_order(range).await?))
    }

    async fn in_order(&self, range: RowRange) -> Result<Answer<Vec<Row<K, V>>>, QueryError> {
        self.refuse_unless(is_table)?;
        let (direction, rows_max) = (range.direction, range.rows_max);
        let name = self.name.clone();
        let rows = self.ask(move |reader, found| {
            found.extend(reader.rows(&name, &range)?);
            Ok(false)
        });
        // Tasks have disjoint keys, each task's in order.
        let mut keyed = Vec::new();
        let Answer { found, position } = rows.await?;
        for (key, row) in found {
            keyed.push((self.encode(&key)?, key, row));
        }
        keyed.sort_by(|(a, ..), (b, ..)| match direction {
            Direction::Forward => a.cmp(b),
            Direction::Backward => b.cmp(a),
        });
        keyed.truncate(rows_max);
        let found = keyed.into_iter().map(|(_, key, row)| (key, row)).collect();
        Ok(Answer { found, position })
    }

    pub(super) fn key_range(&self, keys: &impl RangeBounds<K>) -> Result<RowRange, QueryError> {
        Ok(RowRange {
            from: self.bound(keys.start_bound())?,
            to: self.bound(keys.end_bound())?,
            ..RowRange::ALL
        })
    }

    fn bound(&self, bound: Bound<&K>) -> Result<Bound<Vec<u8>>, QueryError> {
        Ok(match bound {
            Bound::Included(key) => self.encode(key)?.map_or(Bound::Unbounded, Bound::Included),
            Bound::Excluded(key) => self.encode(key)?.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded => Bound::Unbounded,
        })
    }

    /// A key's bytes; `None` for a null.
    pub(super) fn encode(&self, key: &K) -> Result<Option<Vec<u8>>, QueryError> {
        let (mut bytes, headers, changelog) = (Vec::new(), Headers::default(), self.changelog());
        let encoded = self
            .name
            .key()
            .encode(Place::key(&changelog, &headers), key, &mut bytes);
        let presence = encoded.map_err(|error| unreadable(self.name.name(), error))?;
        Ok((presence == Presence::Value).then_some(bytes))
    }
}

pub(super) fn values<K, V>(rows: Vec<Row<K, V>>) -> Vec<(K, V)> {
    rows.into_iter().map(|(key, row)| (key, row.value)).collect()
}

impl<K, V, F> Clone for StoreQuery<K, V, F> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            view: self.view,
            bound: self.bound.clone(),
            only: self.only,
            form: self.form,
            shared: Arc::clone(&self.shared),
            refused: self.refused.clone(),
        }
    }
}
