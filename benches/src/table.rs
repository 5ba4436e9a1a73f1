//! The table that a run prints: a row a figure, ours beside the peer's.

use std::fmt::Write as _;

/// Rows of (what, ours, peer's, ratio or verdict), printed as Markdown.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// Adds a row and prints it at once, so that a long run shows its progress.
    pub(crate) fn row(&mut self, what: &str, ours: String, peers: String, ratio: String) {
        println!("{what}: {ours} beside {peers} ({ratio})");
        self.rows.push([what.to_owned(), ours, peers, ratio]);
    }

    /// Adds a row for a pair of rates: more is better.
    pub(crate) fn rates(&mut self, what: &str, ours: f64, peers: f64) {
        self.row(
            what,
            thousands(ours),
            thousands(peers),
            format!("{:.2} times", ours / peers),
        );
    }

    /// Adds a row for a pair of costs with `digits` decimals: less is better.
    pub(crate) fn costs(&mut self, what: &str, ours: f64, peers: f64, unit: &str) {
        let text = |value: f64| format!("{value:.2} {unit}");
        self.row(
            what,
            text(ours),
            text(peers),
            format!("{:.2} of it", ours / peers),
        );
    }

    /// The whole table as Markdown.
    pub(crate) fn markdown(&self, ours: &str, peer: &str) -> String {
        let mut text = format!("| what | {ours} | {peer} | ratio |\n|---|---|---|---|\n");
        for [what, ours, peers, ratio] in &self.rows {
            writeln!(text, "| {what} | {ours} | {peers} | {ratio} |").expect("a string takes every text");
        }
        text
    }
}

fn thousands(rate: f64) -> String {
    format!("{:.0} k/s", rate / 1000.0)
}

/// The middle one of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
