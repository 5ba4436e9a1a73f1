//! Spans of time in the notation of ISO 8601 that Java's `Duration` has, as `by_duration:PT1H` needs it.

use std::time::Duration;

/// `P` and days, then `T` and hours, minutes and seconds: `P7D`, `PT1H30M`, `P1DT0.5S`. Nothing negative, no months.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix('P')?;
    let (days, times) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((days, times)) => (days, times),
        None if rest.is_empty() => return None,
        None => (rest, ""),
    };
    let days = parts(days, &[('D', 86_400)])?;
    days.checked_add(parts(times, &[('H', 3_600), ('M', 60), ('S', 1)])?)
}

/// Numbers, each with one of the units, which come in this order and at most once.
fn parts(mut text: &str, units: &[(char, u64)]) -> Option<Duration> {
    let mut units = units.iter();
    let mut sum = Duration::ZERO;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at_checked(end)?;
        let mut rest = rest.chars();
        let unit = rest.next()?;
        let (_, seconds) = units.find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(amount(number, unit, *seconds)?)?;
        text = rest.as_str();
    }
    Some(sum)
}

fn amount(number: &str, unit: char, seconds: u64) -> Option<Duration> {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if unit == 'S' && (1..=9).contains(&fraction.len()) => (whole, fraction),
        Some(_) => return None,
        None => (number, ""),
    };
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    let whole = Duration::from_secs(whole.parse::<u64>().ok()?.checked_mul(seconds)?);
    whole.checked_add(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_java_reads_them() {
        for (text, ms) in [
            ("PT1H", 3_600_000),
            ("P7D", 604_800_000),
            ("P1DT2H3M4.5S", 93_784_500),
            ("PT0.001S", 1),
            ("PT0S", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "1h",
            "PT1",
            "P1H",
            "PT1D",
            "PT1M1H",
            "PT1.5H",
            "PT-1H",
            "PT1.S",
            "PT.S",
            "P1Y",
            "PT99999999999999999999S",
            "P999999999999999D",
            "PT1Hx",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
