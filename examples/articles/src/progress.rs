//! What the pipeline has done so far, as one line from time to time.
//!
//! These are counts of work done, so a record that is delivered again is counted again. What the pipeline keeps
//! never depends on them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Counters that all stages write to.
#[derive(Default)]
pub struct Progress {
    feeds_fetched: AtomicU64,
    feeds_unchanged: AtomicU64,
    feeds_broken: AtomicU64,
    items_parsed: AtomicU64,
    items_cleaned: AtomicU64,
    exact_duplicates: AtomicU64,
    near_duplicates: AtomicU64,
    articles: AtomicU64,
    clicks: AtomicU64,
    recommended: AtomicU64,
}

impl Progress {
    /// A feed came, with this many items.
    pub fn feed_fetched(&self, items: usize) {
        self.feeds_fetched.fetch_add(1, Relaxed);
        self.items_parsed(items);
    }

    /// A server said that its feed is the one we have.
    pub fn feed_unchanged(&self) {
        self.feeds_unchanged.fetch_add(1, Relaxed);
    }

    /// A feed could not be fetched or read.
    pub fn feed_broken(&self) {
        self.feeds_broken.fetch_add(1, Relaxed);
    }

    /// Items were parsed from a feed or a file.
    pub fn items_parsed(&self, items: usize) {
        self.items_parsed
            .fetch_add(u64::try_from(items).unwrap_or(u64::MAX), Relaxed);
    }

    /// An item became an article, or one more version of an article that was known.
    pub fn item_cleaned(&self, known: bool) {
        self.items_cleaned.fetch_add(1, Relaxed);
        self.exact_duplicates.fetch_add(u64::from(known), Relaxed);
    }

    /// An article was published, or withdrawn as a near duplicate.
    pub fn standing_changed(&self, published: bool) {
        let counter = if published {
            &self.articles
        } else {
            &self.near_duplicates
        };
        counter.fetch_add(1, Relaxed);
    }

    /// A click went into a profile.
    pub fn click_taken(&self) {
        self.clicks.fetch_add(1, Relaxed);
    }

    /// A reader's list was worked out.
    pub fn recommended(&self) {
        self.recommended.fetch_add(1, Relaxed);
    }

    /// All records that went through a stage.
    fn records(&self) -> u64 {
        [
            &self.items_cleaned,
            &self.articles,
            &self.near_duplicates,
            &self.clicks,
            &self.recommended,
        ]
        .iter()
        .map(|counter| counter.load(Relaxed))
        .sum()
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        write!(
            f,
            "feeds {} ({} unchanged, {} broken) | items parsed {}, cleaned {} | duplicates exact {}, near {} | articles {} | clicks {} | recommendations {}",
            count(&self.feeds_fetched),
            count(&self.feeds_unchanged),
            count(&self.feeds_broken),
            count(&self.items_parsed),
            count(&self.items_cleaned),
            count(&self.exact_duplicates),
            count(&self.near_duplicates),
            count(&self.articles),
            count(&self.clicks),
            count(&self.recommended),
        )
    }
}

/// Prints progress, but never the same line twice in a row.
pub struct Ticker<'a> {
    progress: &'a Progress,
    interval: Duration,
    started: Instant,
    last: (Instant, u64),
    shown: String,
}

impl<'a> Ticker<'a> {
    /// Starts the clock.
    pub fn new(progress: &'a Progress, interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            progress,
            interval,
            started: now,
            last: (now, 0),
            shown: String::new(),
        }
    }

    /// Prints a line if it is time for one.
    pub fn tick(&mut self) {
        if self.last.0.elapsed() >= self.interval {
            self.print();
        }
    }

    /// Prints a line now, unless nothing changed.
    pub fn print(&mut self) {
        let line = self.progress.to_string();
        if line == self.shown {
            return;
        }
        let records = self.progress.records();
        let rate = (records - self.last.1) as f64 / self.last.0.elapsed().as_secs_f64().max(0.001);
        println!(
            "{:6.1} s | {line} | {rate:.0} records/s",
            self.started.elapsed().as_secs_f64()
        );
        self.last = (Instant::now(), records);
        self.shown = line;
    }
}
