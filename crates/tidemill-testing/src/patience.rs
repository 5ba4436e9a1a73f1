//! How often futures are polled that wake themselves and come to nothing.

use tidemill_streams::Task;

use crate::TestError;

/// A future may well wake itself some times, to let others go first; one that does so for ever would never let a test end.
const POLLS_MAX: usize = 10_000;

/// Counts polls in vain.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    polls: usize,
    in_flight: usize,
}

impl Patience {
    /// Takes notice of a poll of the calls of some tasks; an error when too many came to nothing.
    pub(crate) fn polled<'a>(
        &mut self,
        tasks: impl Iterator<Item = &'a Task> + Clone,
        led_to_something: bool,
    ) -> Result<(), TestError> {
        let in_flight = tasks.clone().map(Task::calls_in_flight).sum();
        if led_to_something || in_flight != self.in_flight {
            *self = Self { polls: 0, in_flight };
            return Ok(());
        }
        self.polls += 1;
        if self.polls < POLLS_MAX {
            return Ok(());
        }
        let mut operators: Vec<&str> = tasks.flat_map(Task::operators_in_flight).collect();
        operators.sort_unstable();
        operators.dedup();
        Err(TestError::Spinning {
            operators: operators.join(", "),
            polls: self.polls,
        })
    }
}
