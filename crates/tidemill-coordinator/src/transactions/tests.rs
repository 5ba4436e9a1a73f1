//! The coordinator of transactions, event by event, with a log and partitions that do as they are told.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::error::WriteFailure;
use crate::id::{AppendNumber, Producer, ReplyTo, TopicName};
use crate::record::Record;

use ClientProtocol::{Classic, EpochPerTransaction};
use Outcome::{Abort, Commit};
use TransactionError::*;

const ID: &str = "writer";

struct World {
    coordinator: TransactionCoordinator,
    now: Timestamp,
    ids: i64,
    log: Vec<Record>,
    appends: VecDeque<(TransactionalId, AppendNumber, Record)>,
    markers: VecDeque<(Producer, Outcome, Vec<TransactionPartition>)>,
    replies: Vec<(ReplyTo, TransactionReply)>,
    asked: u64,
}

impl World {
    fn new() -> Self {
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

    fn event(&mut self, event: TransactionEvent) {
        if self.coordinator.wants_producer_id() {
            self.coordinator.give_producer_id(ProducerId(self.ids));
            self.ids += 1;
        }
        let mut actions = Vec::new();
        self.coordinator.handle(self.now, ID.into(), event, &mut actions);
        self.take(actions);
    }

    fn ask(&mut self, event: impl FnOnce(ReplyTo) -> TransactionEvent) -> ReplyTo {
        self.asked += 1;
        let to = ReplyTo(self.asked);
        self.event(event(to));
        to
    }

    fn write(&mut self) {
        let (_, number, record) = self.appends.pop_front().expect("something is on its way");
        self.log.push(record);
        self.event(TransactionEvent::Written(number));
    }

    fn fail(&mut self) {
        let (_, number, _) = self.appends.pop_front().expect("something is on its way");
        self.event(TransactionEvent::WriteFailed(number, WriteFailure::NotLeader));
    }

    fn mark(&mut self) -> (Producer, Outcome, Vec<TransactionPartition>) {
        let marked = self.markers.pop_front().expect("markers are to be written");
        let (producer, _, partitions) = marked.clone();
        self.event(TransactionEvent::Marked { producer, partitions });
        marked
    }

    /// Does all that is to be done.
    fn settle(&mut self) {
        while !(self.appends.is_empty() && self.markers.is_empty()) {
            if self.appends.is_empty() {
                self.mark();
            } else {
                self.write();
            }
        }
    }

    fn reply(&mut self, to: ReplyTo) -> TransactionReply {
        let at = self.replies.iter().position(|(other, _)| *other == to);
        self.replies.remove(at.expect("an answer")).1
    }

    fn init_as(&mut self, was: Option<Producer>) -> Result<Producer, TransactionError> {
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

    fn init(&mut self) -> Producer {
        self.init_as(None).unwrap()
    }

    fn add(&mut self, producer: Producer, protocol: ClientProtocol) -> Result<(), TransactionError> {
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

    fn verify(&mut self, producer: Producer, at: TransactionPartition) -> Result<(), TransactionError> {
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

    fn start_end(&mut self, producer: Producer, outcome: Outcome, protocol: ClientProtocol) -> ReplyTo {
        self.ask(|to| TransactionEvent::End {
            producer,
            outcome,
            protocol,
            to,
        })
    }

    fn end(
        &mut self,
        producer: Producer,
        outcome: Outcome,
        protocol: ClientProtocol,
    ) -> Result<Producer, TransactionError> {
        let to = self.start_end(producer, outcome, protocol);
        self.settle();
        self.ended(to)
    }

    fn ended(&mut self, to: ReplyTo) -> Result<Producer, TransactionError> {
        match self.reply(to) {
            TransactionReply::End(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn phase(&self) -> TransactionPhase {
        self.coordinator.describe(&ID.into()).expect("it is known").phase
    }

    fn pass(&mut self, ms: i64) {
        self.now = Timestamp(self.now.0 + ms);
        let mut actions = Vec::new();
        self.coordinator.tick(self.now, &mut actions);
        self.take(actions);
    }

    /// The process dies; another reads what is in the log.
    fn restart(&mut self) {
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
    fn set_epoch(&mut self, epoch: i16) -> Producer {
        self.init();
        let mut metadata = self.coordinator.describe(&ID.into()).unwrap().clone();
        metadata.producer.epoch = epoch;
        let (key, value) = (record::encode_key(&ID.into()), Some(metadata.encode()));
        self.log.push(Record { key, value });
        self.restart();
        metadata.producer
    }
}

fn partition(topic: &str, index: i32) -> TransactionPartition {
    (TopicName::from(topic), index)
}

#[test]
fn a_transaction_commits_by_its_decision_and_completes_by_its_markers() {
    let mut world = World::new();
    let producer = world.init();
    assert_eq!(producer, Producer::new(100, 0));
    world.add(producer, Classic).unwrap();
    assert_eq!(world.verify(producer, partition("t", 1)), Ok(()));
    assert_eq!(world.verify(producer, partition("t", 2)), Err(NotInTransaction));
    let to = world.start_end(producer, Commit, Classic);
    assert!(world.replies.is_empty(), "the decision is not written yet");
    world.write();
    assert_eq!(world.ended(to), Ok(producer));
    assert_eq!(world.phase(), TransactionPhase::PrepareCommit);
    assert_eq!(world.add(producer, Classic), Err(ConcurrentTransactions));
}

#[test]
fn markers_go_to_every_partition_of_the_transaction() {
    let mut world = World::new();
    let producer = world.init();
    world.add(producer, Classic).unwrap();
    world.start_end(producer, Abort, Classic);
    world.write();
    let partitions = vec![partition("t", 0), partition("t", 1)];
    assert_eq!(world.mark(), (producer, Abort, partitions));
    world.settle();
    assert_eq!(world.phase(), TransactionPhase::CompleteAbort);
    assert_eq!(world.verify(producer, partition("t", 1)), Err(NotInTransaction));
}

#[test]
fn markers_that_are_missing_are_written_again() {
    let mut world = World::new();
    let producer = world.init();
    world.add(producer, Classic).unwrap();
    world.start_end(producer, Commit, Classic);
    world.write();
    world.markers.clear();
    world.event(TransactionEvent::Marked {
        producer,
        partitions: vec![partition("t", 0)],
    });
    assert!(world.appends.is_empty(), "one is missing");
    world.pass(1_000);
    assert_eq!(world.mark(), (producer, Commit, vec![partition("t", 1)]));
    world.settle();
    assert_eq!(world.phase(), TransactionPhase::CompleteCommit);
}

#[test]
fn a_decision_survives_a_restart_and_what_was_not_decided_stays_open() {
    let mut world = World::new();
    let producer = world.init();
    world.add(producer, Classic).unwrap();
    world.restart();
    assert_eq!(world.phase(), TransactionPhase::Ongoing);
    world.start_end(producer, Commit, Classic);
    world.write();
    world.restart();
    assert_eq!(world.mark().1, Commit);
    world.settle();
    assert_eq!(world.phase(), TransactionPhase::CompleteCommit);
    assert_eq!(world.end(producer, Commit, Classic), Ok(producer), "a retry");
    assert_eq!(world.end(producer, Abort, Classic), Err(InvalidTxnState));
}

#[test]
fn a_new_instance_aborts_what_the_old_one_left_open() {
    let mut world = World::new();
    let old = world.init();
    world.add(old, Classic).unwrap();
    assert_eq!(world.init_as(None), Err(ConcurrentTransactions));
    let new = world.init();
    assert_eq!(
        new,
        Producer::new(100, 2),
        "one epoch for the fence, one for the instance"
    );
    assert_eq!(world.add(old, Classic), Err(ProducerFenced));
    assert_eq!(world.end(old, Commit, Classic), Err(ProducerFenced));
    assert_eq!(world.verify(old, partition("t", 0)), Err(ProducerFenced));
    assert_eq!(world.init_as(Some(old)), Err(ProducerFenced));
}

#[test]
fn an_instance_that_recovers_keeps_its_place_and_its_retry_gets_the_same_answer() {
    let mut world = World::new();
    let first = world.init();
    let second = world.init_as(Some(first));
    assert_eq!(second, Ok(Producer::new(100, 1)));
    assert_eq!(world.init_as(Some(first)), second, "the answer was lost");
    assert_eq!(world.init_as(Some(Producer::new(99, 0))), Err(ProducerFenced));
    // A stranger's retry must not abort the transaction that is open.
    world.add(second.unwrap(), Classic).unwrap();
    let third = world.init_as(Some(Producer::new(100, 7)));
    assert_eq!(third, Err(ProducerFenced));
    assert_eq!(world.phase(), TransactionPhase::Ongoing);
}

#[test]
fn a_transaction_is_aborted_when_its_time_is_up() {
    let mut world = World::new();
    let producer = world.init();
    world.add(producer, Classic).unwrap();
    world.pass(59_999);
    assert!(world.appends.is_empty());
    world.pass(1);
    world.write();
    let (markers, outcome, _) = world.mark();
    assert_eq!(
        (markers, outcome),
        (Producer::new(100, 1), Abort),
        "its producer is fenced"
    );
    world.settle();
    assert_eq!(world.end(producer, Commit, Classic), Err(ProducerFenced));
}

#[test]
fn time_passes_while_the_broker_is_down() {
    let mut world = World::new();
    let producer = world.init();
    world.add(producer, EpochPerTransaction).unwrap();
    world.now = Timestamp(world.now.0 + 60_000);
    world.restart();
    world.settle();
    assert_eq!(world.phase(), TransactionPhase::CompleteAbort);
}

#[test]
fn epochs_that_run_out_lead_to_another_producer_id() {
    let mut world = World::new();
    let last = world.set_epoch(LAST_EPOCH);
    assert_eq!(world.init_as(Some(last)), Ok(Producer::new(101, 0)));
    assert_eq!(
        world.init_as(Some(last)),
        Ok(Producer::new(101, 0)),
        "the answer was lost"
    );
    assert_eq!(world.add(last, Classic), Err(InvalidProducerIdMapping));

    let mut world = World::new();
    let last = world.set_epoch(LAST_EPOCH);
    world.add(last, Classic).unwrap();
    world.pass(60_000);
    world.write();
    assert_eq!(
        world.mark().0.epoch,
        i16::MAX,
        "there is one epoch left to fence with"
    );
    world.settle();
    assert_eq!(world.init(), Producer::new(101, 0));
}

#[test]
fn epochs_that_run_out_at_a_commit_lead_to_another_producer_id() {
    let mut world = World::new();
    let last = world.set_epoch(LAST_EPOCH);
    world.add(last, EpochPerTransaction).unwrap();
    let to = world.start_end(last, Commit, EpochPerTransaction);
    world.write();
    // Died between the decision and its markers.
    assert_eq!(world.ended(to), Ok(Producer::new(101, 0)));
    world.restart();
    assert_eq!(world.mark().0, Producer::new(100, i16::MAX));
    world.settle();
    let again = world.end(last, Commit, EpochPerTransaction);
    assert_eq!(again, Ok(Producer::new(101, 0)), "a retry");
    world.add(Producer::new(101, 0), EpochPerTransaction).unwrap();
    assert_eq!(world.end(last, Commit, EpochPerTransaction), Err(ProducerFenced));
}

#[test]
fn each_transaction_has_its_epoch() {
    let mut world = World::new();
    let first = world.init();
    world.add(first, EpochPerTransaction).unwrap();
    let to = world.start_end(first, Commit, EpochPerTransaction);
    assert_eq!(world.start_and_reply(first), Err(ConcurrentTransactions));
    world.write();
    let second = world.ended(to).unwrap();
    assert_eq!(second, Producer::new(100, 1));
    assert_eq!(
        world.start_and_reply(first),
        Err(ConcurrentTransactions),
        "its markers are being written"
    );
    assert_eq!(
        world.mark().0,
        second,
        "what comes late of the first is fenced by its marker"
    );
    world.settle();
    assert_eq!(
        world.end(first, Commit, EpochPerTransaction),
        Ok(second),
        "a retry"
    );
    assert_eq!(world.end(first, Abort, EpochPerTransaction), Err(InvalidTxnState));
    assert_eq!(world.add(first, EpochPerTransaction), Err(ProducerFenced));
    world.add(second, EpochPerTransaction).unwrap();
    assert_eq!(
        world.end(first, Commit, EpochPerTransaction),
        Err(ProducerFenced),
        "the next transaction is open: this is no retry"
    );
}

impl World {
    fn start_and_reply(&mut self, producer: Producer) -> Result<Producer, TransactionError> {
        let to = self.start_end(producer, Commit, EpochPerTransaction);
        self.ended(to)
    }
}

#[test]
fn an_empty_transaction_is_aborted_only_in_the_new_protocol() {
    let mut world = World::new();
    let producer = world.init();
    assert_eq!(world.end(producer, Abort, Classic), Err(InvalidTxnState));
    assert_eq!(
        world.end(producer, Commit, EpochPerTransaction),
        Err(InvalidTxnState)
    );
    let next = world.end(producer, Abort, EpochPerTransaction);
    assert_eq!(next, Ok(Producer::new(100, 1)));
    assert_eq!(
        world.end(next.unwrap(), Abort, EpochPerTransaction),
        Ok(Producer::new(100, 2))
    );
}

#[test]
fn a_failed_append_changes_nothing() {
    let mut world = World::new();
    let producer = world.init();
    let partitions = vec![partition("t", 0)];
    let to = world.ask(|to| TransactionEvent::Add {
        producer,
        partitions,
        protocol: Classic,
        to,
    });
    world.fail();
    assert_eq!(world.reply(to), TransactionReply::Add(Err(NotCoordinator)));
    assert_eq!(world.phase(), TransactionPhase::Empty);
    world.add(producer, Classic).unwrap();
    let to = world.start_end(producer, Commit, Classic);
    world.fail();
    assert_eq!(world.ended(to), Err(NotCoordinator));
    assert_eq!(world.phase(), TransactionPhase::Ongoing);
    // The last record of a transaction is tried again until it is written.
    world.start_end(producer, Commit, Classic);
    world.write();
    world.mark();
    world.fail();
    world.pass(1_000);
    world.settle();
    assert_eq!(world.phase(), TransactionPhase::CompleteCommit);
}

#[test]
fn an_id_nobody_uses_is_forgotten() {
    let mut world = World::new();
    let producer = world.init();
    world.pass(604_800_000);
    world.settle();
    assert!(world.coordinator.describe(&ID.into()).is_none());
    assert_eq!(world.log.last().unwrap().value, None, "a tombstone");
    assert_eq!(world.add(producer, Classic), Err(InvalidProducerIdMapping));
    assert_eq!(world.init(), Producer::new(101, 0));
}

#[test]
fn without_a_producer_id_to_give_nobody_begins() {
    let mut coordinator = TransactionCoordinator::new(TransactionSettings::server());
    let request = InitRequest {
        timeout_ms: 1,
        was: None,
    };
    let mut actions = Vec::new();
    let event = TransactionEvent::Init {
        request,
        to: ReplyTo(1),
    };
    coordinator.handle(Timestamp(0), ID.into(), event, &mut actions);
    let [TransactionAction::Reply { reply, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(*reply, TransactionReply::Init(Err(CoordinatorNotAvailable)));
    assert_eq!(coordinator.iter().count(), 0);
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Init { recover: bool },
    Add { stale: bool, new: bool },
    End { stale: bool, commit: bool, new: bool },
    Write,
    Fail,
    Mark { all: bool },
    Pass(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let flag = || proptest::bool::weighted(0.3);
    prop_oneof![
        2 => flag().prop_map(|recover| Step::Init { recover }),
        4 => (flag(), any::<bool>()).prop_map(|(stale, new)| Step::Add { stale, new }),
        4 => (flag(), any::<bool>(), any::<bool>())
            .prop_map(|(stale, commit, new)| Step::End { stale, commit, new }),
        8 => Just(Step::Write),
        1 => Just(Step::Fail),
        4 => any::<bool>().prop_map(|all| Step::Mark { all }),
        2 => (1..40_000i64).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens, a transaction that was answered as committed is never marked as aborted, nor the other way
    /// round; epochs of a producer id only rise; and left alone, everything comes to rest.
    #[test]
    fn a_decision_stands(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        let mut known: Vec<Producer> = vec![world.init()];
        let mut asked: std::collections::BTreeMap<ReplyTo, (Producer, Outcome)> = Default::default();
        let mut decided: std::collections::HashMap<(i64, i16), Outcome> = Default::default();
        for step in steps {
            let current = world.coordinator.describe(&ID.into()).map(|m| m.producer).unwrap_or(known[0]);
            let pick = |stale: bool| if stale { known[known.len() / 2] } else { current };
            match step {
                Step::Init { recover } => {
                    let request = InitRequest { timeout_ms: 60_000, was: recover.then_some(current) };
                    world.ask(|to| TransactionEvent::Init { request, to });
                }
                Step::Add { stale, new } => {
                    let protocol = if new { EpochPerTransaction } else { Classic };
                    let (producer, partitions) = (pick(stale), vec![partition("t", 0), partition("t", 1)]);
                    world.ask(|to| TransactionEvent::Add { producer, partitions, protocol, to });
                }
                Step::End { stale, commit, new } => {
                    let protocol = if new { EpochPerTransaction } else { Classic };
                    let (producer, outcome) = (pick(stale), if commit { Commit } else { Abort });
                    let to = world.start_end(producer, outcome, protocol);
                    asked.insert(to, (producer, outcome));
                }
                Step::Write => if !world.appends.is_empty() { world.write() },
                Step::Fail => if !world.appends.is_empty() { world.fail() },
                Step::Mark { all } => if let Some((producer, outcome, mut partitions)) = world.markers.pop_front() {
                    if let Some(before) = decided.insert((producer.id.0, producer.epoch), outcome) {
                        // The classic protocol ends every transaction of an instance in one epoch.
                        prop_assert!(before == outcome || world.phase().decided() == Some(outcome));
                    }
                    prop_assert_eq!(world.phase().decided(), Some(outcome));
                    if !all { partitions.pop(); }
                    world.event(TransactionEvent::Marked { producer, partitions });
                },
                Step::Pass(ms) => world.pass(ms),
                Step::Restart => world.restart(),
            }
            for (to, reply) in std::mem::take(&mut world.replies) {
                if let (Some((producer, outcome)), TransactionReply::End(Ok(_))) = (asked.remove(&to), reply) {
                    let phase = world.phase();
                    let fits = match outcome {
                        Commit => [TransactionPhase::PrepareCommit, TransactionPhase::CompleteCommit],
                        Abort => [TransactionPhase::PrepareAbort, TransactionPhase::CompleteAbort],
                    };
                    prop_assert!(fits.contains(&phase), "{:?} of {} answered in {:?}", outcome, producer, phase);
                }
            }
            if let Some(metadata) = world.coordinator.describe(&ID.into()) {
                let last = known.last().copied().unwrap_or(metadata.producer);
                if metadata.producer != last {
                    prop_assert!(metadata.producer.id != last.id || metadata.producer.epoch > last.epoch);
                    known.push(metadata.producer);
                }
            }
        }
        for _ in 0..4 {
            world.pass(60_000);
            world.settle();
        }
        let phase = world.phase();
        prop_assert!(!matches!(phase, TransactionPhase::Ongoing | TransactionPhase::PrepareCommit | TransactionPhase::PrepareAbort), "{:?}", phase);
        let now = world.coordinator.describe(&ID.into()).cloned();
        world.restart();
        let mut again = world.coordinator.describe(&ID.into()).cloned();
        // Only a living client asks for it.
        if let (Some(again), Some(now)) = (&mut again, &now) { again.last_epoch = now.last_epoch; }
        prop_assert_eq!(again, now);
    }
}
