//! The side of the table whose rows refer: it subscribes, and makes results of the answers.

use std::sync::Arc;

use tidemill_data::{BoxError, Headers, Place, Presence, Wire};

use crate::{
    Change, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::{Halt, Step, guard},
    graph::NodeId,
    operators::sink::Writer,
    record::with_headers_of,
    table::Getter,
};

use super::{
    Extract, Kind,
    messages::{Hash, Instruction, Response, Subscription},
    murmur3,
};

type Registration<K, L> = Writer<Option<L>, Subscription<K>, fn(&Option<L>, &Subscription<K>) -> i32>;

/// Sends subscriptions for the changes of rows.
pub(super) struct Subscribe<K, V, L> {
    pub(super) node: NodeId,
    pub(super) kind: Kind,
    pub(super) extract: Extract<K, V, L>,
    pub(super) value: Wire<V>,
    pub(super) value_topic: String,
    pub(super) foreign_key: Wire<L>,
    pub(super) foreign_key_topic: String,
    pub(super) out: Registration<K, L>,
}

/// A foreign key and its bytes.
struct Reference<L> {
    key: L,
    bytes: Vec<u8>,
}

impl<K: Clone + 'static, V: 'static, L: 'static> Edge<K, Change<V>> for Subscribe<K, V, L> {
    fn send(&self, ctx: &mut Context, record: Record<K, Change<V>>) -> Flow {
        let change = &record.value;
        if !change.latest {
            ctx.drop_record();
            return Ok(());
        }
        let Some(old) = self.reference(ctx, &record.key, change.old.as_ref())? else {
            return Ok(());
        };
        let Some(new) = self.reference(ctx, &record.key, change.new.as_ref())? else {
            return Ok(());
        };
        let hash = match &change.new {
            Some(value) => match hash_of(ctx, self.node, &self.value, &self.value_topic, value)? {
                Some(hash) => Some(hash),
                None => return Ok(()),
            },
            None => None,
        };
        let changed = match (&old, &new) {
            (Some(old), Some(new)) => old.bytes != new.bytes,
            (old, _) => old.is_some(),
        };
        let (had_row, has_row) = (change.old.is_some(), change.new.is_some());
        let sender = Sender {
            subscribe: self,
            record: &record,
            hash,
        };
        match self.kind {
            Kind::Left if had_row || has_row => {
                if let Some(old) = old.filter(|_| changed) {
                    sender.send(ctx, Some(old.key), Instruction::Forget)?;
                }
                sender.send(ctx, new.map(|new| new.key), Instruction::Answer)
            }
            Kind::Left => Ok(()),
            Kind::Inner => match (old, new) {
                (None, None) if had_row || has_row => {
                    ctx.drop_record();
                    Ok(())
                }
                (None, None) => Ok(()),
                (Some(old), None) => sender.send(ctx, Some(old.key), Instruction::ForgetAndTell),
                (Some(old), Some(new)) if changed => {
                    sender.send(ctx, Some(old.key), Instruction::Forget)?;
                    // What the old row gave has to go, even if the new one gives nothing.
                    sender.send(ctx, Some(new.key), Instruction::Answer)
                }
                (_, Some(new)) => sender.send(ctx, Some(new.key), Instruction::AnswerIfThere),
            },
        }
    }
}

impl<K: 'static, V: 'static, L: 'static> Subscribe<K, V, L> {
    /// What a row refers to, if it is there and refers to anything; the outer `None` says that the policy dealt with a
    /// failure.
    fn reference(
        &self,
        ctx: &mut Context,
        key: &K,
        value: Option<&V>,
    ) -> Result<Option<Option<Reference<L>>>, Halt> {
        let Some(value) = value else {
            return Ok(Some(None));
        };
        let Some(found) = ctx.call(self.node, || (self.extract)(key, value))? else {
            return Ok(None);
        };
        let Some(found) = found else {
            return Ok(Some(None));
        };
        let none = Headers::new();
        let mut bytes = Vec::new();
        let place = Place::key(&self.foreign_key_topic, &none);
        let encoded = guard(|| self.foreign_key.encode(place, &found, &mut bytes));
        match encoded.and_then(|encoded| encoded.map_err(BoxError::from)) {
            Ok(Presence::Value) => Ok(Some(Some(Reference { key: found, bytes }))),
            Ok(Presence::Null) => Ok(Some(None)),
            Err(error) => ctx.failed(self.node, Step::Encode, error).map(|()| None),
        }
    }
}

struct Sender<'a, K, V, L> {
    subscribe: &'a Subscribe<K, V, L>,
    record: &'a Record<K, Change<V>>,
    hash: Option<Hash>,
}

impl<K: Clone + 'static, V: 'static, L: 'static> Sender<'_, K, V, L> {
    fn send(&self, ctx: &mut Context, to: Option<L>, instruction: Instruction) -> Flow {
        let subscription = Subscription {
            hash: self.hash,
            instruction,
            key: self.record.key.clone(),
            partition: Some(ctx.partition),
        };
        let record = Record {
            key: to,
            value: subscription,
            timestamp: self.record.timestamp,
            headers: self.record.headers.clone(),
        };
        self.subscribe.out.send(ctx, record)
    }
}

/// The hash of a value's bytes; `None` says that the policy dealt with a failure.
fn hash_of<V: 'static>(
    ctx: &mut Context,
    node: NodeId,
    wire: &Wire<V>,
    topic: &str,
    value: &V,
) -> Result<Option<Hash>, Halt> {
    let none = Headers::new();
    let mut bytes = std::mem::take(&mut ctx.value);
    bytes.clear();
    let encoded = guard(|| wire.encode(Place::value(topic, &none), value, &mut bytes));
    let hash = match encoded.and_then(|encoded| encoded.map_err(BoxError::from)) {
        Ok(_) => Ok(Some(murmur3::hash(&bytes))),
        Err(error) => ctx.failed(node, Step::Encode, error).map(|()| None),
    };
    ctx.value = bytes;
    hash
}

/// Makes results of answers.
pub(super) struct Resolve<K, V, W, F> {
    pub(super) node: NodeId,
    pub(super) kind: Kind,
    pub(super) rows: Arc<dyn Getter<K, V>>,
    pub(super) value: Wire<V>,
    pub(super) topic: String,
    pub(super) join: F,
    pub(super) out: Arc<Outlet<K, Option<W>>>,
}

impl<K: 'static, V: 'static, T: 'static, W: 'static, F> Edge<K, Response<T>> for Resolve<K, V, W, F>
where
    F: Fn(&K, V, Option<T>) -> Result<Option<W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, Response<T>>) -> Flow {
        let row = self.rows.get(ctx, self.node, &record.key)?;
        let headers_met = row.as_ref().map(|row| row.headers.clone()).unwrap_or_default();
        let row = row.map(|row| row.value);
        let hash = match &row {
            Some(row) => match hash_of(ctx, self.node, &self.value, &self.topic, row)? {
                Some(hash) => Some(hash),
                None => return Ok(()),
            },
            None => None,
        };
        let Record {
            key,
            value: response,
            timestamp,
            headers,
        } = record;
        // The row has changed since it asked: the answer to the newer question is on its way.
        if hash != response.hash {
            return Ok(());
        }
        let value = match row {
            Some(row) if response.value.is_some() || self.kind == Kind::Left => {
                let joined = ctx.try_call(self.node, || (self.join)(&key, row, response.value))?;
                match joined {
                    Some(value) => value,
                    None => return Ok(()),
                }
            }
            _ => None,
        };
        let record = Record {
            key,
            value,
            timestamp,
            headers: with_headers_of(headers, &headers_met),
        };
        self.out.send(ctx, record)
    }
}
