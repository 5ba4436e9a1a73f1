//! The stream times of a task and of its operators, and the text in which they go with committed offsets.
//!
//! Lateness is judged by the largest timestamp an operator has taken in. After a restart it must know that time again,
//! or it would take records that were late before. Changelogs cannot carry it, since their bytes are Kafka Streams'
//! own; so it goes where Kafka Streams puts a partition's time, into the metadata of the committed offset:
//!
//! ```text
//! base64 of  version = 2 (1) | stream time of the task (8)
//!            | entries (4) | { length of the name (4) | name | time (8) } …     all big-endian
//! ```
//! Kafka Streams ends it after the stream time where it has no entries, and writes -1 for a time that is not known.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tidemill_data::Timestamp;

/// Identifies an operator's clock within the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClockIndex(pub(crate) usize);

/// Kafka's own format of partition time with processor metadata.
const VERSION: u8 = 2;

/// As Kafka Streams writes a time that it does not know.
const UNKNOWN: i64 = -1;

/// Bytes before base64: Kafka brokers keep at most 4,096 characters of metadata (`offset.metadata.max.bytes`).
const ENCODED_BYTES_MAX: usize = 3_000;

/// The largest timestamps that a task and its operators have taken in.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    task: Timestamp,
    // By clock index.
    operators: Vec<Timestamp>,
    // By clock index: from when on something may wait for its time; `MAX` for nothing, `MIN` when nobody has looked.
    waiting: Vec<Timestamp>,
}

/// Follows the operator's name in the entry of what waits.
const WAITING: &str = "-waiting";

impl Clocks {
    pub(crate) fn new(operators: usize) -> Self {
        Self {
            task: Timestamp::MIN,
            operators: vec![Timestamp::MIN; operators],
            waiting: vec![Timestamp::MIN; operators],
        }
    }

    /// The largest timestamp that the task has taken up.
    pub(crate) fn task(&self) -> Timestamp {
        self.task
    }

    pub(crate) fn observe_task(&mut self, timestamp: Timestamp) {
        self.task = self.task.max(timestamp);
    }

    /// An operator's largest timestamp so far.
    pub(crate) fn operator(&self, clock: ClockIndex) -> Timestamp {
        self.operators.get(clock.0).copied().unwrap_or(Timestamp::MIN)
    }

    /// Takes a timestamp into account; the operator's largest so far, this one included.
    pub(crate) fn observe(&mut self, clock: ClockIndex, timestamp: Timestamp) -> Timestamp {
        let Some(time) = self.operators.get_mut(clock.0) else {
            return timestamp;
        };
        *time = timestamp.max(*time);
        *time
    }

    /// From when on something may wait in an operator for its time: `MAX` for nothing, `MIN` when nobody has looked.
    pub(crate) fn waiting(&self, clock: ClockIndex) -> Timestamp {
        self.waiting.get(clock.0).copied().unwrap_or(Timestamp::MIN)
    }

    /// Says from when on something may wait; `MAX` for nothing.
    pub(crate) fn set_waiting(&mut self, clock: ClockIndex, from: Timestamp) {
        if let Some(waiting) = self.waiting.get_mut(clock.0) {
            *waiting = from;
        }
    }

    /// The text for a commit's offsets. Operators beyond the broker's bound on metadata are left out, last ones first.
    pub(crate) fn encode(&self, names: &[&str]) -> String {
        let times = names
            .iter()
            .zip(&self.operators)
            .map(|(name, time)| (name, "", *time));
        let waiting = names
            .iter()
            .zip(&self.waiting)
            .map(|(name, from)| (name, WAITING, *from));
        let known = times.chain(waiting);
        let known = known.filter(|(_, _, time)| ![Timestamp::MIN, Timestamp::MAX].contains(time));
        let mut entries = Vec::new();
        let mut count = 0_u32;
        for (name, suffix, time) in known {
            let bytes = name.len() + suffix.len();
            if 13 + entries.len() + 4 + bytes + 8 > ENCODED_BYTES_MAX {
                continue;
            }
            let len = u32::try_from(bytes).expect("bounded by ENCODED_BYTES_MAX");
            entries.extend_from_slice(&len.to_be_bytes());
            entries.extend_from_slice(name.as_bytes());
            entries.extend_from_slice(suffix.as_bytes());
            entries.extend_from_slice(&time.millis().to_be_bytes());
            count += 1;
        }
        let mut bytes = vec![VERSION];
        let task = Some(self.task).filter(|time| *time > Timestamp::MIN);
        bytes.extend_from_slice(&task.map_or(UNKNOWN, Timestamp::millis).to_be_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(&entries);
        STANDARD.encode(bytes)
    }

    /// Takes in the times of a committed offset's metadata; clocks only go forward, and what waits is looked for from
    /// the earliest time that any of them says.
    ///
    /// Metadata of others, or cut short, changes nothing and gives `false`.
    pub(crate) fn resume(&mut self, names: &[&str], metadata: &str) -> bool {
        let Some((task, times)) = decode(metadata) else {
            return false;
        };
        if task.millis() != UNKNOWN {
            self.observe_task(task);
        }
        for (clock, name) in names.iter().enumerate() {
            if let Some(time) = times.get(*name) {
                let _ = self.observe(ClockIndex(clock), *time);
            }
            if let Some(from) = times.get(&format!("{name}{WAITING}")) {
                let earliest = match self.waiting(ClockIndex(clock)) {
                    Timestamp::MIN => *from,
                    known => known.min(*from),
                };
                self.set_waiting(ClockIndex(clock), earliest);
            }
        }
        true
    }
}

fn decode(metadata: &str) -> Option<(Timestamp, BTreeMap<String, Timestamp>)> {
    let bytes = STANDARD.decode(metadata).ok()?;
    let (version, mut rest) = bytes.split_first()?;
    // Version 1 is the partition's time alone.
    if !(1..=VERSION).contains(version) {
        return None;
    }
    let task = take_time(&mut rest)?;
    let mut times = BTreeMap::new();
    if *version == VERSION && !rest.is_empty() {
        for _ in 0..take_u32(&mut rest)? {
            let len = usize::try_from(take_u32(&mut rest)?).ok()?;
            let (name, after) = rest.split_at_checked(len)?;
            rest = after;
            times.insert(std::str::from_utf8(name).ok()?.to_owned(), take_time(&mut rest)?);
        }
    }
    Some((task, times))
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*head))
}

fn take_time(bytes: &mut &[u8]) -> Option<Timestamp> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(Timestamp::from_millis(i64::from_be_bytes(*head)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn times_come_back_by_the_operators_names() {
        let mut clocks = Clocks::new(3);
        clocks.observe_task(at(70));
        assert_eq!(clocks.observe(ClockIndex(0), at(50)), at(50));
        assert_eq!(clocks.observe(ClockIndex(2), at(60)), at(60));
        assert_eq!(clocks.observe(ClockIndex(2), at(10)), at(60));
        let text = clocks.encode(&["a", "b", "c"]);
        let mut again = Clocks::new(2);
        assert!(again.resume(&["c", "new"], &text));
        assert_eq!(
            (
                again.task(),
                again.operator(ClockIndex(0)),
                again.operator(ClockIndex(1))
            ),
            (at(70), at(60), Timestamp::MIN)
        );
    }

    #[test]
    fn what_waits_comes_back_as_the_earliest_of_all_partitions() {
        let texts = [9, 7].map(|from| {
            let mut clocks = Clocks::new(2);
            clocks.set_waiting(ClockIndex(1), at(from));
            clocks.encode(&["a", "b"])
        });
        let mut again = Clocks::new(2);
        assert!(texts.iter().all(|text| again.resume(&["a", "b"], text)));
        assert_eq!(
            (again.waiting(ClockIndex(0)), again.waiting(ClockIndex(1))),
            (Timestamp::MIN, at(7))
        );
    }

    /// What `TopicPartitionMetadata.encode` of Kafka Streams 4.1 gives.
    #[test]
    fn what_kafka_streams_commits_is_understood() {
        let mut clocks = Clocks::new(1);
        assert!(clocks.resume(&["abc"], "Av//////////"), "nothing is known");
        assert_eq!(clocks.task(), Timestamp::MIN);
        assert!(
            clocks.resume(&["abc"], "AgAAAR9x+wTL"),
            "a partition's time, and no entries"
        );
        assert_eq!(clocks.task(), at(1_234_567_890_123));
        assert_eq!(clocks.operator(ClockIndex(0)), Timestamp::MIN);
        assert!(
            clocks.resume(&["abc"], "AgAAAR9x+wTLAAAAAQAAAANhYmMAAAAAAAAATQ=="),
            "an entry"
        );
        assert_eq!(clocks.operator(ClockIndex(0)), at(77));
    }

    #[test]
    fn the_time_of_a_task_that_read_nothing_is_unknown_to_kafka_streams_too() {
        let text = Clocks::new(1).encode(&["a"]);
        let bytes = STANDARD.decode(&text).unwrap();
        assert_eq!(bytes, [[VERSION].as_slice(), &[0xff; 8], &[0; 4]].concat());
        let mut again = Clocks::new(1);
        assert!(again.resume(&["a"], &text));
        assert_eq!(again.task(), Timestamp::MIN);
    }

    #[test]
    fn the_partition_time_of_old_programs_is_understood() {
        let mut clocks = Clocks::new(0);
        assert!(clocks.resume(&[], &STANDARD.encode([1, 0, 0, 0, 0, 0, 0, 1, 0])));
        assert_eq!(clocks.task(), at(256));
    }

    #[test]
    fn metadata_of_others_changes_nothing() {
        let mut clocks = Clocks::new(1);
        let _ = clocks.observe(ClockIndex(0), at(5));
        let whole = STANDARD.decode(clocks.encode(&["a"])).unwrap();
        // All but the time alone, which Kafka Streams writes where it has no entries.
        for cut in (0..whole.len()).filter(|cut| *cut != 9) {
            let mut fresh = Clocks::new(1);
            let text = STANDARD.encode(whole.get(..cut).unwrap());
            assert!(!fresh.resume(&["a"], &text), "cut at {cut}");
            assert_eq!(fresh.operator(ClockIndex(0)), Timestamp::MIN);
        }
        assert!(!clocks.resume(&["a"], "not base64!"));
        let mut lying = vec![VERSION];
        lying.extend_from_slice(&[0; 8]);
        lying.extend_from_slice(&u32::MAX.to_be_bytes());
        assert!(!clocks.resume(&["a"], &STANDARD.encode(lying)));
    }

    #[test]
    fn the_text_stays_within_what_brokers_keep() {
        let names: Vec<String> = (0..500).map(|n| format!("KSTREAM-AGGREGATE-{n:010}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut clocks = Clocks::new(names.len());
        for clock in 0..names.len() {
            let _ = clocks.observe(ClockIndex(clock), at(1));
        }
        let text = clocks.encode(&names);
        assert!(text.len() <= 4_096, "{} characters", text.len());
        assert!(Clocks::new(names.len()).resume(&names, &text));
    }
}
