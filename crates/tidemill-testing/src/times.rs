//! Times as tests write them.

use tidemill_data::Timestamp;

/// A time as milliseconds.
///
/// ```
/// # use tidemill_testing::ms;
/// assert_eq!(ms(1_500).millis(), 1_500);
/// ```
#[must_use]
pub fn ms(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// A time of the first day of 1970, as `10:00` or `10:00:30`.
///
/// ```
/// # use tidemill_testing::{at, ms};
/// assert_eq!(at("00:01"), ms(60_000));
/// assert_eq!(at("00:01:30"), ms(90_000));
/// ```
///
/// # Panics
/// When it is no such time.
#[must_use]
#[track_caller]
pub fn at(time: &str) -> Timestamp {
    let parts: Option<Vec<i64>> = time.split(':').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([hours, minutes]) => ms((hours * 60 + minutes) * 60_000),
        Some([hours, minutes, seconds]) => ms(((hours * 60 + minutes) * 60 + seconds) * 1_000),
        _ => panic!("{time:?} is no time of a day, such as 10:00"),
    }
}
