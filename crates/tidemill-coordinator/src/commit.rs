//! `OffsetCommit` and `OffsetDelete`, and what becomes of any append once its fate is known.

use std::collections::BTreeSet;

use crate::action::{Action, CommitAnswers, Note, Reply};
use crate::error::{GroupError, WriteFailure};
use crate::event::{CommitRequest, OffsetToCommit};
use crate::group::{Group, Unwritten};
use crate::id::{AppendNumber, ReplyTo, Timestamp, TopicName};
use crate::offsets::CommittedOffset;
use crate::phase::Phase;
use crate::record::{Key, Record};

impl Group {
    pub(crate) fn commit(
        &mut self,
        now: Timestamp,
        request: CommitRequest,
        to: ReplyTo,
        out: &mut Vec<Action>,
    ) {
        if let Err(error) = self.check_commit(&request) {
            return out.push(Action::Reply {
                to,
                reply: Reply::Commit(Err(error)),
            });
        }
        if matches!(self.phase, Phase::Stable { .. } | Phase::PreparingRebalance(_)) {
            self.keep_alive(now, &request.member);
        }
        let expires_at = request
            .retention_ms
            .map(|ms| Timestamp(now.0.saturating_add(ms.max(0))));
        let mut answers = CommitAnswers::with_capacity(request.offsets.len());
        let mut offsets = Vec::with_capacity(request.offsets.len());
        let mut records = Vec::with_capacity(request.offsets.len());
        for OffsetToCommit {
            topic,
            partition,
            offset,
            leader_epoch,
            metadata,
        } in request.offsets
        {
            if metadata.len() > self.settings.offset_metadata_bytes_max {
                answers.push((topic, partition, Err(GroupError::OffsetMetadataTooLarge)));
                continue;
            }
            let committed = CommittedOffset {
                offset,
                leader_epoch,
                metadata,
                committed_at: now,
                expires_at,
            };
            let key = Key::Offset(self.id.clone(), topic.clone(), partition).encode();
            records.push(Record {
                key,
                value: Some(committed.encode()),
            });
            answers.push((topic.clone(), partition, Ok(())));
            offsets.push((topic, partition, committed));
        }
        if records.is_empty() {
            return out.push(Action::Reply {
                to,
                reply: Reply::Commit(Ok(answers)),
            });
        }
        let transaction = request.transaction;
        let then = Unwritten::Commit {
            to,
            transaction,
            offsets,
            answers,
        };
        self.append(records, then, out);
    }

    fn check_commit(&self, request: &CommitRequest) -> Result<(), GroupError> {
        if let Some(consumers) = self.consumers.as_ref().filter(|_| self.phase != Phase::Dead) {
            return consumers.check_commit(request);
        }
        match self.phase {
            Phase::Dead => return Err(GroupError::CoordinatorNotAvailable),
            // Below zero: an administrator, or a consumer that divides its work itself and only keeps its offsets here.
            Phase::Empty if request.generation < 0 => return Ok(()),
            _ => {}
        }
        if request.generation < 0 && request.member.is_empty() && request.instance.is_none() {
            // Producers before KIP-447 do not say for which member they commit: their fencing is the transactional id's.
            return match request.transaction {
                Some(_) => Ok(()),
                None => Err(GroupError::UnknownMemberId),
            };
        }
        self.check_member(&request.member, request.instance.as_ref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        match self.phase {
            // The member is of this generation, but what it commits may not be its own any more.
            Phase::CompletingRebalance { .. } if request.transaction.is_none() => {
                Err(GroupError::RebalanceInProgress)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn delete_offsets(
        &mut self,
        partitions: Vec<(TopicName, i32)>,
        to: ReplyTo,
        out: &mut Vec<Action>,
    ) {
        let refusal = match self.phase {
            Phase::Dead => Some(GroupError::GroupIdNotFound),
            Phase::Empty => None,
            // What members of other kinds of groups read, nobody here can tell.
            _ => Some(GroupError::NonEmptyGroup).filter(|_| !self.is_of_consumers()),
        };
        if let Some(error) = refusal {
            return out.push(Action::Reply {
                to,
                reply: Reply::DeleteOffsets(Err(error)),
            });
        }
        let mut answers = CommitAnswers::with_capacity(partitions.len());
        let kept = self.kept_partitions();
        let mut gone = BTreeSet::new();
        for (topic, partition) in partitions {
            if self.is_subscribed(&topic) {
                answers.push((topic, partition, Err(GroupError::GroupSubscribedToTopic)));
                continue;
            }
            let at = (topic, partition);
            if kept.contains(&at) {
                gone.insert(at.clone());
            }
            let (topic, partition) = at;
            answers.push((topic, partition, Ok(())));
        }
        if gone.is_empty() {
            return out.push(Action::Reply {
                to,
                reply: Reply::DeleteOffsets(Ok(answers)),
            });
        }
        self.forget(gone.into_iter().collect(), Some((to, answers)), out);
    }

    /// Whether a member reads the topic; where the members' metadata cannot tell, consumers are assumed to.
    pub(crate) fn is_subscribed(&self, topic: &TopicName) -> bool {
        if let Some(consumers) = &self.consumers {
            return consumers.is_subscribed(topic);
        }
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    pub(crate) fn forget_topic(&mut self, topic: TopicName, out: &mut Vec<Action>) {
        let partitions: Vec<_> = self
            .kept_partitions()
            .into_iter()
            .filter(|(name, _)| *name == topic)
            .collect();
        if self.phase != Phase::Dead && !partitions.is_empty() {
            self.forget(partitions, None, out);
        }
    }

    /// Writes tombstones for these offsets.
    pub(crate) fn forget(
        &mut self,
        partitions: Vec<(TopicName, i32)>,
        answer: Option<(ReplyTo, CommitAnswers)>,
        out: &mut Vec<Action>,
    ) {
        let key =
            |(topic, partition): &(TopicName, i32)| Key::Offset(self.id.clone(), topic.clone(), *partition);
        let records = partitions
            .iter()
            .map(|partition| key(partition).tombstone())
            .collect();
        self.append(records, Unwritten::OffsetsGone { partitions, answer }, out);
    }

    pub(crate) fn written(&mut self, now: Timestamp, number: AppendNumber, out: &mut Vec<Action>) {
        match self.take_unwritten(number) {
            None | Some(Unwritten::EmptyGeneration) => {}
            Some(Unwritten::Assignment {
                generation,
                assignments,
            }) => {
                self.assignments_written(now, generation, assignments, out);
            }
            Some(Unwritten::Replacement(replacement)) => self.replacement_written(now, replacement, out),
            Some(Unwritten::Commit {
                to,
                transaction,
                offsets,
                answers,
            }) => {
                for (topic, partition, offset) in offsets {
                    match transaction {
                        Some(producer) => self.offsets.set_pending(producer.id, topic, partition, offset),
                        None => self.offsets.set(topic, partition, offset),
                    }
                }
                out.push(Action::Reply {
                    to,
                    reply: Reply::Commit(Ok(answers)),
                });
            }
            Some(Unwritten::OffsetsGone { partitions, answer }) => {
                for (topic, partition) in &partitions {
                    self.offsets.remove(topic, *partition);
                }
                if let Some((to, answers)) = answer {
                    out.push(Action::Reply {
                        to,
                        reply: Reply::DeleteOffsets(Ok(answers)),
                    });
                }
            }
            Some(Unwritten::GroupGone { to: Some(to) }) => {
                out.push(Action::Reply {
                    to,
                    reply: Reply::Delete(Ok(())),
                });
            }
            Some(Unwritten::GroupGone { to: None } | Unwritten::Downgrade(_)) => {}
            Some(Unwritten::Consumers(undo)) => self.consumers_written(now, undo, out),
        }
    }

    pub(crate) fn write_failed(
        &mut self,
        now: Timestamp,
        number: AppendNumber,
        failure: WriteFailure,
        out: &mut Vec<Action>,
    ) {
        match self.take_unwritten(number) {
            None => {}
            // If the broker fails before the next generation, the last written one comes back and its members time out.
            Some(Unwritten::EmptyGeneration) => self.note(
                Note::WriteFailed {
                    what: "an empty generation",
                },
                out,
            ),
            Some(Unwritten::Assignment { generation, .. }) => {
                self.note(
                    Note::WriteFailed {
                        what: "an assignment",
                    },
                    out,
                );
                self.assignments_lost(now, generation, failure.group_error(), out);
            }
            Some(Unwritten::Replacement(replacement)) => {
                self.replacement_lost(now, replacement, failure, out)
            }
            Some(Unwritten::Commit { to, .. }) => {
                self.note(
                    Note::WriteFailed {
                        what: "an offset commit",
                    },
                    out,
                );
                out.push(Action::Reply {
                    to,
                    reply: Reply::Commit(Err(failure.commit_error())),
                });
            }
            Some(Unwritten::OffsetsGone { answer, .. }) => {
                self.note(
                    Note::WriteFailed {
                        what: "a deletion of offsets",
                    },
                    out,
                );
                if let Some((to, _)) = answer {
                    out.push(Action::Reply {
                        to,
                        reply: Reply::DeleteOffsets(Err(failure.group_error())),
                    });
                }
            }
            Some(Unwritten::Consumers(undo)) => self.consumers_lost(undo, failure.group_error(), out),
            Some(Unwritten::Downgrade(consumers)) => self.downgrade_lost(now, consumers, out),
            Some(Unwritten::GroupGone { to }) => {
                self.note(
                    Note::WriteFailed {
                        what: "the group's deletion",
                    },
                    out,
                );
                self.phase = Phase::Empty;
                if let Some(to) = to {
                    out.push(Action::Reply {
                        to,
                        reply: Reply::Delete(Err(failure.group_error())),
                    });
                }
            }
        }
    }
}
