//! Times on the command line: milliseconds since 1970, or a date and time in UTC.

use tidemill_data::Timestamp;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Days from the first of March of the year 0 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;
/// Days in 400 years, after which the calendar repeats.
const CYCLE_DAYS: i64 = 146_097;

/// Reads `1767225600000`, `2026-01-01`, `2026-01-01T12:00:00Z` or `2026-01-01T12:00:00.250Z`.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    let ms = match text.parse() {
        Ok(ms) => Some(ms),
        Err(_) => date_and_time(text),
    };
    ms.map(Timestamp::from_millis)
        .ok_or_else(|| "expected milliseconds since 1970, or a time like 2026-01-31T12:00:00Z".to_owned())
}

fn date_and_time(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (
        number(date.next()?, 4)?,
        number(date.next()?, 2)?,
        number(date.next()?, 2)?,
    );
    let (time, fraction) = time
        .strip_suffix('Z')?
        .split_once('.')
        .unwrap_or((time.strip_suffix('Z')?, "000"));
    let mut time = time.splitn(3, ':');
    let (hours, minutes, seconds) = (
        number(time.next()?, 2)?,
        number(time.next()?, 2)?,
        number(time.next()?, 2)?,
    );
    let ms = number(fraction, 3)?;
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let days = days(year, month, day);
    // A day that the month does not have comes back as one of the next.
    (date_of(days) == (year, month, day))
        .then_some(days * DAY_MS + ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Days since 1970. Years begin in March here, so that the leap day is the last of one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    cycle * CYCLE_DAYS + year * 365 + year / 4 - year / 100 + of_year - EPOCH_DAYS
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (cycle, of_cycle) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
    let year = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + cycle * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// As it is read.
pub(super) fn text(at: Timestamp) -> String {
    let ms = at.millis();
    let (year, month, day) = date_of(ms.div_euclid(DAY_MS));
    if !(0..=9999).contains(&year) {
        return ms.to_string();
    }
    let of_day = ms.rem_euclid(DAY_MS);
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
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
        assert_eq!(parse("1970-01-02").map(Timestamp::millis), Ok(DAY_MS));
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
