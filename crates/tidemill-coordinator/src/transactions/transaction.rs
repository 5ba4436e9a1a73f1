//! One transactional id: what the log says of it, what is on its way there, and the dispatch of events.

use super::TransactionSettings;
use super::action::{TransactionAction, TransactionNote, TransactionReply};
use super::error::TransactionError;
use super::event::{ClientProtocol, Outcome, TransactionEvent, TransactionPartition};
use super::record::{self, TransactionMetadata, TransactionPhase};
use crate::error::WriteFailure;
use crate::id::{AppendNumber, Producer, ProducerId, ReplyTo, Timestamp, TransactionalId};
use crate::record::Record;

/// The last epoch a client is given: the one after it stays free for fencing and for the last markers.
pub(crate) const LAST_EPOCH: i16 = i16::MAX - 1;
/// How soon something that failed is tried again.
const RETRY_MS: i32 = 1_000;

/// What an event meets besides the transaction itself.
pub(crate) struct Circumstances<'a> {
    pub(crate) now: Timestamp,
    pub(crate) settings: &'a TransactionSettings,
    pub(crate) spare: &'a mut Option<ProducerId>,
    pub(crate) out: &'a mut Vec<TransactionAction>,
}

impl Circumstances<'_> {
    pub(crate) fn reply(&mut self, to: ReplyTo, reply: TransactionReply) {
        self.out.push(TransactionAction::Reply { to, reply });
    }

    pub(crate) fn fresh_id(&mut self) -> Result<ProducerId, TransactionError> {
        self.spare.take().ok_or(TransactionError::CoordinatorNotAvailable)
    }
}

/// One transactional id.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    id: TransactionalId,
    // What the log says.
    written: TransactionMetadata,
    // At most one append is on its way: whoever wants another change meanwhile is told to try again.
    in_flight: Option<InFlight>,
    // The partitions whose markers are missing; only in a Prepare phase.
    unmarked: Vec<TransactionPartition>,
    retry_at: Option<Timestamp>,
    appends: u64,
}

#[derive(Clone, Debug)]
struct InFlight {
    number: AppendNumber,
    next: TransactionMetadata,
    then: Then,
}

/// What follows when an append is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    Begin { to: ReplyTo },
    Added { to: ReplyTo },
    Prepared { answer: Option<Answer> },
    Completed,
    Forgotten,
}

/// Who is answered when a transaction's end is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// `EndTxn`.
    Ended(ReplyTo),
    /// `InitProducerId` of a new instance, which comes again when the old one's transaction is aborted.
    TryAgain(ReplyTo),
}

impl Transaction {
    /// An id nobody has used.
    pub(crate) fn new(id: TransactionalId) -> Self {
        let nobody = TransactionMetadata {
            producer: Producer::new(-1, -1),
            previous_id: None,
            next_id: None,
            last_epoch: None,
            timeout_ms: 0,
            phase: TransactionPhase::Empty,
            partitions: Default::default(),
            updated_at: Timestamp(-1),
            started_at: None,
            protocol: ClientProtocol::Classic,
        };
        Self::restored(id, nobody)
    }

    /// An id as the log remembers it.
    pub(crate) fn restored(id: TransactionalId, written: TransactionMetadata) -> Self {
        Self {
            id,
            written,
            in_flight: None,
            unmarked: Vec::new(),
            retry_at: None,
            appends: 0,
        }
    }

    pub(crate) fn metadata(&self) -> &TransactionMetadata {
        &self.written
    }

    /// Whether a producer ever began under this id.
    pub(crate) fn is_known(&self) -> bool {
        self.written.producer.id.0 >= 0
    }

    /// Whether nothing would be lost by forgetting it.
    pub(crate) fn is_over(&self) -> bool {
        !self.is_known() && self.in_flight.is_none()
    }

    pub(crate) fn is_changing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// When the next `Tick` is due.
    pub(crate) fn next_deadline(&self, settings: &TransactionSettings) -> Option<Timestamp> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.retry_at.is_some() {
            return self.retry_at;
        }
        match self.written.phase {
            TransactionPhase::Ongoing => self.times_out_at(),
            TransactionPhase::PrepareCommit | TransactionPhase::PrepareAbort => None,
            _ => Some(self.written.updated_at.after(settings.id_expiration_ms)),
        }
    }

    fn times_out_at(&self) -> Option<Timestamp> {
        Some(self.written.started_at?.after(self.written.timeout_ms))
    }

    pub(crate) fn handle(&mut self, event: TransactionEvent, at: &mut Circumstances<'_>) {
        match event {
            TransactionEvent::Init { request, to } => self.init(request, to, at),
            TransactionEvent::Add {
                producer,
                partitions,
                protocol,
                to,
            } => self.add(producer, partitions, protocol, to, at),
            TransactionEvent::Verify {
                producer,
                partition,
                to,
            } => at.reply(to, TransactionReply::Verify(self.verify(producer, &partition))),
            TransactionEvent::End {
                producer,
                outcome,
                protocol,
                to,
            } => self.end(producer, outcome, protocol, to, at),
            TransactionEvent::Written(number) => self.on_written(number, at),
            TransactionEvent::WriteFailed(number, failure) => self.on_write_failed(number, failure, at),
            TransactionEvent::Marked { producer, partitions } => self.marked(producer, &partitions, at),
            TransactionEvent::Tick => self.tick(at),
        }
    }

    /// Takes up, after a restart, what was decided and not finished.
    pub(crate) fn resume(&mut self, out: &mut Vec<TransactionAction>) {
        if let Some(outcome) = self.written.phase.decided() {
            self.unmarked = self.written.partitions.iter().cloned().collect();
            self.write_markers(outcome, out);
        }
    }

    pub(crate) fn note(&self, note: TransactionNote, out: &mut Vec<TransactionAction>) {
        let id = self.id.clone();
        out.push(TransactionAction::Note { id, note });
    }

    /// Asks for `next` to be written; it is in force once it is.
    pub(crate) fn append(&mut self, next: TransactionMetadata, then: Then, out: &mut Vec<TransactionAction>) {
        let value = (!matches!(then, Then::Forgotten)).then(|| next.encode());
        let number = AppendNumber(self.appends);
        self.appends += 1;
        self.in_flight = Some(InFlight { number, next, then });
        out.push(TransactionAction::Append {
            id: self.id.clone(),
            number,
            record: Record {
                key: record::encode_key(&self.id),
                value,
            },
        });
    }

    fn on_written(&mut self, number: AppendNumber, at: &mut Circumstances<'_>) {
        let Some(InFlight { next, then, .. }) = self.in_flight.take_if(|flight| flight.number == number)
        else {
            return;
        };
        self.written = next;
        self.retry_at = None;
        match then {
            Then::Begin { to } => {
                let producer = self.written.producer;
                self.note(TransactionNote::Began { producer }, at.out);
                at.reply(to, TransactionReply::Init(Ok(producer)));
            }
            Then::Added { to } => at.reply(to, TransactionReply::Add(Ok(()))),
            Then::Prepared { answer } => self.decided(answer, at),
            Then::Completed => {}
            Then::Forgotten => {
                self.note(TransactionNote::Expired, at.out);
                *self = Self::new(self.id.clone());
            }
        }
    }

    /// The decision is in the log, so it stands: tell the partitions, then answer. Kafka answers first; in this order
    /// whoever reads after its commit was answered finds what it committed, unless a marker could not be written.
    fn decided(&mut self, answer: Option<Answer>, at: &mut Circumstances<'_>) {
        self.unmarked = self.written.partitions.iter().cloned().collect();
        let ended = self.next_producer();
        if self.unmarked.is_empty() {
            self.complete(at);
        } else if let Some(outcome) = self.written.phase.decided() {
            self.write_markers(outcome, at.out);
        }
        match answer {
            Some(Answer::Ended(to)) => at.reply(to, TransactionReply::End(Ok(ended))),
            Some(Answer::TryAgain(to)) => at.reply(
                to,
                TransactionReply::Init(Err(TransactionError::ConcurrentTransactions)),
            ),
            None => {}
        }
    }

    /// Who writes after the transaction that is being finished.
    pub(crate) fn next_producer(&self) -> Producer {
        match self.written.next_id {
            Some(id) => Producer { id, epoch: 0 },
            None => self.written.producer,
        }
    }

    fn write_markers(&self, outcome: Outcome, out: &mut Vec<TransactionAction>) {
        out.push(TransactionAction::WriteMarkers {
            id: self.id.clone(),
            producer: self.written.producer,
            outcome,
            partitions: self.unmarked.clone(),
        });
    }

    fn marked(
        &mut self,
        producer: Producer,
        partitions: &[TransactionPartition],
        at: &mut Circumstances<'_>,
    ) {
        if self.written.phase.decided().is_none() || self.written.producer != producer {
            return;
        }
        self.unmarked.retain(|partition| !partitions.contains(partition));
        if self.unmarked.is_empty() {
            self.complete(at);
        } else {
            self.retry_at = Some(at.now.after(RETRY_MS));
            let partitions = self.unmarked.len();
            self.note(TransactionNote::MarkersMissing { partitions }, at.out);
        }
    }

    fn on_write_failed(&mut self, number: AppendNumber, failure: WriteFailure, at: &mut Circumstances<'_>) {
        let Some(InFlight { then, .. }) = self.in_flight.take_if(|flight| flight.number == number) else {
            return;
        };
        let error = TransactionError::from(failure);
        let what = match then {
            Then::Begin { to } => {
                at.reply(to, TransactionReply::Init(Err(error)));
                "a producer's begin"
            }
            Then::Added { to } => {
                at.reply(to, TransactionReply::Add(Err(error)));
                "partitions of a transaction"
            }
            Then::Prepared { answer } => {
                match answer {
                    Some(Answer::Ended(to)) => at.reply(to, TransactionReply::End(Err(error))),
                    Some(Answer::TryAgain(to)) => at.reply(to, TransactionReply::Init(Err(error))),
                    None => {}
                }
                self.retry_at = Some(at.now.after(RETRY_MS));
                "a transaction's end"
            }
            Then::Completed => {
                self.retry_at = Some(at.now.after(RETRY_MS));
                "a transaction's last record"
            }
            Then::Forgotten => {
                self.retry_at = Some(at.now.after(RETRY_MS));
                "an expiry"
            }
        };
        self.note(TransactionNote::WriteFailed { what }, at.out);
    }

    fn tick(&mut self, at: &mut Circumstances<'_>) {
        let due = self
            .next_deadline(at.settings)
            .is_some_and(|deadline| deadline <= at.now);
        if !due {
            return;
        }
        self.retry_at = None;
        match self.written.phase.decided() {
            Some(_) if self.unmarked.is_empty() => self.complete(at),
            Some(outcome) => self.write_markers(outcome, at.out),
            None if self.written.phase == TransactionPhase::Ongoing => {
                if self.times_out_at().is_some_and(|deadline| deadline <= at.now) {
                    self.abort_from_here("it took longer than transaction.timeout.ms", None, at);
                }
            }
            None => {
                let next = self.written.clone();
                if next.updated_at.after(at.settings.id_expiration_ms) <= at.now {
                    self.append(next, Then::Forgotten, at.out);
                }
            }
        }
    }
}

impl TransactionPhase {
    /// How a transaction that is being finished ends.
    pub(crate) fn decided(self) -> Option<Outcome> {
        match self {
            Self::PrepareCommit => Some(Outcome::Commit),
            Self::PrepareAbort => Some(Outcome::Abort),
            _ => None,
        }
    }
}
