//! Groups of the consumer protocol, heartbeat by heartbeat.

mod protocols;
mod random;
mod world;

use self::world::{GROUP, TIDES, WAVES, World, at, image, joining, show};
use super::*;
use crate::action::Reply;
use crate::coordinator::GroupFilter;
use crate::event::Event;

#[test]
fn a_second_member_gets_what_the_first_gives_up() {
    let mut world = World::new();
    assert_eq!(world.join("a"), "1 [t0 t1 t2 t3]");
    assert_eq!(world.keep("a", 1), "1 [as before]");
    assert_eq!(world.phase(), PhaseName::Stable);
    assert_eq!(world.join("b"), "2 []", "nothing is free yet");
    assert_eq!(world.phase(), PhaseName::Reconciling);
    assert_eq!(world.keep("a", 1), "1 [t0 t1]", "it shall give up two");
    assert_eq!(world.keep("b", 2), "2 [as before]", "they are not given up");
    assert_eq!(
        world.holds("a", 1, &[(TIDES, 0), (TIDES, 1), (TIDES, 2)]),
        "1 [as before]"
    );
    assert_eq!(world.holds("a", 1, &[(TIDES, 0), (TIDES, 1)]), "2 [as before]");
    assert_eq!(world.keep("b", 2), "2 [t2 t3]");
    assert_eq!(world.phase(), PhaseName::Stable);
}

#[test]
fn a_member_that_leaves_or_is_silent_leaves_its_work_to_others() {
    let mut world = World::new();
    world.join("a");
    world.join("b");
    assert_eq!(show(&world.beat(at("b", -1))), "-1 [as before]");
    assert_eq!(
        world.keep("a", 1),
        "3 [as before]",
        "it holds everything and may keep it"
    );
    world.join("b");
    world.keep("a", 3);
    world.pass(500);
    world.holds("a", 3, &[(TIDES, 0), (TIDES, 1)]);
    world.pass(600);
    assert_eq!(world.members(), 1, "b was silent");
    assert_eq!(world.keep("a", 4), "5 [t0 t1 t2 t3]");
    assert_eq!(world.keep("b", 4), "UnknownMemberId");
}

#[test]
fn a_member_that_keeps_what_it_shall_give_up_is_out() {
    let mut world = World::new();
    world.join("a");
    world.join("b");
    world.keep("a", 1);
    for _ in 0..4 {
        world.pass(600);
        world.keep("a", 1);
        world.keep("b", 2);
    }
    assert_eq!(world.members(), 2);
    world.pass(600);
    assert_eq!(world.members(), 1);
    assert_eq!(world.keep("b", 2), "3 [t0 t1 t2 t3]");
}

#[test]
fn epochs_fence_and_a_lost_answer_is_forgiven() {
    let mut world = World::new();
    world.join("a");
    world.join("b");
    world.keep("a", 1);
    world.holds("a", 1, &[(TIDES, 0), (TIDES, 1)]);
    // The answer with epoch 2 was lost.
    assert_eq!(world.holds("a", 1, &[(TIDES, 0)]), "2 [as before]");
    assert_eq!(
        world.keep("a", 1),
        "FencedMemberEpoch",
        "it does not say what it holds"
    );
    assert_eq!(world.holds("a", 1, &[(TIDES, 3)]), "FencedMemberEpoch");
    assert_eq!(world.keep("a", 3), "FencedMemberEpoch");
    assert_eq!(world.keep("c", 1), "UnknownMemberId");
    assert_eq!(world.join("a"), "2 [t0 t1]", "it starts over");
}

#[test]
fn topics_that_grow_or_appear_are_divided_anew() {
    let mut world = World::new();
    world.join("a");
    world.topics = image(2, 5);
    assert_eq!(world.keep("a", 1), "2 [t0 t1 t2 t3 t4]");
    let both = ConsumerHeartbeat {
        names: Some(vec!["waves".into(), "later".into()]),
        ..at("a", 2)
    };
    assert_eq!(
        show(&world.beat(both)),
        "2 []",
        "it shall give up the others first"
    );
    assert_eq!(world.holds("a", 2, &[]), "3 [w0 w1]");
}

#[test]
fn a_pattern_chooses_topics_by_their_whole_name() {
    let mut world = World::new();
    let wanting = |pattern: &str| ConsumerHeartbeat {
        names: Some(Vec::new()),
        pattern: Some(pattern.to_owned()),
        ..joining("a")
    };
    for broken in ["(", "a)|(b", "x{1000}{1000}"] {
        assert_eq!(show(&world.beat(wanting(broken))), "InvalidRegularExpression");
    }
    assert_eq!(show(&world.beat(wanting("wave"))), "1 []");
    assert_eq!(show(&world.beat(wanting("w.*|t.*s"))), "2 [t0 t1 t2 t3 w0 w1]");
    assert_eq!(
        show(&world.beat(wanting(".*"))),
        "3 [o0 t0 t1 t2 t3 w0 w1]",
        "the broker's own topics are matched as others are"
    );
    assert_eq!(show(&world.beat(wanting("w.*|t.*"))), "4 [t0 t1 t2 t3 w0 w1]");
    world.topics = image(2, 2);
    assert_eq!(
        world.keep("a", 4),
        "4 [t0 t1 w0 w1]",
        "t2 and t3 are to be given up"
    );
    world.restart();
    assert_eq!(
        world.holds("a", 4, &[(TIDES, 0), (TIDES, 1), (WAVES, 0), (WAVES, 1)]),
        "5 [as before]"
    );
}

#[test]
fn a_static_member_that_is_away_keeps_its_work_until_its_session_ends() {
    let mut world = World::new();
    let named = |request: ConsumerHeartbeat| ConsumerHeartbeat {
        instance: Some("one".into()),
        ..request
    };
    assert_eq!(show(&world.beat(named(joining("a")))), "1 [t0 t1 t2 t3]");
    assert_eq!(show(&world.beat(named(joining("b")))), "UnreleasedInstanceId");
    assert_eq!(show(&world.beat(named(at("b", 1)))), "FencedInstanceId");
    assert_eq!(show(&world.beat(named(at("a", -2)))), "-2 [as before]");
    assert_eq!(world.join("other"), "2 []", "what is kept is not given to others");
    assert_eq!(
        show(&world.beat(named(joining("b")))),
        "2 [t0 t1]",
        "its share meanwhile"
    );
    assert_eq!(show(&world.beat(named(at("a", 2)))), "FencedInstanceId");
    world.restart();
    assert_eq!(show(&world.beat(named(at("b", -2)))), "-2 [as before]");
    world.pass(1_000);
    assert_eq!(world.members(), 0);
}

#[test]
fn what_most_members_would_have_is_how_the_work_is_divided() {
    let mut world = World::new();
    let by = |id: &str, assignor: &str| ConsumerHeartbeat {
        assignor: Some(assignor.to_owned()),
        ..joining(id)
    };
    assert_eq!(show(&world.beat(by("a", "random"))), "UnsupportedAssignor");
    world.beat(by("a", "range")).unwrap();
    let described = |world: &World| {
        world
            .coordinator
            .describe_consumers(&GROUP.into())
            .unwrap()
            .assignor
    };
    assert_eq!(described(&world), AssignorName::Range);
    world.beat(by("b", "uniform")).unwrap();
    assert_eq!(
        described(&world),
        AssignorName::Uniform,
        "of two with as many votes the first of the settings"
    );
}

#[test]
fn offsets_are_committed_under_the_members_epoch() {
    let mut world = World::new();
    world.join("a");
    assert_eq!(world.commit("a", 1, true), Ok(()));
    assert_eq!(world.commit("a", 1, false), Err(GroupError::UnsupportedVersion));
    assert_eq!(world.commit("a", 2, true), Err(GroupError::StaleMemberEpoch));
    assert_eq!(world.commit("b", 1, true), Err(GroupError::UnknownMemberId));
    assert_eq!(world.commit("", -1, true), Err(GroupError::UnknownMemberId));
    let check = |world: &World, member: &str, epoch| {
        world
            .coordinator
            .check_fetch(&GROUP.into(), &member.into(), epoch)
    };
    assert_eq!(check(&world, "a", 1), Ok(()));
    assert_eq!(check(&world, "", -1), Ok(()));
    assert_eq!(check(&world, "a", 0), Err(GroupError::StaleMemberEpoch));
    assert_eq!(check(&world, "z", 0), Err(GroupError::UnknownMemberId));
    world.beat(at("a", -1)).unwrap();
    assert_eq!(
        world.commit("", -1, true),
        Ok(()),
        "an administrator, while nobody is there"
    );
}

#[test]
fn a_change_that_cannot_be_written_has_not_happened() {
    let mut world = World::new();
    let to = world.start_beat(joining("a"));
    world.fail();
    let refused = Reply::ConsumerHeartbeat(Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(world.replies.remove(&to), Some(refused));
    assert!(world.coordinator.group(&GROUP.into()).is_none());
    world.join("a");
    world.start_beat(joining("b"));
    world.fail();
    assert_eq!(world.members(), 1);
    assert_eq!(world.keep("a", 1), "1 [as before]");
}

#[test]
fn a_restart_finds_the_group_as_it_was() {
    let mut world = World::new();
    world.join("a");
    world.join("b");
    world.keep("a", 1);
    let before = world.coordinator.describe_consumers(&GROUP.into()).unwrap();
    world.restart();
    let after = world.coordinator.describe_consumers(&GROUP.into()).unwrap();
    assert_eq!(
        (after.epoch, after.target_epoch, after.phase),
        (before.epoch, before.target_epoch, before.phase)
    );
    assert_eq!(world.holds("a", 1, &[(TIDES, 0), (TIDES, 1)]), "2 [as before]");
    assert_eq!(world.keep("b", 2), "2 [t2 t3]");
    world.restart();
    world.pass(1_000);
    assert_eq!(world.members(), 0, "nobody came back");
}

#[test]
fn an_empty_group_can_be_deleted_and_is_listed_by_its_type() {
    let mut world = World::new();
    world.join("a");
    let listed = |world: &World, types: &[&str], states: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let filter = GroupFilter {
            types: names(types),
            states: names(states),
        };
        world.coordinator.list(&filter).len()
    };
    assert_eq!(
        (
            listed(&world, &["Consumer"], &["stable"]),
            listed(&world, &["classic"], &[])
        ),
        (1, 0)
    );
    assert!(
        world.coordinator.describe(&GROUP.into()).is_none(),
        "not of the classic protocol"
    );
    let delete = |world: &mut World| {
        let to = world.to();
        world.event(Event::Delete { to });
        world.settle();
        world.replies.remove(&to)
    };
    assert_eq!(
        delete(&mut world),
        Some(Reply::Delete(Err(GroupError::NonEmptyGroup)))
    );
    world.beat(at("a", -1)).unwrap();
    assert_eq!(delete(&mut world), Some(Reply::Delete(Ok(()))));
    world.restart();
    assert!(world.coordinator.group(&GROUP.into()).is_none());
}
