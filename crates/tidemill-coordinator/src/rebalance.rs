//! From one generation to the next: gathering members, closing the door, and who is out when time is up.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::action::{Action, Note, Reply};
use crate::error::GroupError;
use crate::group::{Group, Unwritten, refuse_waiting};
use crate::id::{MemberId, Timestamp, TopicName};
use crate::member::{Member, Waiting};
use crate::phase::{Phase, Preparing};
use crate::subscription;

/// When nobody joined again and the group waits for sessions to end, it looks again no sooner than this, whatever
/// rebalance timeout the members asked for: a timeout of zero would be a loop.
const POSTPONED_MIN_MS: i32 = 100;

impl Group {
    /// Something changed that the next generation must know: begins it, or goes on with it.
    pub(crate) fn rebalance(&mut self, now: Timestamp, reason: &'static str, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Dead => {}
            Phase::PreparingRebalance(_) => self.maybe_complete_join(now, out),
            Phase::Empty => self.gather_first_members(now, reason, out),
            Phase::CompletingRebalance { .. } | Phase::Stable { .. } => {
                self.prepare_rebalance(now, reason, out)
            }
        }
    }

    fn gather_first_members(&mut self, now: Timestamp, reason: &'static str, out: &mut Vec<Action>) {
        let delay_ms = self.settings.initial_rebalance_delay_ms.max(0);
        let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
        let deadline = now.after(delay_ms);
        self.note(
            Note::Rebalancing {
                generation: self.generation,
                reason,
            },
            out,
        );
        let initial = Preparing::Initial {
            deadline,
            delay_ms,
            remaining_ms,
            newcomers: false,
        };
        self.enter(Phase::PreparingRebalance(initial), now);
        if delay_ms == 0 {
            self.complete_join(now, out);
        }
    }

    /// Ends the current generation: its members shall join again.
    pub(crate) fn prepare_rebalance(&mut self, now: Timestamp, reason: &'static str, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::CompletingRebalance { .. }) {
            self.fail_syncs(now, GroupError::RebalanceInProgress, out);
        }
        for member in self.members.values_mut() {
            member.owes_sync = false;
        }
        self.note(
            Note::Rebalancing {
                generation: self.generation,
                reason,
            },
            out,
        );
        let deadline = now.after(self.rebalance_timeout_ms());
        self.enter(Phase::PreparingRebalance(Preparing::Rejoin { deadline }), now);
        self.maybe_complete_join(now, out);
    }

    /// Closes the door as soon as everybody is in. The first generation of a group waits for its delay instead.
    pub(crate) fn maybe_complete_join(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let gathers_again = matches!(self.phase, Phase::PreparingRebalance(Preparing::Rejoin { .. }));
        if gathers_again && self.pending.is_empty() && self.members.values().all(Member::awaits_join) {
            self.complete_join(now, out);
        }
    }

    fn complete_join(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        // A static member that is not back keeps its place until its session ends: it may be restarting.
        let absent = self
            .members
            .values()
            .filter(|m| !m.awaits_join() && m.instance.is_none());
        for id in absent.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.remove_member(&id, "it did not join again in time", out);
        }
        if !self.members.is_empty() && !self.elect_leader() {
            let wait_ms = self.rebalance_timeout_ms().max(POSTPONED_MIN_MS);
            self.phase = Phase::PreparingRebalance(Preparing::Rejoin {
                deadline: now.after(wait_ms),
            });
            return;
        }
        self.begin_generation(now, out);
    }

    /// A leader must be here to divide the work. Whether there is one.
    fn elect_leader(&mut self) -> bool {
        let here = |id: &MemberId| self.members.get(id).is_some_and(Member::awaits_join);
        if !self.leader.as_ref().is_some_and(here) {
            let Some(next) = self.members.values().find(|member| member.awaits_join()) else {
                return false;
            };
            self.leader = Some(next.id.clone());
        }
        true
    }

    fn begin_generation(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        // After two thousand million generations Kafka's number would turn negative and lock everybody out.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.select_protocol();
        self.subscribed = self.subscribed_topics();
        let (members, protocol) = (self.members.len(), self.protocol.clone());
        self.note(
            Note::Generation {
                generation: self.generation,
                members,
                protocol,
            },
            out,
        );
        if self.members.is_empty() {
            self.enter(Phase::Empty, now);
            let record = self.metadata_record(|_| Bytes::new());
            return self.append(vec![record], Unwritten::EmptyGeneration, out);
        }
        let sync_deadline = Some(now.after(self.rebalance_timeout_ms()));
        self.enter(Phase::CompletingRebalance { sync_deadline }, now);
        let waiting: Vec<_> = self
            .members
            .values()
            .map(|member| (member.id.clone(), member.waiting))
            .collect();
        for (id, waiting) in waiting {
            if let Waiting::Join(to) = waiting {
                out.push(Action::Reply {
                    to,
                    reply: Reply::Join(Ok(self.joined(&id))),
                });
            }
        }
        for member in self.members.values_mut() {
            member.waiting = Waiting::Nothing;
            member.is_new = false;
            member.owes_sync = true;
            member.restart_session(now);
        }
    }

    /// The protocol everybody speaks that most members put first among those; between equals, the first by name.
    pub(crate) fn select_protocol(&self) -> Option<String> {
        let spoken_by_all = |name: &str| self.members.values().all(|member| member.speaks(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let first = member.terms.protocols.iter().find(|p| spoken_by_all(&p.name));
            if let Some(protocol) = first {
                *votes.entry(&protocol.name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.to_owned())
    }

    pub(crate) fn subscribed_topics(&self) -> Option<BTreeSet<TopicName>> {
        self.protocol_type.as_ref()?;
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        if !self.is_of_consumers() {
            return None;
        }
        let protocol = self.protocol.as_deref()?;
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            all.extend(subscription::topics(&member.metadata(protocol))?);
        }
        Some(all)
    }

    pub(crate) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(subscription::CONSUMER)
    }

    /// Takes a member (or the promise of one) out of the group, and answers it if it waits.
    pub(crate) fn remove_member(&mut self, id: &MemberId, reason: &'static str, out: &mut Vec<Action>) {
        self.pending.remove(id);
        let Some(mut member) = self.members.remove(id) else {
            return;
        };
        refuse_waiting(&mut member, MemberId::from(""), GroupError::UnknownMemberId, out);
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.note(
            Note::Removed {
                member: id.clone(),
                reason,
            },
            out,
        );
    }

    /// Time passed: ends sessions, promises and phases that are due.
    pub(crate) fn tick(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let lapsed: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &lapsed {
            self.pending.remove(id);
        }
        if !lapsed.is_empty() {
            self.maybe_complete_join(now, out);
        }
        let silent = self
            .members
            .values()
            .filter(|m| m.session_deadline.is_some_and(|at| at <= now));
        for id in silent.map(|member| member.id.clone()).collect::<Vec<_>>() {
            // An earlier one of them may have begun a generation, and with it all its members' sessions.
            let still = self
                .members
                .get(&id)
                .and_then(|member| member.session_deadline)
                .is_some_and(|at| at <= now);
            if still {
                self.remove_member(&id, "its session timed out", out);
                self.rebalance(now, "a member's session timed out", out);
            }
        }
        if self.phase.deadline().is_some_and(|at| at <= now) {
            self.phase_is_due(now, out);
        }
    }

    fn phase_is_due(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        match self.phase {
            Phase::PreparingRebalance(Preparing::Initial {
                delay_ms,
                remaining_ms,
                newcomers: true,
                ..
            }) if remaining_ms > 0 => {
                let next_ms = self.settings.initial_rebalance_delay_ms.max(1).min(remaining_ms);
                self.phase = Phase::PreparingRebalance(Preparing::Initial {
                    deadline: now.after(next_ms),
                    delay_ms: next_ms,
                    remaining_ms: remaining_ms.saturating_sub(delay_ms).max(0),
                    newcomers: false,
                });
            }
            Phase::PreparingRebalance(_) => self.complete_join(now, out),
            Phase::CompletingRebalance { .. } | Phase::Stable { .. } => {
                let owing = self.members.values().filter(|member| member.owes_sync);
                for id in owing.map(|member| member.id.clone()).collect::<Vec<_>>() {
                    self.remove_member(&id, "it did not ask for its assignment in time", out);
                }
                self.prepare_rebalance(now, "members did not ask for their assignment in time", out);
            }
            Phase::Empty | Phase::Dead => {}
        }
    }
}
