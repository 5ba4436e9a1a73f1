//! What has to be done to a store before its task may work.

use std::time::Duration;

use tidemill_data::Timestamp;
use tidemill_store::{ChangelogPosition, TopicId};

/// What has to be done to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing.
    Current,
    /// Read on from here.
    Continue(i64),
    /// Empty it and read from the start.
    Rebuild(String),
}

/// The changelog partition as the cluster has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) topic_id: TopicId,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

pub(crate) fn decide(
    position: Option<ChangelogPosition>,
    extent: Extent,
    now: Timestamp,
    delete_retention: Duration,
) -> Decision {
    let Some(position) = position else {
        return if extent.start < extent.end {
            Decision::Continue(extent.start)
        } else {
            Decision::Current
        };
    };
    let unknown = TopicId::default();
    if position.topic_id != extent.topic_id && position.topic_id != unknown && extent.topic_id != unknown {
        return Decision::Rebuild("its changelog topic was deleted and made again".into());
    }
    if position.next_offset < extent.start || position.next_offset > extent.end {
        let (at, Extent { start, end, .. }) = (position.next_offset, extent);
        return Decision::Rebuild(format!(
            "it stands at offset {at}, and its changelog holds {start} to {end}"
        ));
    }
    if position.next_offset == extent.end {
        return Decision::Current;
    }
    // Tombstones are gone from the changelog after this time, so deletions may be missed.
    if position.committed_at.saturating_add(delete_retention) < now {
        return Decision::Rebuild("its last commit is older than `delete.retention.ms`".into());
    }
    Decision::Continue(position.next_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const ID: TopicId = TopicId([1; 16]);

    fn at(next_offset: i64) -> Option<ChangelogPosition> {
        Some(ChangelogPosition {
            topic_id: ID,
            next_offset,
            committed_at: Timestamp::from_millis(0),
        })
    }

    fn decided(position: Option<ChangelogPosition>, start: i64, end: i64, now_ms: i64) -> Decision {
        decide(
            position,
            Extent {
                topic_id: ID,
                start,
                end,
            },
            Timestamp::from_millis(now_ms),
            DAY,
        )
    }

    #[test]
    fn a_store_goes_on_from_its_own_position() {
        assert_eq!(decided(at(5), 0, 9, 0), Decision::Continue(5));
        assert_eq!(decided(at(9), 0, 9, 0), Decision::Current);
        assert_eq!(decided(None, 3, 9, 0), Decision::Continue(3));
        assert_eq!(decided(None, 0, 0, 0), Decision::Current);
    }

    #[test]
    fn a_store_that_cannot_go_on_is_rebuilt_and_the_reason_said() {
        let reason = |decision| match decision {
            Decision::Rebuild(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            reason(decided(at(2), 3, 9, 0)),
            "it stands at offset 2, and its changelog holds 3 to 9"
        );
        assert!(reason(decided(at(10), 0, 9, 0)).contains("offset 10"));
        assert!(reason(decided(at(5), 0, 9, 86_400_001)).contains("delete.retention.ms"));
        let other = Extent {
            topic_id: TopicId([2; 16]),
            start: 0,
            end: 9,
        };
        assert!(reason(decide(at(5), other, Timestamp::from_millis(0), DAY)).contains("made again"));
    }

    #[test]
    fn an_old_store_that_misses_nothing_is_kept() {
        assert_eq!(decided(at(9), 0, 9, 86_400_001), Decision::Current);
    }
}
