//! The coordinator of transactions, event by event.

mod random;
mod world;

use self::world::{ID, World, partition};
use super::*;
use crate::id::{Producer, ReplyTo};

use ClientProtocol::{Classic, EpochPerTransaction};
use Outcome::{Abort, Commit};
use TransactionError::*;

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
