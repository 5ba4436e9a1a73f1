//! From the classic protocol to the consumer protocol and back, while members work on
//! (`group.consumer.migration.policy=bidirectional`).

use std::sync::Arc;

use super::member::{ClassicPart, ConsumerMember};
use super::record::ConsumerRecord;
use super::topics::TopicImage;
use super::{Change, Consumers, Partitions};
use crate::action::{Action, Note};
use crate::error::GroupError;
use crate::group::{Group, Unwritten, refuse_waiting};
use crate::id::Timestamp;
use crate::member::{Member, Terms, Waiting};
use crate::phase::Phase;
use crate::record::Key;
use crate::subscription::{self, Subscription};

impl Group {
    /// The group of the classic protocol as one of the consumer protocol: everybody keeps what they have.
    pub(super) fn upgraded(
        &self,
        topics: &Arc<TopicImage>,
        change: &mut Change<'_>,
    ) -> Result<Consumers, GroupError> {
        let mut consumers = Consumers {
            epoch: self.generation,
            target_epoch: self.generation,
            topics: Arc::clone(topics),
            ..Consumers::default()
        };
        if self.generation > 0 {
            change.records.push(Key::Group(self.id.clone()).tombstone());
        }
        if self.members.is_empty() {
            return Ok(consumers);
        }
        if !self.is_of_consumers() {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        if self.members.len() >= change.settings.consumer_size_max {
            return Err(GroupError::GroupMaxSizeReached);
        }
        for member in self.members.values() {
            let moved = self
                .moved(member, topics)
                .ok_or(GroupError::InconsistentGroupProtocol)?;
            change.write(ConsumerRecord::Member(Box::new(moved.clone())));
            change.write(ConsumerRecord::Target {
                member: moved.id.clone(),
                partitions: moved.assigned.clone(),
            });
            change.write(ConsumerRecord::Current(Box::new(moved.clone())));
            consumers
                .target
                .insert(moved.id.clone(), moved.assigned.clone().into());
            consumers.sessions.insert(
                moved.id.clone(),
                change.now.after(moved.session_timeout_ms(change.settings)),
            );
            consumers.insert(moved);
        }
        consumers.topics_hash = consumers.hash();
        change.write(ConsumerRecord::TargetEpoch(consumers.target_epoch));
        change.write(ConsumerRecord::Group {
            epoch: consumers.epoch,
            topics_hash: consumers.topics_hash,
        });
        Ok(consumers)
    }

    fn moved(&self, member: &Member, topics: &TopicImage) -> Option<ConsumerMember> {
        let Subscription { names, .. } = subscription_of(&member.terms)?;
        let assigned = subscription::read_assignment(&member.assignment).unwrap_or_default();
        let assigned: Partitions = assigned
            .into_iter()
            .filter_map(|(name, partition)| Some((topics.find(&name)?.id, partition)))
            .collect();
        Some(ConsumerMember {
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            names: names.into_iter().collect(),
            rebalance_timeout_ms: member.terms.rebalance_timeout_ms,
            classic: Some(ClassicPart {
                session_timeout_ms: member.terms.session_timeout_ms,
                protocols: member.terms.protocols.clone(),
            }),
            epoch: self.generation,
            previous_epoch: self.generation,
            assigned,
            ..ConsumerMember::new(member.id.clone())
        })
    }

    /// Lets go of what the classic protocol knows: its members are members of the other kind now, and those who wait join
    /// again.
    pub(super) fn end_classic(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.consumers.is_some() {
            return;
        }
        for (id, mut member) in std::mem::take(&mut self.members) {
            refuse_waiting(&mut member, id, GroupError::RebalanceInProgress, out);
        }
        self.statics.clear();
        self.pending.clear();
        self.leader = None;
        self.protocol = None;
        self.subscribed = None;
        self.enter(Phase::Empty, now);
    }

    /// Goes back to the classic protocol once the last member of the other one has left.
    pub(super) fn downgrade_if_due(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let Some(consumers) = &self.consumers else { return };
        let all_classic = consumers.members.values().all(|member| member.classic.is_some());
        if consumers.members.is_empty() || !all_classic || self.is_writing() {
            return;
        }
        let Some(consumers) = self.consumers.take() else {
            return;
        };
        let mut records = consumers.tombstones(&self.id);
        self.generation = consumers.epoch;
        self.protocol_type = Some(subscription::CONSUMER.to_owned());
        for member in consumers.members.values() {
            let member = classic_again(&consumers, member, now);
            if let Some(instance) = &member.instance {
                self.statics.insert(instance.clone(), member.id.clone());
            }
            self.leader.get_or_insert_with(|| member.id.clone());
            self.members.insert(member.id.clone(), member);
        }
        self.protocol = self.select_protocol();
        self.subscribed = self.subscribed_topics();
        self.enter(Phase::Stable { sync_deadline: None }, now);
        records.push(self.metadata_record(|member| member.assignment.clone()));
        self.append(records, Unwritten::Downgrade(consumers), out);
        self.prepare_rebalance(now, "the last member of the consumer protocol left", out);
    }

    /// The way back could not be written: the group stays what it was, and its members join it again.
    pub(crate) fn downgrade_lost(
        &mut self,
        now: Timestamp,
        consumers: Box<Consumers>,
        out: &mut Vec<Action>,
    ) {
        let what = "a change of protocol";
        self.note(Note::WriteFailed { what }, out);
        self.end_classic(now, out);
        self.consumers = Some(consumers);
    }
}

fn classic_again(consumers: &Consumers, member: &ConsumerMember, now: Timestamp) -> Member {
    let classic = member.classic.clone().unwrap_or_else(|| ClassicPart {
        session_timeout_ms: member.rebalance_timeout_ms,
        protocols: Vec::new(),
    });
    let target = consumers.target.get(&member.id);
    let assigned = target.map_or(&member.assigned, |target| target);
    let mut again = Member {
        id: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        assignment: consumers.assignment_bytes(assigned),
        waiting: Waiting::Nothing,
        is_new: false,
        owes_sync: false,
        session_deadline: None,
        terms: Terms {
            session_timeout_ms: classic.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            protocols: classic.protocols,
        },
    };
    again.restart_session(now);
    again
}

/// What a member of the classic protocol subscribes to, in the first of its protocols that says so.
pub(super) fn subscription_of(terms: &Terms) -> Option<Subscription> {
    terms
        .protocols
        .iter()
        .find_map(|protocol| subscription::read(&protocol.metadata))
}
