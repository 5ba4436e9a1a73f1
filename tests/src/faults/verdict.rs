//! What a run must have led to.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// What a program promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Nothing is missing.
    AtLeastOnce,
    /// Nothing is missing and nothing is there twice.
    ExactlyOnce,
}

impl Guarantee {
    /// As `processing.guarantee` says it.
    pub fn setting(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at_least_once",
            Self::ExactlyOnce => "exactly_once_v2",
        }
    }

    /// Reads a `processing.guarantee`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "at_least_once" => Ok(Self::AtLeastOnce),
            "exactly_once_v2" => Ok(Self::ExactlyOnce),
            _ => bail!("{text:?} is neither at_least_once nor exactly_once_v2"),
        }
    }
}

/// What went in and what came out.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// How many records went in, numbered from 0.
    pub written: u64,
    /// How often each was copied.
    pub copies: BTreeMap<String, u64>,
    /// All totals of each group, in the order of their partition.
    pub totals: BTreeMap<String, Vec<i64>>,
}

impl Verdict {
    /// Whether the latest totals account for all that is expected of each group. A group that was counted too often
    /// does not make up for another.
    pub(super) fn accounts_for(&self, expected: &BTreeMap<String, i64>) -> bool {
        let last = |group: &str| self.totals.get(group).and_then(|totals| totals.last()).copied();
        let mut expected = expected.iter();
        expected.all(|(group, count)| last(group).unwrap_or(0) >= *count)
    }

    /// Everything that is not as promised, one line each.
    pub fn complaints(&self, guarantee: Guarantee) -> Vec<String> {
        let mut complaints = Vec::new();
        for number in 0..self.written {
            let number = number.to_string();
            match (self.copies.get(&number).copied().unwrap_or(0), guarantee) {
                (0, _) => complaints.push(format!("record {number} was not copied")),
                (1, _) | (_, Guarantee::AtLeastOnce) => {}
                (times, Guarantee::ExactlyOnce) => {
                    complaints.push(format!("record {number} was copied {times} times"));
                }
            }
        }
        for (group, count) in &expected(self.written) {
            let totals = self.totals.get(group).map_or(&[][..], Vec::as_slice);
            let last = totals.last().copied().unwrap_or(0);
            match guarantee {
                Guarantee::AtLeastOnce if last < *count => {
                    complaints.push(format!("{group} was counted {last} times, not {count}"));
                }
                Guarantee::ExactlyOnce if !totals.iter().copied().eq(1..=*count) => {
                    let wrong = totals.iter().zip(1..).find(|(total, n)| **total != *n);
                    complaints.push(format!(
                        "the totals of {group} are not 1 to {count}: {} of them, {}",
                        totals.len(),
                        wrong.map_or_else(String::new, |(total, n)| format!("{total} where {n} belongs"))
                    ));
                }
                _ => {}
            }
        }
        complaints
    }
}

/// How many of the first `written` records each group has.
pub(super) fn expected(written: u64) -> BTreeMap<String, i64> {
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for number in 0..written {
        *expected
            .entry(super::program::group(&number.to_string()))
            .or_default() += 1;
    }
    expected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(totals: &[i64]) -> Verdict {
        let copies = ["0", "100", "200"].map(|n| (n.to_owned(), 1));
        Verdict {
            written: 0,
            copies: copies.into_iter().collect(),
            totals: [("g00".to_owned(), totals.to_vec())].into(),
        }
    }

    #[test]
    fn a_record_that_is_missing_or_there_twice_is_named() {
        let mut run = verdict(&[]);
        run.written = 1;
        run.totals = [("g0".to_owned(), vec![1])].into();
        assert_eq!(run.complaints(Guarantee::ExactlyOnce), [] as [&str; 0]);
        run.copies.insert("0".into(), 2);
        assert_eq!(
            run.complaints(Guarantee::ExactlyOnce),
            ["record 0 was copied 2 times"]
        );
        assert_eq!(run.complaints(Guarantee::AtLeastOnce), [] as [&str; 0]);
        run.copies.clear();
        assert_eq!(
            run.complaints(Guarantee::AtLeastOnce),
            ["record 0 was not copied"]
        );
    }

    #[test]
    fn totals_that_jump_or_repeat_are_told() {
        let mut run = verdict(&[]);
        (run.written, run.copies) = (1, [("0".to_owned(), 1)].into());
        for wrong in [&[][..], &[2], &[1, 1], &[1, 2]] {
            run.totals = [("g0".to_owned(), wrong.to_vec())].into();
            assert_eq!(run.complaints(Guarantee::ExactlyOnce).len(), 1, "{wrong:?}");
        }
    }
}
