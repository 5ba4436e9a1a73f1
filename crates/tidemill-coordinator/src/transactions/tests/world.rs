//! A coordinator of one transactional id, its log, and partitions that do as they are told.

use std::collections::VecDeque;

use super::super::*;
use crate::error::WriteFailure;
use crate::id::{AppendNumber, Producer, ReplyTo, TopicName};
use crate::record::Record;

use ClientProtocol::EpochPerTransaction;
use Outcome::Commit;

pub(super) const ID: &str = "writer";

pub(super) struct World {
    pub(super) coordinator: TransactionCoordinator,
    pub(super) now: Timestamp,
    ids: i64,
    pub(super) log: Vec<Record>,
    pub(super) appends: VecDeque<(TransactionalId, AppendNumber, Record)>,
    pub(super) markers: VecDeque<(Producer, Outcome, Vec<TransactionPartition>)>,
    pub(super) replies: Vec<(ReplyTo, TransactionReply)>,
    asked: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            coordinator: TransactionCoordinator::new(TransactionSettings::server()),
            now: Timestamp(1_000),
            ids: 100,
            log: Vec::new(),
            appends: VecDeque::new(),
            markers: VecDeque::new(),
            replies: Vec::new(),
            asked: 0,
        }
    }

    fn take(&mut self, actions: Vec<TransactionAction>) {
        for action in actions {
            match action {
                TransactionAction::Append { id, number, record } => {
                    self.appends.push_back((id, number, record))
                }
                TransactionAction::WriteMarkers {
                    producer,
                    outcome,
                    partitions,
                    ..
                } => self.markers.push_back((producer, outcome, partitions)),
                TransactionAction::Reply { to, reply } => self.replies.push((to, reply)),
                TransactionAction::Note { note, .. } => assert!(!note.to_string().is_empty()),
            }
        }
    }

    pub(super) fn event(&mut self, event: TransactionEvent) {
        if self.coordinator.wants_producer_id() {
            self.coordinator.give_producer_id(ProducerId(self.ids));
            self.ids += 1;
        }
        let mut actions = Vec::new();
        self.coordinator.handle(self.now, ID.into(), event, &mut actions);
        self.take(actions);
    }

    pub(super) fn ask(&mut self, event: impl FnOnce(ReplyTo) -> TransactionEvent) -> ReplyTo {
        self.asked += 1;
        let to = ReplyTo(self.asked);
        self.event(event(to));
        to
    }

    pub(super) fn write(&mut self) {
        let (_, number, record) = self.appends.pop_front().expect("something is on its way");
        self.log.push(record);
        self.event(TransactionEvent::Written(number));
    }

    pub(super) fn fail(&mut self) {
        let (_, number, _) = self.appends.pop_front().expect("something is on its way");
        self.event(TransactionEvent::WriteFailed(number, WriteFailure::NotLeader));
    }

    pub(super) fn mark(&mut self) -> (Producer, Outcome, Vec<TransactionPartition>) {
        let marked = self.markers.pop_front().expect("markers are to be written");
        let (producer, _, partitions) = marked.clone();
        self.event(TransactionEvent::Marked { producer, partitions });
        marked
    }

    /// Does all that is to be done.
    pub(super) fn settle(&mut self) {
        while !(self.appends.is_empty() && self.markers.is_empty()) {
            if self.appends.is_empty() {
                self.mark();
            } else {
                self.write();
            }
        }
    }

    pub(super) fn reply(&mut self, to: ReplyTo) -> TransactionReply {
        let at = self.replies.iter().position(|(other, _)| *other == to);
        self.replies.remove(at.expect("an answer")).1
    }

    pub(super) fn init_as(&mut self, was: Option<Producer>) -> Result<Producer, TransactionError> {
        let request = InitRequest {
            timeout_ms: 60_000,
            was,
        };
        let to = self.ask(|to| TransactionEvent::Init { request, to });
        self.settle();
        match self.reply(to) {
            TransactionReply::Init(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn init(&mut self) -> Producer {
        self.init_as(None).unwrap()
    }

    pub(super) fn add(
        &mut self,
        producer: Producer,
        protocol: ClientProtocol,
    ) -> Result<(), TransactionError> {
        let partitions = vec![partition("t", 0), partition("t", 1)];
        let to = self.ask(|to| TransactionEvent::Add {
            producer,
            partitions,
            protocol,
            to,
        });
        self.settle();
        match self.reply(to) {
            TransactionReply::Add(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn verify(
        &mut self,
        producer: Producer,
        at: TransactionPartition,
    ) -> Result<(), TransactionError> {
        let to = self.ask(|to| TransactionEvent::Verify {
            producer,
            partition: at,
            to,
        });
        match self.reply(to) {
            TransactionReply::Verify(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn start_end(
        &mut self,
        producer: Producer,
        outcome: Outcome,
        protocol: ClientProtocol,
    ) -> ReplyTo {
        self.ask(|to| TransactionEvent::End {
            producer,
            outcome,
            protocol,
            to,
        })
    }

    pub(super) fn end(
        &mut self,
        producer: Producer,
        outcome: Outcome,
        protocol: ClientProtocol,
    ) -> Result<Producer, TransactionError> {
        let to = self.start_end(producer, outcome, protocol);
        self.settle();
        self.ended(to)
    }

    pub(super) fn ended(&mut self, to: ReplyTo) -> Result<Producer, TransactionError> {
        match self.reply(to) {
            TransactionReply::End(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn start_and_reply(&mut self, producer: Producer) -> Result<Producer, TransactionError> {
        let to = self.start_end(producer, Commit, EpochPerTransaction);
        self.ended(to)
    }

    pub(super) fn phase(&self) -> TransactionPhase {
        self.coordinator.describe(&ID.into()).expect("it is known").phase
    }

    pub(super) fn pass(&mut self, ms: i64) {
        self.now = Timestamp(self.now.0 + ms);
        let mut actions = Vec::new();
        self.coordinator.tick(self.now, &mut actions);
        self.take(actions);
    }

    /// The process dies; another reads what is in the log.
    pub(super) fn restart(&mut self) {
        self.appends.clear();
        self.markers.clear();
        // The id that was set aside and not given out.
        self.ids -= i64::from(!self.coordinator.wants_producer_id());
        self.coordinator = TransactionCoordinator::new(TransactionSettings::server());
        for record in &self.log {
            self.coordinator
                .replay(Some(&record.key), record.value.as_deref())
                .unwrap();
        }
        let mut actions = Vec::new();
        self.coordinator.loaded(self.now, &mut actions);
        self.take(actions);
    }

    /// Puts the producer at this epoch, as if it had begun so often.
    pub(super) fn set_epoch(&mut self, epoch: i16) -> Producer {
        self.init();
        let mut metadata = self.coordinator.describe(&ID.into()).unwrap().clone();
        metadata.producer.epoch = epoch;
        let (key, value) = (record::encode_key(&ID.into()), Some(metadata.encode()));
        self.log.push(Record { key, value });
        self.restart();
        metadata.producer
    }
}

pub(super) fn partition(topic: &str, index: i32) -> TransactionPartition {
    (TopicName::from(topic), index)
}
