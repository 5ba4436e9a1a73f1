//! The side of the table that is referred to: it keeps the subscriptions and answers them.
//!
//! ```text
//! key    0  i32 big-endian  length of the foreign key
//!        4  ..              foreign key
//!        .. ..              key of the row that refers
//! value  the subscription, as it came
//! ```

use std::sync::Arc;

use tidemill_data::{BoxError, Headers, Place, Presence, Timestamp, Wire};
use tidemill_store::Direction;

use crate::{
    Change, Record, TopicIndex,
    context::{Context, Sink},
    edge::{Edge, Flow},
    failure::{Halt, Step, TaskError, guard},
    graph::{NodeId, StoreIndex},
    outputs::{OutputTopic, PartitionChoice},
    record::with_headers_of,
    table::Getter,
};

use super::messages::{Instruction, Response, Subscription};

pub(super) struct Foreign<K, L, T> {
    pub(super) store: StoreIndex,
    pub(super) store_name: String,
    pub(super) primary_key: Wire<K>,
    pub(super) foreign_key: Wire<L>,
    // What the formats of the primary and the foreign key see as their topics.
    pub(super) topics: [String; 2],
    pub(super) subscriptions: Wire<Subscription<K>>,
    pub(super) rows: Arc<dyn Getter<L, T>>,
    pub(super) sink: NodeId,
    pub(super) response: TopicIndex,
    pub(super) response_topic: String,
    pub(super) response_value: Wire<Response<T>>,
}

/// Takes up subscriptions.
pub(super) struct Receive<K, L, T> {
    pub(super) node: NodeId,
    pub(super) foreign: Arc<Foreign<K, L, T>>,
}

impl<K: 'static, L: 'static, T: 'static> Edge<Option<L>, Subscription<K>> for Receive<K, L, T> {
    fn send(&self, ctx: &mut Context, record: Record<Option<L>, Subscription<K>>) -> Flow {
        let Record {
            key: foreign_key,
            value: subscription,
            timestamp,
            headers,
        } = record;
        let foreign = &self.foreign;
        let row = match &foreign_key {
            Some(foreign_key) => {
                if !foreign.remember(ctx, self.node, foreign_key, &subscription, timestamp)? {
                    return Ok(());
                }
                foreign.rows.get(ctx, self.node, foreign_key)?
            }
            // A row of a left join that refers to none has an answer all the same.
            None if subscription.instruction == Instruction::Answer => None,
            None => {
                ctx.drop_record();
                return Ok(());
            }
        };
        let (timestamp, headers) = match &row {
            Some(row) => (
                timestamp.max(row.timestamp),
                with_headers_of(headers, &row.headers),
            ),
            None => (timestamp, headers),
        };
        let value = match subscription.instruction {
            Instruction::Forget => return Ok(()),
            Instruction::ForgetAndTell => None,
            Instruction::Answer => row.map(|row| row.value),
            Instruction::AnswerIfThere => match row {
                Some(row) => Some(row.value),
                None => return Ok(()),
            },
        };
        let response = Response {
            hash: subscription.hash,
            value,
            partition: subscription.partition,
        };
        let record = Record {
            key: subscription.key,
            value: response,
            timestamp,
            headers,
        };
        foreign.respond(ctx, record)
    }
}

/// Tells all that refer to a row of its changes.
pub(super) struct Tell<K, L, T> {
    pub(super) node: NodeId,
    pub(super) foreign: Arc<Foreign<K, L, T>>,
}

impl<K: 'static, L: 'static, T: Clone + 'static> Edge<L, Change<T>> for Tell<K, L, T> {
    fn send(&self, ctx: &mut Context, record: Record<L, Change<T>>) -> Flow {
        if !record.value.latest {
            ctx.drop_record();
            return Ok(());
        }
        let foreign = &self.foreign;
        let Some(prefix) = foreign.prefix(ctx, self.node, &record.key)? else {
            ctx.drop_record();
            return Ok(());
        };
        for subscription in foreign.subscribers(ctx, &prefix)? {
            let response = Response {
                hash: subscription.hash,
                value: record.value.new.clone(),
                partition: subscription.partition,
            };
            let record = Record {
                key: subscription.key,
                value: response,
                timestamp: record.timestamp,
                headers: record.headers.clone(),
            };
            foreign.respond(ctx, record)?;
        }
        Ok(())
    }
}

impl<K: 'static, L: 'static, T: 'static> Foreign<K, L, T> {
    /// The start of all keys of subscriptions to a row; `None` for a null key, or when the policy dealt with a failure.
    fn prefix(&self, ctx: &mut Context, node: NodeId, key: &L) -> Result<Option<Vec<u8>>, Halt> {
        let none = Headers::new();
        let mut bytes = vec![0; 4];
        let [_, topic] = &self.topics;
        let encoded = guard(|| self.foreign_key.encode(Place::key(topic, &none), key, &mut bytes));
        match encoded.and_then(|encoded| encoded.map_err(BoxError::from)) {
            Ok(Presence::Value) => {}
            Ok(Presence::Null) => return Ok(None),
            Err(error) => return ctx.failed(node, Step::Encode, error).map(|()| None),
        }
        let Ok(length) = i32::try_from(bytes.len() - 4) else {
            return ctx
                .failed(node, Step::Encode, "a key of more than 2 GiB".into())
                .map(|()| None);
        };
        if let Some(place) = bytes.first_chunk_mut() {
            *place = length.to_be_bytes();
        }
        Ok(Some(bytes))
    }

    /// Keeps or forgets a subscription; `false` says that the policy dealt with a failure.
    fn remember(
        &self,
        ctx: &mut Context,
        node: NodeId,
        key: &L,
        subscription: &Subscription<K>,
        timestamp: Timestamp,
    ) -> Result<bool, Halt> {
        let Some(mut row_key) = self.prefix(ctx, node, key)? else {
            return Ok(false);
        };
        let none = Headers::new();
        let [topic, _] = &self.topics;
        let mut value = Vec::new();
        let encoded = guard(|| {
            let place = Place::key(topic, &none);
            let _ = self.primary_key.encode(place, &subscription.key, &mut row_key)?;
            let place = Place::value(&self.store_name, &none);
            self.subscriptions.encode(place, subscription, &mut value)
        });
        if let Err(error) = encoded.and_then(|encoded| encoded.map_err(BoxError::from)) {
            return ctx.failed(node, Step::Encode, error).map(|()| false);
        }
        let id = ctx.store_id(self.store);
        let store = ctx.stores.timestamped(id);
        match subscription.instruction {
            Instruction::Forget | Instruction::ForgetAndTell => store.delete(&row_key, timestamp),
            Instruction::Answer | Instruction::AnswerIfThere => store.put(&row_key, &value, timestamp),
        }
        Ok(true)
    }

    fn subscribers(&self, ctx: &mut Context, prefix: &[u8]) -> Result<Vec<Subscription<K>>, Halt> {
        let none = Headers::new();
        let mut found = Vec::new();
        let id = ctx.store_id(self.store);
        let mut rows = ctx.stores.timestamped(id).prefix(prefix, Direction::Forward)?;
        while let Some((_, value, _)) = rows.entry() {
            let place = Place::value(&self.store_name, &none);
            let decoded = guard(|| self.subscriptions.decode(place, Some(value)));
            let decoded = decoded.and_then(|decoded| decoded.map_err(BoxError::from));
            found.push(decoded.map_err(|error| TaskError::State {
                store: self.store_name.clone(),
                error,
            })?);
            rows.advance()?;
        }
        Ok(found)
    }

    fn respond(&self, ctx: &mut Context, record: Record<K, Response<T>>) -> Flow {
        let sink = Sink {
            node: self.sink,
            target: OutputTopic::Known(self.response),
            topic_name: &self.response_topic,
            partition: match record.value.partition {
                Some(partition) => PartitionChoice::Fixed(partition),
                None => PartitionChoice::ByKey,
            },
            key: &self.primary_key,
            value: &self.response_value,
        };
        ctx.emit(&sink, record)
    }
}
