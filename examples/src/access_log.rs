//! What does an nginx access log say: how many answers of each status a minute, and which paths are asked for most?
//!
//! Lines that come when their minute is closed go aside, and so do lines that are none.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::{Context, Result};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::Run;

/// Lines of the log, in the combined format.
pub const LINES: Topic<Option<String>, String> = Topic::new("access-log");
/// Lines that are none.
pub const UNREADABLE: &str = "access-log-unreadable";
/// How many answers of a status a minute had: `2015-05-17 08:05 404` and the count.
pub const STATUSES: Topic<String, i64> = Topic::new("statuses-per-minute");
/// Hits that came when their minute was closed.
pub const LATE: Topic<String, Hit> = Topic::new("late-hits");
/// The paths asked for most, again with each hit.
pub const TOP_PATHS: Topic<String, TopPaths> = Topic::new("top-paths");

/// How many answers of a status each minute had.
pub const PER_MINUTE: StoreName<Windowed<String>, i64> = StoreName::new("per-minute");
/// How often each path was asked for.
pub const PATHS: StoreName<String, i64> = StoreName::new("paths");
/// The list of those asked for most.
pub const TOP: StoreName<String, TopPaths> = StoreName::new("top");

const TOP_PATHS_MAX: usize = 10;

/// One line, read.
#[derive(Clone, Debug, PartialEq, Eq, Data, Serialize, Deserialize)]
#[data(json)]
pub struct Hit {
    /// What was asked for.
    pub path: String,
    /// How it was answered.
    pub status: String,
}

/// How often a path was asked for until now.
#[derive(Clone, Debug, PartialEq, Eq, Data, Serialize, Deserialize)]
#[data(json)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// How often.
    pub times: i64,
}

/// Paths, the one asked for most first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Data, Serialize, Deserialize)]
#[data(json)]
pub struct TopPaths(pub Vec<Asked>);

impl TopPaths {
    /// Counts only grow, so a path that fell off the list comes back by itself when it belongs there again.
    fn put(&mut self, asked: Asked) {
        self.0.retain(|other| other.path != asked.path);
        self.0.push(asked);
        self.0
            .sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.path.cmp(&b.path)));
        self.0.truncate(TOP_PATHS_MAX);
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
        .try_map_values(|line| Ok(hit(&line).ok_or("no line of an access log")?));

    hits.clone()
        .group_by(|_, hit| hit.status.clone())
        // A log is not in order: each minute waits for another one before it closes.
        .window(Tumbling::of(MINUTE).grace(MINUTE))
        .late_records(|late| late.to(&LATE))
        .count(&PER_MINUTE)
        .to_stream()
        .map(|window, count| {
            let minute = DateTime::from_timestamp_millis(window.start_ms).unwrap_or_default();
            let key = format!("{} {}", minute.format("%Y-%m-%d %H:%M"), window.key);
            (key, count.unwrap_or_default())
        })
        .to(&STATUSES);

    hits.group_by(|_, hit| hit.path.clone())
        .count(&PATHS)
        .to_stream()
        .map(|path, times| {
            let times = times.unwrap_or_default();
            ("all".to_owned(), Asked { path, times })
        })
        .group_by_key()
        .aggregate(&TOP, |_, asked, top: &mut TopPaths| top.put(asked))
        .to_stream()
        .map_values(Option::unwrap_or_default)
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
    let (time, _) = after.split_once(']')?;
    let time = DateTime::parse_from_str(time, "%d/%b/%Y:%H:%M:%S %z").ok()?;
    Some(Timestamp::from_millis(time.timestamp_millis()))
}

/// Runs the program over a log, or over [`SAMPLE`], and tells what it found.
pub async fn run(log: Option<&Path>) -> Result<String> {
    let mut report = String::new();
    let text = match log {
        Some(log) => std::fs::read_to_string(log).with_context(|| log.display().to_string())?,
        None => SAMPLE.to_owned(),
    };
    let run = Run::start(&compose(), &[UNREADABLE]).await?;
    let lines = text.lines();
    run.send(lines.map(|line| Ok(Produced::to(&LINES, &None, &line.to_owned())?)))
        .await?;
    run.processed().await?;

    let unreadable = run.records(UNREADABLE).await?.len();
    let late = run.read(&LATE).await?.len();
    writeln!(report, "{} lines", text.lines().count())?;
    writeln!(report, "{unreadable} of them unreadable (topic {UNREADABLE})")?;
    writeln!(report, "{late} late (topic {})", LATE.name())?;

    // Each update of a count was written: the last one of each key holds.
    let counts: BTreeMap<String, i64> = run.read(&STATUSES).await?.into_iter().collect();
    let mut minutes: BTreeMap<&str, (i64, String)> = BTreeMap::new();
    for (key, count) in &counts {
        let (minute, status) = key.rsplit_once(' ').context("a minute and a status")?;
        let (total, text) = minutes.entry(minute).or_default();
        *total += count;
        *text += &format!("  {status}: {count}");
    }
    let mut busiest: Vec<_> = minutes.into_iter().collect();
    busiest.sort_by_key(|(_, (total, _))| std::cmp::Reverse(*total));
    writeln!(report, "\nanswers by status, in the busiest minutes")?;
    for (minute, (_, text)) in busiest.iter().take(5) {
        writeln!(report, "  {minute}{text}")?;
    }

    writeln!(report, "\npaths asked for most")?;
    let top = run.running().store(&TOP).get(&"all".to_owned()).await?;
    for asked in top.unwrap_or_default().0 {
        writeln!(report, "  {:>6}  {}", asked.times, asked.path)?;
    }
    run.stop().await?;
    Ok(report)
}

/// A few lines of a real log, one that is none, and one that comes late.
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
    fn a_line_has_the_time_at_which_it_was_asked() {
        let at = |time| asked_at(&format!("x [{time}] y")).map(Timestamp::millis);
        assert_eq!(at("17/May/2015:08:05:32 +0000"), Some(1_431_849_932_000));
        assert_eq!(at("17/May/2015:10:05:32 +0200"), Some(1_431_849_932_000));
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
            ("2015-05-17 08:05 200", 2),
            ("2015-05-17 08:05 304", 2),
            ("2015-05-17 08:07 304", 1),
            ("2015-05-17 08:07 404", 1),
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
        let expected = expected.map(|(path, times)| Asked {
            path: format!("/downloads/{path}"),
            times,
        });
        assert_eq!(last.0, expected);
        let unreadable = t.read(&Topic::<Option<String>, String>::new(UNREADABLE));
        assert_eq!(unreadable.len(), 1);
    }

    #[test]
    fn a_path_that_fell_off_the_list_comes_back() {
        let mut top = TopPaths::default();
        let asked = |path: String, times| Asked { path, times };
        for path in 0..=TOP_PATHS_MAX {
            top.put(asked(path.to_string(), if path == 0 { 1 } else { 2 }));
        }
        assert!(top.0.iter().all(|asked| asked.path != "0"));
        top.put(asked("0".to_owned(), 3));
        assert_eq!(top.0.first().map(|asked| asked.path.as_str()), Some("0"));
        assert_eq!(top.0.len(), TOP_PATHS_MAX);
    }
}
