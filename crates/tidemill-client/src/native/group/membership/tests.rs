use std::time::Duration;

use tidemill_protocol::messages::join_group::JoinGroupResponseMember;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A membership driven by hand: what it asks is answered here, what it says is collected.
struct Script {
    membership: Membership,
    now: Instant,
}

impl Script {
    fn new(instance_id: Option<&str>) -> Self {
        let settings = GroupSettings {
            instance_id: instance_id.map(Into::into),
            session_timeout: 10 * SECOND,
            heartbeat_interval: SECOND,
            poll_interval_max: 60 * SECOND,
            metadata_age_max: 300 * SECOND,
        };
        let now = Instant::now();
        let backoff = Backoff::new(SECOND, SECOND, 1);
        let topics = ["t".to_owned()];
        Self {
            membership: Membership::new("g", &topics, settings, backoff, now),
            now,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.membership.polled(self.now);
    }

    fn action(&mut self) -> Option<Action> {
        self.membership.next_action(self.now)
    }

    fn handle(&mut self, event: Event) {
        self.membership.handle(self.now, event);
    }

    fn join_refused(&mut self, code: ErrorCode, member_id: &str) {
        self.handle(Event::Joined(Ok(JoinGroupResponse {
            error_code: code,
            member_id: member_id.into(),
            ..Default::default()
        })));
    }

    /// Joins as the leader of a group of one and gets both partitions of `t`.
    fn settle(&mut self) {
        assert!(matches!(self.action(), Some(Action::Join(_))));
        let subscription = MemberSubscription {
            topics: vec!["t".into()],
            user_data: None,
        };
        let member = JoinGroupResponseMember {
            member_id: "m".into(),
            metadata: subscription.encode().unwrap(),
            ..Default::default()
        };
        self.handle(Event::Joined(Ok(JoinGroupResponse {
            generation_id: 1,
            leader: "m".into(),
            member_id: "m".into(),
            members: vec![member],
            ..Default::default()
        })));
        assert_eq!(self.action(), Some(Action::Count(vec!["t".into()])));
        self.handle(Event::Counted(Ok([("t".to_owned(), 2)].into())));
        let Some(Action::Sync(sync)) = self.action() else {
            panic!("no sync");
        };
        let assignment = sync.assignments[0].assignment.clone();
        self.handle(Event::Synced(Ok(SyncGroupResponse {
            assignment,
            ..Default::default()
        })));
        assert_eq!(self.membership.next_news(), Some(News::Assigned(both())));
    }

    fn beat(&mut self, code: ErrorCode) {
        self.pass(SECOND);
        assert!(matches!(self.action(), Some(Action::Heartbeat(_))));
        self.handle(Event::Beaten(Ok(code)));
    }
}

fn both() -> Vec<TopicPartition> {
    vec![TopicPartition::new("t", 0), TopicPartition::new("t", 1)]
}

#[test]
fn a_rebalance_revokes_and_joins_again_only_after_release() {
    let mut script = Script::new(None);
    script.settle();
    script.beat(ErrorCode::None);
    script.beat(ErrorCode::RebalanceInProgress);
    assert_eq!(script.membership.next_news(), Some(News::Revoking(both())));
    assert!(script.membership.is_member(), "commits are still taken");
    // The coordinator hears of us until the work is committed.
    script.beat(ErrorCode::RebalanceInProgress);
    assert_eq!(script.membership.next_news(), None);
    script.handle(Event::Released);
    assert!(!script.membership.is_member());
    let Some(Action::Join(join)) = script.action() else {
        panic!("no join");
    };
    assert_eq!(join.member_id, "m");
}

#[test]
fn a_member_that_was_thrown_out_hears_of_its_loss_and_comes_back_as_another() {
    for code in [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration] {
        let mut script = Script::new(None);
        script.settle();
        script.beat(code);
        assert_eq!(script.membership.next_news(), Some(News::Lost(both())));
        assert_eq!(script.action(), None, "not before the partitions are released");
        script.handle(Event::Released);
        let Some(Action::Join(join)) = script.action() else {
            panic!("no join");
        };
        assert_eq!(join.member_id, "");
    }
}

#[test]
fn members_with_another_assignor_are_waited_for_as_long_as_for_a_rebalance() {
    let mut script = Script::new(None);
    for _ in 0..25 {
        assert!(matches!(script.action(), Some(Action::Join(_))));
        script.join_refused(ErrorCode::InconsistentGroupProtocol, "");
        assert_eq!(script.action(), None, "not again at once");
        script.pass(2 * SECOND);
    }
    script.settle();

    let mut script = Script::new(None);
    script.action();
    script.join_refused(ErrorCode::InconsistentGroupProtocol, "");
    script.pass(60 * SECOND);
    assert!(matches!(script.action(), Some(Action::Join(_))));
    script.join_refused(ErrorCode::InconsistentGroupProtocol, "");
    assert_eq!(script.action(), None);
    let failure = script.membership.take_failure().unwrap_err().to_string();
    assert!(failure.contains("INCONSISTENT_GROUP_PROTOCOL"), "{failure}");
}

#[test]
fn a_fenced_commit_is_a_loss() {
    let mut script = Script::new(None);
    script.settle();
    script.handle(Event::Fenced);
    assert_eq!(script.membership.next_news(), Some(News::Lost(both())));
}

#[test]
fn a_silent_coordinator_costs_the_membership_when_the_session_ends() {
    let mut script = Script::new(None);
    script.settle();
    for _ in 0..9 {
        script.pass(SECOND);
        if matches!(script.action(), Some(Action::Heartbeat(_))) {
            script.handle(Event::Beaten(Err("down".into())));
        }
        assert_eq!(script.membership.next_news(), None);
    }
    script.pass(2 * SECOND);
    script.action();
    assert_eq!(script.membership.next_news(), Some(News::Lost(both())));
}

#[test]
fn who_does_not_poll_leaves_unless_he_is_static() {
    for (instance_id, leaves) in [(None, true), (Some("one"), false)] {
        let mut script = Script::new(instance_id);
        script.settle();
        script.now += 61 * SECOND;
        let action = script.action();
        assert_eq!(matches!(action, Some(Action::Leave(_))), leaves, "{action:?}");
        assert_eq!(script.membership.next_news(), Some(News::Lost(both())));
    }
}

#[test]
fn a_member_id_is_taken_and_used_at_once() {
    let mut script = Script::new(None);
    script.action();
    script.join_refused(ErrorCode::MemberIdRequired, "given");
    let Some(Action::Join(join)) = script.action() else {
        panic!("no join");
    };
    assert_eq!(join.member_id, "given");
}

#[test]
fn a_coordinator_that_moves_is_waited_for_and_a_refusal_is_told() {
    let mut script = Script::new(None);
    script.action();
    script.join_refused(ErrorCode::NotCoordinator, "");
    assert_eq!(script.action(), None);
    script.pass(2 * SECOND);
    assert!(matches!(script.action(), Some(Action::Join(_))));
    script.join_refused(ErrorCode::GroupAuthorizationFailed, "");
    script.pass(2 * SECOND);
    assert_eq!(script.action(), None);
    let failure = script.membership.take_failure().unwrap_err().to_string();
    assert!(failure.contains("GROUP_AUTHORIZATION_FAILED"), "{failure}");
    assert!(script.membership.take_failure().is_ok(), "it is told once");
}

#[test]
fn the_leader_rebalances_when_a_topic_grows() {
    let mut script = Script::new(None);
    script.settle();
    script.pass(5 * SECOND);
    script.beat(ErrorCode::None);
    for (count, expected) in [(2, None), (3, Some(News::Revoking(both())))] {
        for _ in 0..300 {
            script.pass(SECOND);
            match script.action() {
                Some(Action::Heartbeat(_)) => script.handle(Event::Beaten(Ok(ErrorCode::None))),
                Some(Action::Count(_)) => {
                    script.handle(Event::Counted(Ok([("t".to_owned(), count)].into())));
                    break;
                }
                other => assert_eq!(other, None),
            }
        }
        assert_eq!(script.membership.next_news(), expected);
    }
}

#[test]
fn a_member_that_goes_while_it_joins_waits_for_its_id_and_leaves_by_that() {
    let mut script = Script::new(None);
    assert!(!script.membership.awaits_member_id());
    assert!(matches!(script.action(), Some(Action::Join(_))));
    script.membership.close();
    assert!(script.membership.awaits_member_id());
    assert_eq!(script.membership.leave_request(), None);
    script.join_refused(ErrorCode::MemberIdRequired, "m");
    assert!(!script.membership.awaits_member_id());
    assert_eq!((script.action(), script.membership.next_deadline()), (None, None));
    assert_eq!(script.membership.leave_request().unwrap().member_id, "m");
    // Static members are not given an id to come back with, and stay in their group.
    let mut script = Script::new(Some("i"));
    assert!(matches!(script.action(), Some(Action::Join(_))));
    assert!(!script.membership.awaits_member_id());
}
