//! Records that are given up, and why.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Accumulator, Doom};
use crate::TopicPartition;
use crate::native::cluster::View;
use crate::native::producer::batch::Pending;

/// How long a topic may be missing before records for it are lost: it may have been created only now.
const TOPIC_MISSING_MAX: Duration = Duration::from_secs(30);

/// Records that were not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::native::producer) struct Loss {
    pub(in crate::native::producer) partition: TopicPartition,
    pub(in crate::native::producer) records: usize,
    pub(in crate::native::producer) reason: String,
}

impl Accumulator {
    /// Records lost since the last look.
    pub(in crate::native::producer) fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }

    pub(super) fn lose(&mut self, at: usize, pending: Pending, reason: &str) {
        let Some(queue) = self.partitions.get(at) else {
            return;
        };
        self.bytes -= pending.bytes;
        self.losses.push(Loss {
            partition: queue.at.clone(),
            records: pending.record_count,
            reason: reason.to_owned(),
        });
        if let Some(transaction) = &mut self.transaction {
            transaction.has_gap |= pending.stamp.is_some();
            transaction.doom(Doom::Abortable(format!("{}: {reason}", queue.at)));
        } else if pending.stamp.is_some() {
            // What follows it has later sequence numbers, which the broker would refuse for ever.
            self.renew();
        }
    }

    pub(super) fn lose_expired(&mut self, view: &View, now: Instant) {
        let mut gone: HashMap<Arc<str>, String> = HashMap::new();
        for slot in &self.topics {
            let long_missing = view
                .missing_since(&slot.name)
                .is_some_and(|since| since + TOPIC_MISSING_MAX <= now);
            if let Some(code) = view.refusal(&slot.name) {
                gone.insert(slot.name.clone(), code.to_string());
            } else if long_missing {
                gone.insert(slot.name.clone(), "the topic does not exist".into());
            }
        }
        for at in 0..self.partitions.len() {
            while let Some(queue) = self.partitions.get_mut(at) {
                let expired = queue
                    .waiting
                    .front()
                    .is_some_and(|p| p.born + self.settings.delivery_timeout <= now);
                let reason = match gone.get(&queue.at.topic) {
                    Some(reason) => reason.clone(),
                    None if expired => format!(
                        "not written in {:?} (`delivery.timeout.ms`)",
                        self.settings.delivery_timeout
                    ),
                    None => break,
                };
                let Some(pending) = queue.waiting.pop_front() else {
                    break;
                };
                self.lose(at, pending, &reason);
            }
        }
    }

    pub(super) fn lose_all(&mut self, reason: &str) {
        for at in 0..self.partitions.len() {
            while let Some(pending) = self
                .partitions
                .get_mut(at)
                .and_then(|queue| queue.waiting.pop_front())
            {
                self.lose(at, pending, reason);
            }
        }
    }
}
