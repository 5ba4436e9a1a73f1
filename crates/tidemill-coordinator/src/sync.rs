//! `SyncGroup`: the leader's assignment reaches the log, then the members.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::action::{Action, Assigned, Note, Reply};
use crate::error::GroupError;
use crate::event::SyncRequest;
use crate::group::{Group, Unwritten, refuse_waiting};
use crate::id::{MemberId, ReplyTo, Timestamp};
use crate::member::Waiting;
use crate::phase::Phase;

impl Group {
    pub(crate) fn sync(&mut self, now: Timestamp, request: SyncRequest, to: ReplyTo, out: &mut Vec<Action>) {
        if let Err(error) = self.check_sync(&request) {
            return out.push(Action::Reply {
                to,
                reply: Reply::Sync(Err(error)),
            });
        }
        self.has_asked(&request.member);
        match self.phase {
            Phase::CompletingRebalance { .. } => {
                if let Some(member) = self.members.get_mut(&request.member) {
                    refuse_waiting(
                        member,
                        request.member.clone(),
                        GroupError::RebalanceInProgress,
                        out,
                    );
                    member.waiting = Waiting::Sync(to);
                    member.session_deadline = None;
                }
                if self.is_leader(&request.member) {
                    self.store_assignments(request.assignments, out);
                }
            }
            _ => {
                self.keep_alive(now, &request.member);
                let assignment = self
                    .members
                    .get(&request.member)
                    .map(|m| m.assignment.clone())
                    .unwrap_or_default();
                out.push(Action::Reply {
                    to,
                    reply: Reply::Sync(Ok(self.assigned(assignment))),
                });
            }
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), GroupError> {
        if self.phase == Phase::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.check_member(&request.member, request.instance.as_ref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differ = |theirs: &Option<String>, ours: &Option<String>| {
            theirs.is_some() && ours.is_some() && theirs != ours
        };
        if differ(&request.protocol_type, &self.protocol_type) || differ(&request.protocol, &self.protocol) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMemberId),
            Phase::PreparingRebalance(_) => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn has_asked(&mut self, id: &MemberId) {
        if let Some(member) = self.members.get_mut(id) {
            member.owes_sync = false;
        }
        if let Phase::CompletingRebalance { sync_deadline } | Phase::Stable { sync_deadline } =
            &mut self.phase
            && self.members.values().all(|member| !member.owes_sync)
        {
            *sync_deadline = None;
        }
    }

    fn store_assignments(&mut self, assignments: Vec<(MemberId, Bytes)>, out: &mut Vec<Action>) {
        let mut assignments: BTreeMap<MemberId, Bytes> = assignments.into_iter().collect();
        assignments.retain(|id, _| self.members.contains_key(id));
        let record = self.metadata_record(|member| assignments.get(&member.id).cloned().unwrap_or_default());
        let then = Unwritten::Assignment {
            generation: self.generation,
            assignments,
        };
        self.append(vec![record], then, out);
    }

    /// The assignment is in the log: everybody who asked gets theirs, unless the next generation has begun meanwhile.
    pub(crate) fn assignments_written(
        &mut self,
        now: Timestamp,
        generation: i32,
        mut assignments: BTreeMap<MemberId, Bytes>,
        out: &mut Vec<Action>,
    ) {
        let Phase::CompletingRebalance { sync_deadline } = self.phase else {
            return;
        };
        if generation != self.generation {
            return;
        }
        self.enter(Phase::Stable { sync_deadline }, now);
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
            if let Waiting::Sync(to) = member.waiting {
                let (protocol_type, protocol) = (protocol_type.clone(), protocol.clone());
                let assigned = Assigned {
                    protocol_type,
                    protocol,
                    assignment: member.assignment.clone(),
                };
                out.push(Action::Reply {
                    to,
                    reply: Reply::Sync(Ok(assigned)),
                });
                member.waiting = Waiting::Nothing;
                member.restart_session(now);
            }
        }
        self.note(Note::Stable { generation }, out);
    }

    /// The assignment is not in the log: everybody who asked is told, and the group starts over.
    pub(crate) fn assignments_lost(
        &mut self,
        now: Timestamp,
        generation: i32,
        error: GroupError,
        out: &mut Vec<Action>,
    ) {
        if matches!(self.phase, Phase::CompletingRebalance { .. }) && generation == self.generation {
            self.fail_syncs(now, error, out);
            self.prepare_rebalance(now, "the assignment could not be stored", out);
        }
    }

    /// Takes every assignment back, and tells the members who wait for theirs.
    pub(crate) fn fail_syncs(&mut self, now: Timestamp, error: GroupError, out: &mut Vec<Action>) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if matches!(member.waiting, Waiting::Sync(_)) {
                let id = member.id.clone();
                refuse_waiting(member, id, error, out);
                member.restart_session(now);
            }
        }
    }
}
