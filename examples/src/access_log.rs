//! What does an nginx access log say: how many answers of each status a minute, and which paths are asked for most?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

/// Lines of the log, in the combined format.
pub const LINES: Topic<Option<String>, String> = Topic::new("access-log");
/// Lines that are none.
pub const UNREADABLE: &str = "access-log-unreadable";
/// How many answers of a status a minute had: `404@1431849900000` and the count.
pub const STATUSES: Topic<String, i64> = Topic::new("statuses-per-minute");
/// Hits that came when their minute was closed.
pub const LATE: Topic<String, Hit> = Topic::new("late-hits");
/// The ten paths asked for most, each time the list may have changed.
pub const TOP_PATHS: Topic<String, TopPaths> = Topic::new("top-paths");

/// How many answers of a status each minute had.
pub const PER_MINUTE: StoreName<Windowed<String>, i64> = StoreName::new("per-minute");
/// How often each path was asked for.
pub const PATHS: StoreName<String, Paths> = StoreName::new("paths");

/// One line, read.
#[derive(Clone, Debug, PartialEq, Eq, Data, Serialize, Deserialize)]
#[data(json)]
pub struct Hit {
    /// What was asked for.
    pub path: String,
    /// How it was answered.
    pub status: String,
}

/// How often each path was asked for.
#[derive(Clone, Debug, Default, Data, Serialize, Deserialize)]
#[data(json)]
pub struct Paths(BTreeMap<String, i64>);

/// Paths, the one asked for most first, with how often that was.
#[derive(Clone, Debug, PartialEq, Eq, Data, Serialize, Deserialize)]
#[data(json)]
pub struct TopPaths(pub Vec<(String, i64)>);

impl Paths {
    fn top(self) -> TopPaths {
        let mut paths: Vec<_> = self.0.into_iter().collect();
        paths.sort_by(|(path, count), (other, more)| more.cmp(count).then_with(|| path.cmp(other)));
        paths.truncate(10);
        TopPaths(paths)
    }
}

/// The program.
pub fn compose() -> App {
    let app = App::new("access-log");
    app.on_error(Policy::DeadLetter(UNREADABLE.into()));
    // The time of a line is when it was asked, not when it was shipped.
    app.timestamps_of(&LINES, |record| asked_at(&record.value));
    let hits = app
        .stream(&LINES)
        .try_map_values(|line| hit(&line).ok_or_else(|| format!("no line of an access log: {line}").into()));
    hits.clone()
        .group_by(|_, hit| hit.status.clone())
        .window(Tumbling::of(MINUTE).grace(MINUTE))
        .late_records(|late| late.to(&LATE))
        .count(&PER_MINUTE)
        .to_stream()
        .map(|window, count| {
            (
                format!("{}@{}", window.key, window.start_ms),
                count.unwrap_or_default(),
            )
        })
        .to(&STATUSES);
    hits.group_by(|_, _| "all".to_owned())
        .aggregate(&PATHS, |_, hit, paths: &mut Paths| {
            *paths.0.entry(hit.path).or_default() += 1
        })
        .to_stream()
        .map_values(|paths| paths.unwrap_or_default().top())
        .to(&TOP_PATHS);
    app
}

/// `address - user [time] "GET /path HTTP/1.1" status bytes "referrer" "agent"`
fn hit(line: &str) -> Option<Hit> {
    let mut quoted = line.split('"');
    let request = quoted.nth(1)?;
    let status = quoted.next()?.split_whitespace().next()?;
    asked_at(line)?;
    Some(Hit {
        path: request.split(' ').nth(1)?.to_owned(),
        status: status.parse::<u16>().ok()?.to_string(),
    })
}

/// The time in brackets: `17/May/2015:08:05:32 +0000`.
fn asked_at(line: &str) -> Option<Timestamp> {
    let (_, after) = line.split_once('[')?;
    let (time, zone) = after.split_once(']')?.0.split_once(' ')?;
    let mut parts = time.split(['/', ':']);
    let mut number = || parts.next()?.parse::<i64>().ok();
    let day = number()?;
    let month = time.split('/').nth(1)?;
    let names = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = i64::try_from(names.iter().position(|name| *name == month)?).ok()? + 1;
    let mut parts = time.split(['/', ':']).skip(2);
    let mut number = || parts.next()?.parse::<i64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    let zone: i64 = zone.parse().ok()?;
    let zone_minutes = zone / 100 * 60 + zone % 100;
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - zone_minutes;
    Some(Timestamp::from_millis((minutes * 60 + second) * 1_000))
}

/// Days from 1970 to a date of the Gregorian calendar: years are counted from March, so that a leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

/// A few lines of a real log.
pub const SAMPLE: &str = r#"93.180.71.0 - - [17/May/2015:08:05:32 +0000] "GET /downloads/product_1 HTTP/1.1" 304 0 "-" "Debian APT-HTTP/1.3"
93.180.71.0 - - [17/May/2015:08:05:23 +0000] "GET /downloads/product_1 HTTP/1.1" 304 0 "-" "Debian APT-HTTP/1.3"
217.168.17.0 - - [17/May/2015:08:05:34 +0000] "GET /downloads/product_1 HTTP/1.1" 200 490 "-" "Debian APT-HTTP/1.3"
217.168.17.0 - - [17/May/2015:08:05:09 +0000] "GET /downloads/product_2 HTTP/1.1" 200 490 "-" "Debian APT-HTTP/1.3"
not a line of an access log
80.91.33.0 - - [17/May/2015:08:07:24 +0000] "GET /downloads/product_3 HTTP/1.1" 404 337 "-" "Debian APT-HTTP/1.3"
80.91.33.0 - - [17/May/2015:08:07:30 +0000] "GET /downloads/product_1 HTTP/1.1" 304 0 "-" "Debian APT-HTTP/1.3"
93.180.71.0 - - [17/May/2015:08:05:59 +0000] "GET /downloads/product_2 HTTP/1.1" 304 0 "-" "Debian APT-HTTP/1.3""#;

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill::testing::{TestDriver, ms};

    fn run() -> TestDriver {
        let mut t = TestDriver::new(&compose());
        for line in SAMPLE.lines() {
            t.pipe(&LINES, None::<String>, line, ms(0));
        }
        t
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |time| asked_at(&format!("x [{time}] y")).map(Timestamp::millis);
        assert_eq!(at("01/Jan/1970:00:00:00 +0000"), Some(0));
        assert_eq!(at("17/May/2015:08:05:32 +0000"), Some(1_431_849_932_000));
        assert_eq!(at("17/May/2015:10:05:32 +0200"), Some(1_431_849_932_000));
        assert_eq!(at("29/Feb/2016:23:59:59 +0000"), Some(1_456_790_399_000));
        assert_eq!(at("17/Mai/2015:08:05:32 +0000"), None);
        assert_eq!(at("17/May"), None);
    }

    #[test]
    fn each_minute_counts_its_statuses_and_late_hits_go_aside() {
        let mut t = run();
        let counts: BTreeMap<String, i64> = t
            .read(&STATUSES)
            .into_iter()
            .map(|record| (record.key, record.value))
            .collect();
        let expected = [
            ("200@1431849900000", 2),
            ("304@1431849900000", 2),
            ("304@1431850020000", 1),
            ("404@1431850020000", 1),
        ];
        assert_eq!(
            counts,
            expected.map(|(key, count)| (key.to_owned(), count)).into()
        );
        let late: Vec<String> = t
            .read(&LATE)
            .into_iter()
            .map(|record| record.value.path)
            .collect();
        assert_eq!(late, ["/downloads/product_2"]);
    }

    #[test]
    fn the_path_asked_for_most_is_first_and_what_is_no_line_is_kept() {
        let mut t = run();
        let last = t.read(&TOP_PATHS).pop().expect("paths were asked for").value;
        let expected = [("product_1", 4), ("product_2", 2), ("product_3", 1)];
        let expected = expected.map(|(path, count)| (format!("/downloads/{path}"), count));
        assert_eq!(last.0, expected);
        let unreadable = t.read(&Topic::<Option<String>, String>::new(UNREADABLE));
        assert_eq!(unreadable.len(), 1);
    }
}
