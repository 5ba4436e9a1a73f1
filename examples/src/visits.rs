//! How long do users stay, and what do they look at? A visit ends after half an hour without a click.

use std::fmt::Write as _;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::{Run, sample::START_MS};

/// The pages that users click on.
pub const CLICKS: Topic<String, String> = Topic::new("clicks");
/// Each visit, when it has ended.
pub const VISITS: Topic<String, Visit> = Topic::new("visits");
/// The visits that go on.
pub const OPEN: StoreName<Windowed<String>, Visit> = StoreName::new("open-visits");

/// One visit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Data, Serialize, Deserialize)]
#[data(json)]
pub struct Visit {
    /// The pages, in the order of the clicks.
    pub pages: Vec<String>,
    /// From the first click to the last, in seconds.
    pub seconds: i64,
}

/// The program.
pub fn compose() -> App {
    let app = App::new("visits");
    app.stream(&CLICKS)
        .group_by_key()
        .window(Session::gap(30 * MINUTE).grace(MINUTE))
        .emit_on_close()
        .aggregate(
            &OPEN,
            |_user, page, visit: &mut Visit| visit.pages.push(page),
            |mut earlier, later| {
                earlier.pages.extend(later.pages);
                earlier
            },
        )
        .to_stream()
        .map(|window, visit| {
            let seconds = (window.end_ms - window.start_ms) / 1_000;
            (
                window.key,
                Visit {
                    seconds,
                    ..visit.unwrap_or_default()
                },
            )
        })
        .to(&VISITS);
    app
}

/// Runs the program over [`SAMPLE`], and tells the visits that have ended.
pub async fn run() -> Result<String> {
    let mut report = String::new();
    let run = Run::start(&compose(), &[]).await?;
    for (user, page, minute) in SAMPLE {
        writeln!(report, "minute {minute:>3}: {user} clicks on {page}")?;
        let click = Produced::to(&CLICKS, &user.to_owned(), &page.to_owned())?;
        run.send([Ok(click.timestamp(START_MS + minute * 60_000))])
            .await?;
    }
    run.processed().await?;
    writeln!(report, "\nvisits (topic {})", VISITS.name())?;
    for (user, visit) in run.read(&VISITS).await? {
        writeln!(
            report,
            "  {user}: {} seconds, {}",
            visit.seconds,
            visit.pages.join(", ")
        )?;
    }
    writeln!(
        report,
        "the last visit goes on: no click tells that half an hour is over"
    )?;
    run.stop().await?;
    Ok(report)
}

/// Clicks, by minute.
pub const SAMPLE: [(&str, &str, i64); 7] = [
    ("ann", "/", 0),
    ("ann", "/mills", 2),
    ("bob", "/", 3),
    ("ann", "/tides", 20),
    ("ann", "/", 60),
    ("cid", "/", 95),
    ("cid", "/", 200),
];

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill::testing::{TestDriver, ms};

    #[test]
    fn a_visit_ends_after_half_an_hour_without_a_click() {
        let mut t = TestDriver::new(&compose());
        for (user, page, minute) in SAMPLE {
            t.pipe(&CLICKS, user, page, ms(minute * 60_000));
        }
        let visits: Vec<(String, usize, i64)> = t
            .read(&VISITS)
            .into_iter()
            .map(|record| (record.key, record.value.pages.len(), record.value.seconds))
            .collect();
        let expected = [("bob", 1, 0), ("ann", 3, 1_200), ("ann", 1, 0), ("cid", 1, 0)];
        assert_eq!(
            visits,
            expected.map(|(user, pages, seconds)| (user.to_owned(), pages, seconds))
        );
    }
}
