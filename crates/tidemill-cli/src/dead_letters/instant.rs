//! Times on the command line: milliseconds since 1970, or a date and time in UTC.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use tidemill_data::Timestamp;

const DATE: &str = "%Y-%m-%d";
const SECONDS: &str = "%Y-%m-%dT%H:%M:%SZ";
const MILLISECONDS: &str = "%Y-%m-%dT%H:%M:%S%.3fZ";

/// Reads `1767225600000`, `2026-01-01`, `2026-01-01T12:00:00Z` or `2026-01-01T12:00:00.250Z`.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    let ms = match text.parse() {
        Ok(ms) => Some(ms),
        Err(_) => date_and_time(text).map(|at| at.and_utc().timestamp_millis()),
    };
    ms.map(Timestamp::from_millis)
        .ok_or_else(|| "expected milliseconds since 1970, or a time like 2026-01-31T12:00:00Z".to_owned())
}

fn date_and_time(text: &str) -> Option<NaiveDateTime> {
    let day = NaiveDate::parse_from_str(text, DATE).ok();
    let midnight = day.and_then(|day| day.and_hms_opt(0, 0, 0));
    let time = |form| NaiveDateTime::parse_from_str(text, form).ok();
    let read = [
        (DATE, midnight),
        (SECONDS, time(SECONDS)),
        (MILLISECONDS, time(MILLISECONDS)),
    ];
    // The parser takes numbers of fewer digits too; a time is read only as it is written.
    let exact =
        |(form, at): (&str, Option<NaiveDateTime>)| at.filter(|at| at.format(form).to_string() == text);
    read.into_iter().find_map(exact)
}

/// As it is read.
pub(super) fn text(at: Timestamp) -> String {
    let ms = at.millis();
    DateTime::from_timestamp_millis(ms)
        .filter(|at| (0..=9999).contains(&at.year()))
        .map_or_else(|| ms.to_string(), |at| at.format(MILLISECONDS).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (written, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("2026-11-21T12:00:00.250Z", 1_795_262_400_250),
            ("1969-12-31T23:59:59.999Z", -1),
        ] {
            assert_eq!(parse(written).map(Timestamp::millis), Ok(ms), "{written}");
            assert_eq!(text(Timestamp::from_millis(ms)), written);
        }
        assert_eq!(
            parse("1970-01-02").map(Timestamp::millis),
            Ok(24 * 60 * 60 * 1000)
        );
        assert_eq!(parse("1970-01-01T00:00:01Z").map(Timestamp::millis), Ok(1000));
        assert_eq!(parse("-5").map(Timestamp::millis), Ok(-5));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            "",
            "now",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
