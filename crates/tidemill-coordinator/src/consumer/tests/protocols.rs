//! Members of both protocols in one group, and groups that move from one to the other.

use super::super::*;
use super::world::{GROUP, TIDES, World, at, show};
use crate::action::Reply;
use crate::event::{Event, JoinRequest, LeavingMember, Protocol};
use crate::subscription;

/// A group of the classic protocol with one member, `old`, that has all of `tides`.
fn classic_group(world: &mut World) {
    assert_eq!(
        world.classic_join("", "old", &["tides"], &[]),
        Ok((1, "old".to_owned()))
    );
    let (topic, all) = (TopicName::from("tides"), (0..4).collect());
    let bytes = subscription::write_assignment([(&topic, &all)].into_iter());
    assert_eq!(
        world.classic_sync("old", 1, &[("old", bytes)]),
        Ok(vec![0, 1, 2, 3])
    );
}

#[test]
fn a_group_moves_to_the_consumer_protocol_and_back_while_it_works() {
    let mut world = World::new();
    classic_group(&mut world);
    assert_eq!(world.commit("old", 1, false), Ok(()));
    // The first member of the new protocol.
    assert_eq!(world.join("new"), "2 []");
    assert_eq!(world.phase(), PhaseName::Reconciling);
    assert_eq!(world.classic_beat("old", 1), Err(GroupError::RebalanceInProgress));
    assert_eq!(
        world.classic_sync("old", 1, &[]),
        Err(GroupError::RebalanceInProgress)
    );
    // It says what it holds, is told to give up half, and joins again without it.
    assert_eq!(
        world.classic_join("old", "x", &["tides"], &[0, 1, 2, 3]),
        Ok((1, "old".to_owned()))
    );
    world.restart();
    assert_eq!(
        world.classic_join("old", "x", &["tides"], &[0, 1]),
        Ok((2, "old".to_owned()))
    );
    assert_eq!(world.classic_sync("old", 2, &[]), Ok(vec![0, 1]));
    assert_eq!(world.classic_beat("old", 2), Ok(()));
    assert_eq!(world.classic_beat("old", 1), Err(GroupError::IllegalGeneration));
    assert_eq!(world.keep("new", 2), "2 [t2 t3]");
    assert_eq!(
        world.commit("old", 2, false),
        Ok(()),
        "a classic member commits as it always did"
    );
    // And back, when the last of them leaves.
    assert_eq!(show(&world.beat(at("new", -1))), "-1 [as before]");
    assert!(!world.coordinator.group(&GROUP.into()).unwrap().is_consumer());
    assert_eq!(world.classic_beat("old", 3), Err(GroupError::RebalanceInProgress));
    world.restart();
    assert!(!world.coordinator.group(&GROUP.into()).unwrap().is_consumer());
    assert_eq!(
        world.classic_join("old", "x", &["tides"], &[]),
        Ok((4, "old".to_owned()))
    );
    let fetched = world.coordinator.fetch_offsets(&GROUP.into(), None);
    assert_eq!(fetched[0].committed.as_ref().unwrap().offset, 5);
}

#[test]
fn classic_members_join_and_leave_a_group_of_the_consumer_protocol() {
    let mut world = World::new();
    world.join("new");
    assert_eq!(
        world.classic_join("", "old", &["tides"], &[]),
        Ok((2, "old".to_owned()))
    );
    assert_eq!(world.classic_sync("old", 2, &[]), Ok(vec![]));
    world.keep("new", 1);
    assert_eq!(world.classic_beat("old", 2), Ok(()), "nothing is free");
    world.holds("new", 1, &[(TIDES, 0), (TIDES, 1)]);
    assert_eq!(
        world.classic_beat("old", 2),
        Err(GroupError::RebalanceInProgress),
        "there is more to have"
    );
    assert_eq!(
        world.classic_join("old", "x", &["tides"], &[]),
        Ok((2, "old".to_owned()))
    );
    assert_eq!(world.classic_sync("old", 2, &[]), Ok(vec![2, 3]));
    assert_eq!(
        world.classic_join("stranger", "x", &["tides"], &[]),
        Err(GroupError::UnknownMemberId)
    );
    let to = world.to();
    let leaving = |id: &str| LeavingMember {
        member: id.into(),
        instance: None,
        reason: None,
    };
    world.event(Event::Leave {
        members: vec![leaving("old"), leaving("stranger")],
        to,
    });
    world.settle();
    let Some(Reply::Leave(Ok(answers))) = world.replies.remove(&to) else {
        panic!()
    };
    assert_eq!(
        answers.iter().map(|a| a.result).collect::<Vec<_>>(),
        [Ok(()), Err(GroupError::UnknownMemberId)]
    );
    assert_eq!(world.members(), 1);
}

#[test]
fn groups_that_are_not_of_consumers_stay_classic() {
    let mut world = World::new();
    let to = world.to();
    let request = JoinRequest {
        protocol_type: "connect".to_owned(),
        ..JoinRequest::consumer("c", "worker", vec![Protocol::new("default", &b""[..])])
    };
    world.event(Event::Join { request, to });
    assert_eq!(world.join("new"), "InconsistentGroupProtocol");
}
