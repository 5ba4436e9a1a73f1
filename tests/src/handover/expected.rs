//! What goes in, and what one program alone would make of it.

use std::collections::BTreeMap;

use super::program::{GAP_MS, WINDOW_MS};

const KEYS: u64 = 31;
const WORDS: u64 = 97;
/// Between two records; a key has one in `KEYS` of them, well within a session's gap.
const STEP_MS: u64 = 10;
/// Records until all keys are silent for longer than a session's gap.
const BURST: u64 = KEYS * 100;
const SILENCE_MS: u64 = 5 * GAP_MS.unsigned_abs();

/// Rows of the table, and the groups they move between.
const ROWS: u64 = 211;
const GROUPS: u64 = 13;

/// One record of the input, and the row of the table that is written beside it.
pub(super) struct Input {
    pub(super) key: String,
    pub(super) word: String,
    pub(super) row: String,
    pub(super) group: String,
    pub(super) timestamp_ms: i64,
}

/// The `number`th record since `epoch_ms`.
pub(super) fn input(epoch_ms: i64, number: u64) -> Input {
    let after = number * STEP_MS + number / BURST * SILENCE_MS;
    Input {
        key: format!("k{}", number % KEYS),
        word: format!("w{}", number % WORDS),
        row: format!("r{}", number % ROWS),
        // Squares, or the groups would all be of one size.
        group: format!("g{}", (number / ROWS + number * number) % GROUPS),
        timestamp_ms: epoch_ms.saturating_add_unsigned(after),
    }
}

/// An output: the values of each key, in the order in which they came.
#[derive(Default)]
pub(super) struct Series {
    values: BTreeMap<String, Vec<Option<i64>>>,
    records: u64,
}

impl Series {
    pub(super) fn push(&mut self, key: String, value: Option<i64>) {
        self.values.entry(key).or_default().push(value);
        self.records += 1;
    }

    /// What the last value of each key says, if it is not this.
    fn ends_as(&self, name: &str, expected: &BTreeMap<String, i64>) -> Option<String> {
        let last = |(key, values): (&String, &Vec<Option<i64>>)| {
            let last = values.last().copied().flatten()?;
            Some((key.clone(), last))
        };
        let seen: BTreeMap<_, _> = self.values.iter().filter_map(last).collect();
        let missing = expected.iter().find(|(key, count)| seen.get(*key) != Some(count));
        let foreign = seen.iter().find(|(key, _)| !expected.contains_key(*key));
        (missing.is_some() || foreign.is_some()).then(|| {
            let (rows, wanted) = (seen.len(), expected.len());
            format!("{name}: {rows} rows instead of {wanted}; first missing {missing:?}, first too many {foreign:?}")
        })
    }
}

/// What the outputs say, by their names.
#[derive(Default)]
pub(super) struct Outputs {
    pub(super) totals: Series,
    pub(super) windows: Series,
    pub(super) sessions: Series,
    pub(super) groups: Series,
}

impl Outputs {
    pub(super) fn of(&mut self, name: &str) -> &mut Series {
        match name {
            "totals" => &mut self.totals,
            "windows" => &mut self.windows,
            "sessions" => &mut self.sessions,
            _ => &mut self.groups,
        }
    }

    /// How many records the totals and the windows account for, the less of the two.
    pub(super) fn counted(&self) -> u64 {
        self.totals.records.min(self.windows.records)
    }
}

/// What one program alone would say.
pub(super) struct Expected {
    totals: BTreeMap<String, i64>,
    windows: BTreeMap<String, i64>,
    sessions: BTreeMap<String, i64>,
    groups: BTreeMap<String, i64>,
}

impl Expected {
    /// Of the first `written` records.
    pub(super) fn of(epoch_ms: i64, written: u64) -> Self {
        let (mut totals, mut windows) = (BTreeMap::new(), BTreeMap::new());
        for number in 0..written {
            let record = input(epoch_ms, number);
            let start = record.timestamp_ms - record.timestamp_ms % WINDOW_MS;
            *totals.entry(record.word).or_default() += 1;
            *windows.entry(format!("{}@{start}", record.key)).or_default() += 1;
        }
        Self {
            totals,
            windows,
            sessions: sessions(epoch_ms, written),
            groups: groups(epoch_ms, written),
        }
    }

    /// Whether the groups are as they will be in the end: their table is read apart from the records that are counted.
    pub(super) fn has_groups(&self, outputs: &Outputs) -> bool {
        outputs.groups.ends_as("groups", &self.groups).is_none()
    }

    /// Everything that is otherwise, one line each.
    pub(super) fn complaints(&self, outputs: &Outputs) -> Vec<String> {
        let mut complaints = counted_once("totals", &outputs.totals, &self.totals);
        complaints.extend(counted_once("windows", &outputs.windows, &self.windows));
        complaints.extend(outputs.sessions.ends_as("sessions", &self.sessions));
        complaints.extend(outputs.groups.ends_as("groups", &self.groups));
        complaints
    }
}

/// Each key's values have to be 1, 2, 3 … up to its count: nothing missing, nothing twice, nothing out of order.
fn counted_once(name: &str, seen: &Series, expected: &BTreeMap<String, i64>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (key, count) in expected {
        let values = seen.values.get(key).map_or(&[][..], Vec::as_slice);
        if !values.iter().copied().eq((1..=*count).map(Some)) {
            let mut right = values.iter().zip(1..);
            let wrong = right.position(|(value, wanted)| *value != Some(wanted));
            complaints.push(format!(
                "{name}: {key} has {} values instead of {count}; the first wrong one is at {wrong:?}",
                values.len()
            ));
        }
    }
    for key in seen.values.keys().filter(|key| !expected.contains_key(*key)) {
        complaints.push(format!("{name}: nothing went in for {key}"));
    }
    complaints
}

/// The sessions that are there in the end.
fn sessions(epoch_ms: i64, written: u64) -> BTreeMap<String, i64> {
    let mut open: BTreeMap<String, (i64, i64, i64)> = BTreeMap::new();
    let mut all = BTreeMap::new();
    let row = |key: &str, (start, end, count): (i64, i64, i64)| (format!("{key}@{start}-{end}"), count);
    for number in 0..written {
        let Input {
            key, timestamp_ms, ..
        } = input(epoch_ms, number);
        let session = open.entry(key.clone()).or_insert((timestamp_ms, timestamp_ms, 0));
        if timestamp_ms - session.1 > GAP_MS {
            all.extend([row(&key, *session)]);
            *session = (timestamp_ms, timestamp_ms, 0);
        }
        session.1 = timestamp_ms;
        session.2 += 1;
    }
    all.extend(open.iter().map(|(key, session)| row(key, *session)));
    all
}

/// How many rows name each group in the end; one that lost its last row stays with a count of 0.
fn groups(epoch_ms: i64, written: u64) -> BTreeMap<String, i64> {
    let (mut rows, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for Input { row, group, .. } in (0..written).map(|number| input(epoch_ms, number)) {
        *groups.entry(group.clone()).or_default() += 1;
        if let Some(former) = rows.insert(row, group) {
            *groups.entry(former).or_default() -= 1;
        }
    }
    groups
}
