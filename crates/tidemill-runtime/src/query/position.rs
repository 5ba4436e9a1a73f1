//! Positions: which records of its inputs an answer reflects (KIP-796), and how far a query wants it to be.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use tidemill_client::TopicPartition;

/// How far partitions are reflected: of each, the offset of the last record.
///
/// As text it is what errors say of records, `clicks-0@41,clicks-1@7`:
///
/// ```
/// use tidemill_runtime::Position;
///
/// let position = Position::new().with("clicks", 0, 41).with("clicks", 1, 7);
/// assert_eq!(position.to_string(), "clicks-0@41,clicks-1@7");
/// assert_eq!("clicks-1@7,clicks-0@41".parse(), Ok(position));
/// # Ok::<(), tidemill_runtime::PositionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position(BTreeMap<TopicPartition, i64>);

/// Text that is no [`Position`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no position: write TOPIC-PARTITION@OFFSET, with commas between several")]
pub struct PositionError(String);

impl Position {
    /// Of no partition.
    pub fn new() -> Self {
        Self::default()
    }

    /// This one, and a partition up to the record at an offset; of two that are said of one partition the later holds. With
    /// what a producer was told of a record it wrote, a query sees that record.
    #[must_use]
    pub fn with(mut self, topic: impl Into<String>, partition: i32, offset: i64) -> Self {
        self.reach(TopicPartition::new(topic.into(), partition), offset);
        self
    }

    /// What is as far as both.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        self.reach_all(other);
        self
    }

    /// The offset of the last record of a partition that is reflected.
    pub fn of(&self, topic: &str, partition: i32) -> Option<i64> {
        self.0.get(&TopicPartition::new(topic, partition)).copied()
    }

    /// The partitions in order, each with the offset of its last record that is reflected.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.0.iter().map(|(at, offset)| (at, *offset))
    }

    /// Whether it is of no partition.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn reach(&mut self, at: TopicPartition, offset: i64) {
        let known = self.0.entry(at).or_insert(offset);
        *known = offset.max(*known);
    }

    pub(super) fn reach_all(&mut self, other: &Self) {
        other
            .iter()
            .for_each(|(at, offset)| self.reach(at.clone(), offset));
    }

    /// Whether it is as far as `wanted` in the partitions that are `ours`.
    pub(super) fn has_reached(&self, wanted: &Self, ours: impl Fn(&TopicPartition) -> bool) -> bool {
        wanted
            .iter()
            .filter(|(at, _)| ours(at))
            .all(|(at, offset)| self.0.get(at).is_some_and(|reached| *reached >= offset))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (at, offset)) in self.0.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{at}@{offset}")?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |part: &str| {
            let (at, offset) = part.rsplit_once('@')?;
            let (topic, partition) = at.rsplit_once('-')?;
            let partition: i32 = partition.parse().ok().filter(|partition| *partition >= 0)?;
            let at = TopicPartition::new(topic, partition);
            // The characters that Kafka allows in a topic's name.
            let named = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            let is_name = !topic.is_empty() && topic.bytes().all(named);
            Some((at, offset.parse().ok()?)).filter(|_| is_name)
        };
        let mut position = Self::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (at, offset) = parse(part).ok_or_else(|| PositionError(part.to_owned()))?;
            position.reach(at, offset);
        }
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_back_and_what_is_no_position_is_refused_by_name() {
        let position = Position::new().with("a-b.c", 3, 0).with("a", 12, i64::MAX);
        assert_eq!(position.to_string().parse(), Ok(position));
        assert_eq!("".parse(), Ok(Position::new()));
        for wrong in [
            "clicks",
            "clicks-0",
            "clicks@1",
            "-0@1",
            "clicks-0@x",
            "a-0@1;b-0@1",
        ] {
            let refused = wrong.parse::<Position>().unwrap_err().to_string();
            assert!(refused.contains(&format!("{wrong:?}")), "{refused}");
        }
    }

    #[test]
    fn only_partitions_that_are_ours_hold_an_answer_up() {
        let reached = Position::new().with("t", 0, 4);
        let wanted = Position::new().with("t", 0, 4).with("t", 1, 9);
        assert!(reached.has_reached(&wanted, |at| at.partition == 0));
        assert!(!reached.has_reached(&wanted, |_| true));
        assert!(!reached.has_reached(&Position::new().with("t", 0, 5), |_| true));
        assert_eq!(reached.merge(&wanted), wanted);
    }
}
