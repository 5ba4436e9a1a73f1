//! For tests: the coordinator of a process that begins with a log.

use crate::*;

/// A coordinator that has read `log` by `now`, and what it does first.
pub(crate) fn reloaded(
    settings: GroupSettings,
    log: &[Record],
    now: Timestamp,
) -> (Coordinator, Vec<Action>) {
    let mut coordinator = Coordinator::new(settings);
    for record in log {
        coordinator
            .replay(now, None, Some(&record.key), record.value.as_deref())
            .unwrap();
    }
    let mut actions = Vec::new();
    coordinator.loaded(now, &mut actions);
    (coordinator, actions)
}
