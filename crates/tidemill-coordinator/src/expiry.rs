//! Offsets that are kept no longer (`offsets.retention.minutes`, KIP-211), and groups that have nothing left.

use crate::action::{Action, Note};
use crate::group::Group;
use crate::id::{Timestamp, TopicName};
use crate::offsets::CommittedOffset;
use crate::phase::Phase;

/// From when on the retention of an offset counts.
enum KeptSince {
    /// The group lost its last member then; before groups wrote that down, the commit itself counts.
    GroupEmptied(Option<Timestamp>),
    Commit,
    /// Members may need it at any time.
    Always,
}

impl Group {
    pub(crate) fn expire(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.phase == Phase::Dead {
            return;
        }
        let since = self.kept_since();
        let expired: Vec<(TopicName, i32)> = self
            .offsets
            .iter()
            .filter(|(topic, partition, offset)| {
                !self.is_subscribed(topic)
                    && !self.offsets.is_pending(topic, *partition)
                    && self.is_expired(now, &since, offset)
            })
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect();
        let nothing_left =
            expired.len() == self.offsets.iter().count() && self.offsets.pending().next().is_none();
        if !expired.is_empty() {
            self.note(Note::OffsetsExpired { count: expired.len() }, out);
        }
        // A commit or a generation on its way to the log is something left.
        let members = self
            .consumers
            .as_ref()
            .is_some_and(|consumers| !consumers.is_empty());
        if nothing_left
            && !members
            && self.phase == Phase::Empty
            && self.pending.is_empty()
            && !self.is_writing()
        {
            self.bury(None, out);
        } else if !expired.is_empty() {
            self.forget(expired, None, out);
        }
    }

    fn kept_since(&self) -> KeptSince {
        if self.consumers.is_some() {
            return KeptSince::Commit;
        }
        match (&self.protocol_type, &self.phase) {
            (None, _) => KeptSince::Commit,
            (Some(_), Phase::Empty) => KeptSince::GroupEmptied(self.since),
            (Some(_), Phase::Stable { .. }) if self.is_of_consumers() && self.subscribed.is_some() => {
                KeptSince::Commit
            }
            _ => KeptSince::Always,
        }
    }

    fn is_expired(&self, now: Timestamp, since: &KeptSince, offset: &CommittedOffset) -> bool {
        let from = match since {
            KeptSince::Always => return false,
            _ if offset.expires_at.is_some_and(|at| at <= now) => return true,
            _ if offset.expires_at.is_some() => return false,
            KeptSince::Commit => offset.committed_at,
            KeptSince::GroupEmptied(at) => at.unwrap_or(offset.committed_at),
        };
        now.0.saturating_sub(from.0) >= self.settings.offsets_retention_ms
    }
}
