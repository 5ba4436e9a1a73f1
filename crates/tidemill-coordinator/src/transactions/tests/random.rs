//! Random requests, failures and restarts: what holds whatever happens.

use proptest::prelude::*;

use super::super::*;
use super::world::{ID, World, partition};
use crate::id::{Producer, ReplyTo};

use ClientProtocol::{Classic, EpochPerTransaction};
use Outcome::{Abort, Commit};

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
