//! What becomes of a batch that was under way: written, to be sent again, or lost.

use std::time::Instant;

use bytes::Bytes;
use tidemill_protocol::ErrorCode;

use super::{Accumulator, Doom};
use crate::native::cluster::Node;
use crate::native::producer::batch::{Body, Pending};

/// How a flight ended.
pub(in crate::native::producer) enum Outcome {
    Written,
    Refused(ErrorCode, Option<String>),
    /// Nobody knows whether it was written.
    NoAnswer(String),
}

/// A flight that ended, with the bytes that were sent.
pub(in crate::native::producer) struct Landing {
    pub(in crate::native::producer) partition: usize,
    pub(in crate::native::producer) number: u64,
    pub(in crate::native::producer) bytes: Bytes,
    pub(in crate::native::producer) outcome: Outcome,
}

impl Accumulator {
    /// A request to this broker was answered, or never will be.
    pub(in crate::native::producer) fn request_ended(&mut self, node: Node) {
        if let Some(count) = self.requests.get_mut(&node) {
            *count = count.saturating_sub(1);
        }
    }

    /// Takes notice of how a batch fared.
    pub(in crate::native::producer) fn land(&mut self, landing: Landing, now: Instant) {
        let Some(queue) = self.partitions.get_mut(landing.partition) else {
            return;
        };
        let Some(place) = queue.flying.iter().position(|p| p.number == landing.number) else {
            return;
        };
        let mut pending = queue.flying.remove(place);
        pending.body = Body::Built(landing.bytes);
        self.flying -= 1;
        match landing.outcome {
            Outcome::Written | Outcome::Refused(ErrorCode::None | ErrorCode::DuplicateSequenceNumber, _) => {
                queue.backoff.reset();
                queue.not_before = None;
                self.bytes -= pending.bytes;
            }
            Outcome::NoAnswer(_) => queue.retry(pending, now),
            Outcome::Refused(code, message) => self.refused(landing.partition, pending, code, message, now),
        }
    }

    fn refused(
        &mut self,
        at: usize,
        pending: Pending,
        code: ErrorCode,
        message: Option<String>,
        now: Instant,
    ) {
        let idempotent = self.settings.idempotent;
        let Some(queue) = self.partitions.get_mut(at) else {
            return;
        };
        match code {
            ErrorCode::OutOfOrderSequenceNumber if idempotent && queue.waits_for_earlier(&pending) => {
                queue.retry(pending, now);
            }
            ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::UnknownProducerId
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::InvalidProducerEpoch
                if idempotent && self.transaction.is_none() =>
            {
                tracing::warn!("{}: {code}; the producer goes on under another id", queue.at);
                queue.retry(pending, now);
                self.renew();
            }
            ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch if self.transaction.is_some() => {
                self.doom(Doom::Fenced(code.to_string()));
                self.lose(at, pending, &code.to_string());
            }
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => match pending.split() {
                Some([front, mut back]) => {
                    let (number, now) = (front.number, now);
                    back.attempts += 1;
                    queue.retry(back, now);
                    queue.retry(front, now);
                    queue.not_before = None;
                    tracing::debug!(
                        "{}: batch {number} was too large for the broker and is split",
                        queue.at
                    );
                }
                None => self.lose(at, pending, &code.to_string()),
            },
            code if code.is_retriable() => queue.retry(pending, now),
            code => {
                let reason = message.map_or_else(|| code.to_string(), |message| format!("{code}: {message}"));
                self.lose(at, pending, &reason);
            }
        }
    }
}
