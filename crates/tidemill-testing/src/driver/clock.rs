//! The wall clock, moved by hand.

use std::time::Duration;

use tidemill_data::Timestamp;

use super::{TestDriver, pass};
use crate::TestError;

impl TestDriver {
    /// The wall clock.
    ///
    /// ```
    /// # use tidemill_data::{SECOND, StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// let before = t.now();
    /// t.advance(SECOND);
    /// assert_eq!(t.now(), before.saturating_add(SECOND));
    /// # t.pipe(&CLICKS, "u1", "home", ms(1));
    /// ```
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves the wall clock, and calls what is then due.
    ///
    /// ```
    /// # use tidemill_data::{MINUTE, SECOND, StoreName, Topic, Windowed};
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<Windowed<String>, i64> = StoreName::new("counts");
    /// # const CLOSED: Topic<String, Option<i64>> = Topic::new("closed");
    /// # let app = App::new("docs");
    /// app.stream(&CLICKS)
    ///     .group_by_key()
    ///     .window(Tumbling::of(SECOND).close_when_idle(MINUTE))
    ///     .emit_on_close()
    ///     .count(&COUNTS)
    ///     .to_stream()
    ///     .map(|window, count| (window.key, count))
    ///     .to(&CLOSED);
    /// let mut t = TestDriver::new(&app);
    /// t.pipe(&CLICKS, "u1", "home", ms(1));
    /// t.advance(2 * MINUTE); // nothing came for a minute
    /// assert_eq!(t.read(&CLOSED).len(), 1);
    /// ```
    ///
    /// # Panics
    /// When something fails and the policy is to fail.
    #[track_caller]
    pub fn advance(&mut self, span: Duration) {
        pass(self.try_advance(span));
    }

    /// As [`advance`](Self::advance).
    ///
    /// ```
    /// # use tidemill_data::{SECOND, StoreName, Topic};
    /// # use tidemill_streams::App;
    /// # use tidemill_testing::{TestDriver, TestError};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// # app.stream(&CLICKS).group_by_key().count(&COUNTS);
    /// let mut t = TestDriver::new(&app);
    /// t.try_advance(SECOND)?;
    /// # Ok::<(), TestError>(())
    /// ```
    ///
    /// # Errors
    /// When something fails and the policy is to fail.
    pub fn try_advance(&mut self, span: Duration) -> Result<(), TestError> {
        self.now = self.now.saturating_add(span);
        for task in &mut self.tasks {
            task.punctuate_wall(self.now, &mut self.outputs)?;
        }
        self.deliver()?;
        self.run()
    }
}
