//! How often and when something that failed is tried again.

use std::time::Duration;

/// How often and when something that failed is tried again. Pauses double from the first to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    attempts: u32,
    first_pause: Duration,
    longest_pause: Duration,
}

/// The first pause where none is given.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest where none is given.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Retry {
    /// At most this many attempts in all, with pauses of 100 ms, 200 ms and so on to 10 s between them.
    ///
    /// ```
    /// # use tidemill_streams::Retry;
    /// # use tidemill_data::{MILLISECOND, SECOND};
    /// let retry = Retry::attempts(5).pauses(10 * MILLISECOND, SECOND);
    /// ```
    #[must_use]
    pub const fn attempts(attempts: u32) -> Self {
        Self {
            attempts,
            first_pause: FIRST_PAUSE,
            longest_pause: LONGEST_PAUSE,
        }
    }

    /// With these pauses: the first, and the longest that doubling it leads to.
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicU32, Ordering};
    /// # use tidemill_data::{MILLISECOND, SECOND, Topic};
    /// # use tidemill_streams::{App, InFlight, Retry};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// # let calls = AtomicU32::new(0);
    /// let retry = Retry::attempts(3).pauses(10 * MILLISECOND, SECOND);
    /// app.stream(&IN)
    ///     .try_map_async(InFlight::ordered(1).retry(retry), move |_, value| {
    ///         let call = calls.fetch_add(1, Ordering::Relaxed);
    ///         std::future::ready(if call < 2 { Err("not yet".into()) } else { Ok(value) })
    ///     })
    ///     .to(&OUT);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.advance(10 * MILLISECOND);
    /// assert!(test.read(&OUT).is_empty());
    /// test.advance(20 * MILLISECOND); // twice the pause before
    /// assert_eq!(test.read(&OUT).len(), 1);
    /// ```
    #[must_use]
    pub const fn pauses(self, first: Duration, longest: Duration) -> Self {
        Self {
            first_pause: first,
            longest_pause: longest,
            ..self
        }
    }

    /// The pause after this many failed attempts; `None` when there is no further attempt.
    pub(crate) fn pause_after(&self, failed: u32) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        let doubled = self
            .first_pause
            .saturating_mul(1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX));
        Some(doubled.min(self.longest_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_longest_and_end_with_the_attempts() {
        let ms = Duration::from_millis;
        let retry = Retry::attempts(5).pauses(ms(10), ms(35));
        let pauses: Vec<_> = (1..=5).map(|failed| retry.pause_after(failed)).collect();
        assert_eq!(
            pauses,
            [Some(ms(10)), Some(ms(20)), Some(ms(35)), Some(ms(35)), None]
        );
        assert_eq!(Retry::attempts(u32::MAX).pause_after(70), Some(LONGEST_PAUSE));
    }
}
