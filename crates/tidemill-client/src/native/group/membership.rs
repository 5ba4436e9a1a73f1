//! One member's part in the classic group protocol, eager. Pure: events and time in, actions and news out.
//!
//! ```text
//!             ┌────────────────────────── released ◀───────────────┐
//!             ▼                                                    │
//!  Joining ──joined──▶ Counting (leader) ──▶ Syncing ──synced──▶ Stable ──rebalance──▶ Revoking
//!     ▲                                                            │  no longer a member   │
//!     └───────────────────── released ◀──────── Lost ◀─────────────┴───────────────────────┘
//! ```
//! A member that owns nothing skips Revoking and Lost: there is nothing to give up.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use tidemill_protocol::messages::heartbeat::HeartbeatRequest;
use tidemill_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use tidemill_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use tidemill_protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use tidemill_protocol::{ErrorCode, KString};

use super::assignor::{Assignor, Candidate};
use super::protocol::{Assignment, MemberSubscription, PROTOCOL_TYPE};
use crate::native::connection::Backoff;
use crate::native::settings::GroupSettings;
use crate::{Event as News, TopicPartition, TransportError};

/// What a member does.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Joining,
    /// We lead, and ask how many partitions there are.
    Counting(Vec<Candidate>),
    Syncing(Vec<SyncGroupRequestAssignment>),
    Stable,
    Revoking,
    Lost,
    /// For good: left, or refused.
    Out,
}

/// What happened.
pub(super) enum Event {
    Joined(Result<JoinGroupResponse, String>),
    /// Partition counts of the topics that were asked for.
    Counted(Result<BTreeMap<String, i32>, String>),
    Synced(Result<SyncGroupResponse, String>),
    Beaten(Result<ErrorCode, String>),
    /// The partitions were given up.
    Released,
    /// The coordinator refused a commit as that of no member.
    Fenced,
    /// The member goes.
    Left,
}

/// What is to be asked of the coordinator or cluster. One at a time.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Join(JoinGroupRequest),
    Count(Vec<String>),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    /// To be sent without waiting for the answer.
    Leave(LeaveGroupRequest),
}

/// The state of one member.
pub(super) struct Membership {
    group: KString,
    topics: Vec<String>,
    settings: GroupSettings,
    assignor: Assignor,
    phase: Phase,
    member_id: KString,
    generation: i32,
    owned: Vec<TopicPartition>,
    // What the caller has yet to hear, in order.
    news: VecDeque<News>,
    failure: Option<TransportError>,
    // A request is under way, and its answer will be an event.
    is_asking: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
    next_heartbeat: Instant,
    heard: Instant,
    polled: Instant,
    // The counts by which this member, as leader, shared partitions out.
    shared_out: Option<BTreeMap<String, i32>>,
    recount_at: Instant,
    leaving: Option<LeaveGroupRequest>,
    // Nothing more is to be asked for: the member is about to go.
    is_closing: bool,
    // Since when members with another assignor keep this one out.
    others_since: Option<Instant>,
}

impl Membership {
    pub(super) fn new(
        group: &str,
        topics: &[String],
        settings: GroupSettings,
        backoff: Backoff,
        now: Instant,
    ) -> Self {
        Self {
            group: group.into(),
            topics: topics.to_vec(),
            assignor: Assignor::Range,
            phase: Phase::Joining,
            member_id: KString::default(),
            generation: -1,
            owned: Vec::new(),
            news: VecDeque::new(),
            failure: None,
            is_asking: false,
            not_before: None,
            backoff,
            next_heartbeat: now,
            heard: now,
            polled: now,
            shared_out: None,
            recount_at: now,
            leaving: None,
            is_closing: false,
            others_since: None,
            settings,
        }
    }

    /// The caller polls: it lives.
    pub(super) fn polled(&mut self, now: Instant) {
        self.polled = now;
    }

    pub(super) fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Takes an error that no retry mends, so that it is told once.
    pub(super) fn take_failure(&mut self) -> Result<(), TransportError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    pub(super) fn identity(&self) -> (KString, i32) {
        (self.member_id.clone(), self.generation)
    }

    /// Whether commits of this member may still be taken.
    pub(super) fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Stable | Phase::Revoking)
    }

    /// The member goes as soon as it is known by which id.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
    }

    /// Whether the coordinator is about to give this member an id. A group waits for whoever it gave one until that
    /// member's session times out, so to go before is to hold the others up.
    pub(super) fn awaits_member_id(&self) -> bool {
        let joins = self.phase == Phase::Joining && self.is_asking;
        joins && self.member_id.is_empty() && self.settings.instance_id.is_none()
    }

    /// What to do now, if anything.
    pub(super) fn next_action(&mut self, now: Instant) -> Option<Action> {
        self.look_at_clocks(now);
        if let Some(request) = self.leaving.take() {
            return Some(Action::Leave(request));
        }
        if self.is_closing || self.is_asking || self.not_before.is_some_and(|until| until > now) {
            return None;
        }
        let action = match &self.phase {
            Phase::Joining => Action::Join(self.join_request()),
            Phase::Counting(candidates) => Action::Count(wanted_topics(candidates)),
            Phase::Syncing(assignments) => Action::Sync(self.sync_request(assignments.clone())),
            Phase::Stable if self.shared_out.is_some() && self.recount_at <= now => {
                Action::Count(self.shared_out.iter().flat_map(BTreeMap::keys).cloned().collect())
            }
            Phase::Stable | Phase::Revoking if self.next_heartbeat <= now => {
                Action::Heartbeat(self.heartbeat())
            }
            _ => return None,
        };
        self.is_asking = true;
        Some(action)
    }

    /// When to ask for the next action, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let poll = self.polled + self.settings.poll_interval_max;
        match &self.phase {
            Phase::Out | Phase::Lost => None,
            _ if self.is_closing => None,
            Phase::Stable | Phase::Revoking if self.is_asking => Some(poll),
            Phase::Stable | Phase::Revoking => {
                let due = self
                    .next_heartbeat
                    .max(self.not_before.unwrap_or(self.next_heartbeat));
                Some(due.min(poll))
            }
            _ if self.is_asking => None,
            _ => self.not_before,
        }
    }

    fn look_at_clocks(&mut self, now: Instant) {
        if !self.is_member() {
            return;
        }
        if self.polled + self.settings.poll_interval_max < now {
            tracing::warn!(
                "group {}: no poll in {:?} (`max.poll.interval.ms`); leaving",
                self.group,
                self.settings.poll_interval_max
            );
            self.leaving = self.leave_request();
            self.polled = now;
            self.lose();
        } else if self.heard + self.settings.session_timeout < now {
            tracing::warn!(
                "group {}: nothing heard of the coordinator in {:?}",
                self.group,
                self.settings.session_timeout
            );
            self.lose();
        }
    }

    fn join_request(&self) -> JoinGroupRequest {
        let subscription = MemberSubscription {
            topics: self.topics.clone(),
            user_data: self.assignor.user_data(),
        };
        let millis = |d: std::time::Duration| i32::try_from(d.as_millis()).unwrap_or(i32::MAX);
        JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: millis(self.settings.session_timeout),
            rebalance_timeout_ms: millis(self.settings.poll_interval_max),
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: self.assignor.name().into(),
                // Too many topics for the wire would have been refused by the topics' names before.
                metadata: subscription.encode().unwrap_or_default(),
            }],
            reason: None,
        }
    }

    fn sync_request(&self, assignments: Vec<SyncGroupRequestAssignment>) -> SyncGroupRequest {
        SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id(),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(self.assignor.name().into()),
            assignments,
        }
    }

    fn heartbeat(&self) -> HeartbeatRequest {
        HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id(),
        }
    }

    /// `None`: there is nothing to leave, or this is a static member, which is waited for.
    pub(super) fn leave_request(&self) -> Option<LeaveGroupRequest> {
        if self.member_id.is_empty() || self.settings.instance_id.is_some() {
            return None;
        }
        let member_id = self.member_id.clone();
        Some(LeaveGroupRequest {
            group_id: self.group.clone(),
            member_id: member_id.clone(),
            members: vec![MemberIdentity {
                member_id,
                group_instance_id: None,
                reason: None,
            }],
        })
    }

    pub(super) fn instance_id(&self) -> Option<KString> {
        self.settings.instance_id.as_ref().map(KString::from)
    }

    /// Takes notice of what happened.
    pub(super) fn handle(&mut self, now: Instant, event: Event) {
        if !matches!(event, Event::Released | Event::Fenced | Event::Left) {
            self.is_asking = false;
        }
        if self.phase == Phase::Out {
            return;
        }
        match event {
            Event::Joined(answer) => self.joined(now, answer),
            Event::Counted(answer) => self.counted(now, answer),
            Event::Synced(answer) => self.synced(now, answer),
            Event::Beaten(answer) => self.beaten(now, answer),
            Event::Released => {
                self.owned.clear();
                if matches!(self.phase, Phase::Revoking | Phase::Lost) {
                    self.phase = Phase::Joining;
                    self.not_before = None;
                }
            }
            Event::Fenced => {
                if self.is_member() {
                    self.lose();
                }
            }
            Event::Left => self.phase = Phase::Out,
        }
    }

    fn joined(&mut self, now: Instant, answer: Result<JoinGroupResponse, String>) {
        if self.phase != Phase::Joining {
            return;
        }
        let response = match answer {
            Ok(response) => response,
            Err(reason) => return self.again(now, &reason),
        };
        match response.error_code {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                self.member_id = response.member_id.detach();
                return;
            }
            ErrorCode::InconsistentGroupProtocol if self.waits_for_others(now) => {
                return self.again(now, "members with another assignor are in the group");
            }
            code => return self.refused(now, "join the group", code),
        }
        self.backoff.reset();
        self.not_before = None;
        self.others_since = None;
        self.member_id = response.member_id.detach();
        self.generation = response.generation_id;
        self.heard = now;
        self.shared_out = None;
        if response.leader != response.member_id || response.skip_assignment {
            self.phase = Phase::Syncing(Vec::new());
            return;
        }
        let mut candidates = Vec::with_capacity(response.members.len());
        for member in response.members {
            match MemberSubscription::decode(&member.metadata) {
                Ok(subscription) => candidates.push(Candidate {
                    member_id: member.member_id.to_string(),
                    instance_id: member.group_instance_id.map(|id| id.to_string()),
                    subscription,
                }),
                Err(error) => {
                    tracing::warn!(
                        "group {}: member {} sent a broken subscription: {error}",
                        self.group,
                        member.member_id
                    );
                }
            }
        }
        self.phase = Phase::Counting(candidates);
    }

    /// Members with another assignor may be there no more: a Kafka Streams program does not leave its group when it is
    /// stopped, and stays in it until its session times out. They are waited for as long as for a rebalance.
    fn waits_for_others(&mut self, now: Instant) -> bool {
        let since = *self.others_since.get_or_insert_with(|| {
            tracing::warn!(
                "group {} has members with another assignor: waiting for {:?} at most that they leave or time out",
                self.group,
                self.settings.poll_interval_max
            );
            now
        });
        now < since + self.settings.poll_interval_max
    }

    fn counted(&mut self, now: Instant, answer: Result<BTreeMap<String, i32>, String>) {
        let counts = match answer {
            Ok(counts) => counts,
            // Without an answer what was shared out stays.
            Err(_) if self.phase == Phase::Stable => {
                self.recount_at = now + self.settings.metadata_age_max;
                return;
            }
            Err(reason) => return self.again(now, &reason),
        };
        self.recount_at = now + self.settings.metadata_age_max;
        match std::mem::replace(&mut self.phase, Phase::Joining) {
            Phase::Counting(candidates) => {
                let assignments = self.assignor.assign(&counts, candidates);
                let assignment = |(member_id, share): (String, Assignment)| SyncGroupRequestAssignment {
                    member_id: member_id.into(),
                    assignment: share.encode().unwrap_or_default(),
                };
                self.phase = Phase::Syncing(assignments.into_iter().map(assignment).collect());
                let wanted = |topic: String| (topic.clone(), counts.get(&topic).copied().unwrap_or(0));
                let topics = self.topics.iter().chain(counts.keys()).cloned();
                self.shared_out = Some(topics.map(wanted).collect());
            }
            Phase::Stable => {
                self.phase = Phase::Stable;
                let differs = self.shared_out.as_ref().is_some_and(|before| {
                    before
                        .iter()
                        .any(|(topic, count)| counts.get(topic).copied().unwrap_or(0) != *count)
                });
                if differs {
                    tracing::info!("group {}: topics have other partitions now", self.group);
                    self.revoke();
                }
            }
            other => self.phase = other,
        }
    }

    fn synced(&mut self, now: Instant, answer: Result<SyncGroupResponse, String>) {
        if !matches!(self.phase, Phase::Syncing(_)) {
            return;
        }
        let response = match answer {
            Ok(response) if response.error_code == ErrorCode::None => response,
            Ok(response) => {
                self.phase = Phase::Joining;
                return self.refused(now, "sync the group", response.error_code);
            }
            Err(reason) => {
                self.phase = Phase::Joining;
                return self.again(now, &reason);
            }
        };
        match Assignment::decode(&response.assignment) {
            Ok(assignment) => {
                self.phase = Phase::Stable;
                self.heard = now;
                self.next_heartbeat = now + self.settings.heartbeat_interval;
                self.owned = assignment.partitions;
                self.news.push_back(News::Assigned(self.owned.clone()));
            }
            Err(error) => {
                self.phase = Phase::Joining;
                self.again(now, &format!("the leader sent a broken assignment: {error}"));
            }
        }
    }

    fn beaten(&mut self, now: Instant, answer: Result<ErrorCode, String>) {
        self.next_heartbeat = now + self.settings.heartbeat_interval;
        if !self.is_member() {
            return;
        }
        match answer {
            Ok(ErrorCode::None) => {
                self.heard = now;
                self.backoff.reset();
                self.not_before = None;
            }
            Ok(ErrorCode::RebalanceInProgress) => {
                self.heard = now;
                if self.phase == Phase::Stable {
                    self.revoke();
                }
            }
            Ok(code) if is_coordinators(code) => {
                self.next_heartbeat = now;
                self.again(now, &code.to_string());
            }
            Ok(code) => {
                self.lose();
                self.refused(now, "heartbeat", code);
            }
            Err(reason) => {
                self.next_heartbeat = now;
                self.again(now, &reason);
            }
        }
    }

    fn again(&mut self, now: Instant, reason: &str) {
        tracing::debug!("group {}: {reason}", self.group);
        self.not_before = Some(now + self.backoff.next_wait());
    }

    fn refused(&mut self, now: Instant, operation: &'static str, code: ErrorCode) {
        match code {
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                self.member_id = KString::default();
                self.generation = -1;
            }
            // Another join is all that it takes.
            ErrorCode::RebalanceInProgress => {}
            code if is_coordinators(code) || code.is_retriable() => self.again(now, &code.to_string()),
            code => {
                self.phase = Phase::Out;
                self.failure = Some(TransportError::Cluster {
                    operation,
                    reason: format!("group {}: {code}", self.group),
                });
            }
        }
    }

    /// The group rebalances: what is owned has to be given up before joining again.
    fn revoke(&mut self) {
        if self.owned.is_empty() {
            self.phase = Phase::Joining;
        } else {
            self.phase = Phase::Revoking;
            self.news.push_back(News::Revoking(self.owned.clone()));
        }
    }

    /// We are no member any more. What was not heard of yet need not be.
    fn lose(&mut self) {
        self.member_id = KString::default();
        self.generation = -1;
        self.not_before = None;
        let unheard = self.news.iter().any(|news| matches!(news, News::Assigned(_)));
        self.news.clear();
        let lost = std::mem::take(&mut self.owned);
        if lost.is_empty() || unheard {
            self.phase = Phase::Joining;
        } else {
            self.phase = Phase::Lost;
            self.news.push_back(News::Lost(lost));
        }
    }
}

fn wanted_topics(candidates: &[Candidate]) -> Vec<String> {
    let mut topics: Vec<String> = candidates
        .iter()
        .flat_map(|c| c.subscription.topics.clone())
        .collect();
    topics.sort_unstable();
    topics.dedup();
    topics
}

/// The coordinator moved, or is not ready.
pub(super) fn is_coordinators(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress
    )
}

#[cfg(test)]
mod tests;
