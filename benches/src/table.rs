//! The table that a run prints: a row a figure, ours beside the peer's and what is asked.

use std::fmt::Write as _;

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    /// Nothing: it is there to explain another one.
    Nothing,
    /// The figure itself, or for a pair of rates their ratio, is at least this.
    AtLeast(f64),
    /// The figure itself, or for a pair of costs their ratio, is at most this.
    AtMost(f64),
}

impl Asked {
    fn verdict(self, value: f64) -> String {
        if value.is_nan() {
            return String::new();
        }
        let (held, text) = match self {
            Asked::Nothing => return String::new(),
            Asked::AtLeast(limit) => (value >= limit, format!("≥ {limit:.3}")),
            Asked::AtMost(limit) => (value <= limit, format!("≤ {limit:.3}")),
        };
        let text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
        if held { text } else { format!("{text}: missed") }
    }
}

/// Rows of (what, ours, peer's, ratio, what is asked), printed as Markdown.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 5]>,
}

impl Table {
    /// Adds a row and prints it at once, so that a long run shows its progress.
    fn row(&mut self, what: &str, ours: String, peers: String, ratio: String, asked: String) {
        println!("{what}: {ours} beside {peers} ({ratio}) {asked}");
        self.rows.push([what.to_owned(), ours, peers, ratio, asked]);
    }

    /// Adds a row for a pair of rates: more is better, and their ratio is what is asked for.
    pub(crate) fn rates(&mut self, what: &str, ours: f64, peers: f64, asked: Asked) {
        let (text, ratio) = (|rate: f64| shown(rate / 1000.0, "k/s", 0), ours / peers);
        self.row(
            what,
            text(ours),
            text(peers),
            shown(ratio, "times", 2),
            asked.verdict(ratio),
        );
    }

    /// Adds a row for a pair of costs: less is better, and their ratio is what is asked for.
    pub(crate) fn costs(&mut self, what: &str, ours: f64, other: f64, unit: &str, asked: Asked) {
        let ratio = ours / other;
        self.row(
            what,
            shown(ours, unit, 2),
            shown(other, unit, 2),
            shown(ratio, "of it", 2),
            asked.verdict(ratio),
        );
    }

    /// Adds a row whose own figure is what is asked for; the peer's stands beside it.
    pub(crate) fn measured(&mut self, what: &str, ours: f64, peers: f64, unit: &str, asked: Asked) {
        self.row(
            what,
            shown(ours, unit, 2),
            shown(peers, unit, 2),
            shown(ours / peers, "of it", 2),
            asked.verdict(ours),
        );
    }

    /// Adds a row for a figure that has no peer and a limit.
    pub(crate) fn limited(&mut self, what: &str, ours: f64, unit: &str, at_most: f64) {
        let asked = Asked::AtMost(at_most).verdict(ours);
        self.row(what, shown(ours, unit, 1), String::new(), String::new(), asked);
    }

    /// The whole table as Markdown.
    pub(crate) fn markdown(&self, ours: &str, peer: &str) -> String {
        let mut text = format!("| what | {ours} | {peer} | ratio | asked |\n|---|---|---|---|---|\n");
        for [what, ours, peers, ratio, asked] in &self.rows {
            writeln!(text, "| {what} | {ours} | {peers} | {ratio} | {asked} |")
                .expect("a string takes every text");
        }
        text
    }
}

/// A figure with its unit; nothing when it was not measured.
fn shown(value: f64, unit: &str, digits: usize) -> String {
    if value.is_finite() {
        format!("{value:.digits$} {unit}")
    } else {
        String::new()
    }
}

/// The middle one of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The figure that so many percent of them do not exceed.
pub(crate) fn percentile(figures: &mut [f64], percent: usize) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() * percent / 100).copied()
}
