//! Kafka's small text files: a version, a count, and a line for each entry.
//!
//! ```text
//! recovery-point-offset-checkpoint, log-start-offset-checkpoint, cleaner-offset-checkpoint  (per log directory)
//!     0 \n count \n <topic> <partition> <offset> \n ...
//! leader-epoch-checkpoint (per partition)
//!     0 \n count \n <epoch> <start offset> \n ...
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::disk::{self, Disk, DiskError};
use crate::types::{Offset, TopicPartition};

/// The offset up to which each partition is known to be durable.
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// The first offset of each partition.
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// The offset up to which each partition is compacted.
pub(crate) const COMPACTED: &str = "cleaner-offset-checkpoint";

/// Reads the lines of a checkpoint through `entry`; `None` when the file is missing or not a checkpoint.
pub(crate) fn read<T>(
    disk: &dyn Disk,
    path: &Path,
    entry: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, DiskError> {
    let Some(bytes) = disk::read_if_exists(disk, path)? else {
        return Ok(None);
    };
    let parsed = String::from_utf8(bytes).ok().and_then(|text| parse(&text, entry));
    if parsed.is_none() {
        tracing::warn!(path = %path.display(), "not a checkpoint, passed over");
    }
    Ok(parsed)
}

fn parse<T>(text: &str, entry: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut lines = text.lines();
    let version: u32 = lines.next()?.trim().parse().ok()?;
    let count: usize = lines.next()?.trim().parse().ok()?;
    let entries: Option<Vec<T>> = lines.map(entry).collect();
    entries.filter(|entries| version == 0 && entries.len() == count)
}

/// Replaces a checkpoint.
pub(crate) fn write(
    disk: &dyn Disk,
    path: &Path,
    lines: impl ExactSizeIterator<Item = String>,
) -> Result<(), DiskError> {
    disk::replace(disk, path, text(lines).as_bytes())
}

/// Replaces a checkpoint that can be made again from the log.
pub(crate) fn write_unsynced(
    disk: &dyn Disk,
    path: &Path,
    lines: impl ExactSizeIterator<Item = String>,
) -> Result<(), DiskError> {
    disk::replace_unsynced(disk, path, text(lines).as_bytes())
}

fn text(lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        writeln!(text, "{line}").expect("a string takes any text");
    }
    text
}

/// Reads a checkpoint of offsets by partition; empty when there is none.
pub(crate) fn read_offsets(
    disk: &dyn Disk,
    path: &Path,
) -> Result<BTreeMap<TopicPartition, Offset>, DiskError> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let partition = TopicPartition::new(words.next()?, words.next()?.parse().ok()?);
        Some((partition, Offset(words.next()?.parse().ok()?)))
    };
    Ok(read(disk, path, entry)?.unwrap_or_default().into_iter().collect())
}

/// Replaces a checkpoint of offsets by partition.
pub(crate) fn write_offsets(
    disk: &dyn Disk,
    path: &Path,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<(), DiskError> {
    let lines = offsets
        .iter()
        .map(|(at, offset)| format!("{} {} {offset}", at.topic, at.partition));
    write(disk, path, lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn offsets_come_back_in_kafkas_text() {
        let disk = MemoryDisk::new();
        disk.create_dir(Path::new("/d")).unwrap();
        let path = Path::new("/d").join(RECOVERY_POINTS);
        assert_eq!(read_offsets(&disk, &path).unwrap(), BTreeMap::new());
        let offsets = BTreeMap::from([
            (TopicPartition::new("a", 0), Offset(7)),
            (TopicPartition::new("b-c", 12), Offset(0)),
        ]);
        write_offsets(&disk, &path, &offsets).unwrap();
        assert_eq!(disk.content(&path).unwrap(), b"0\n2\na 0 7\nb-c 12 0\n");
        assert_eq!(read_offsets(&disk, &path).unwrap(), offsets);
    }

    #[test]
    fn a_checkpoint_that_lies_is_passed_over() {
        let entry = |line: &str| line.parse::<i32>().ok();
        assert_eq!(parse("0\n2\n1\n2\n", entry), Some(vec![1, 2]));
        for bad in [
            "",
            "0",
            "1\n0\n",
            "0\n3\n1\n2\n",
            "0\n1\n1\n2\n",
            "0\n1\nx\n",
            "0\n-1\n",
        ] {
            assert_eq!(parse(bad, entry), None, "{bad:?}");
        }
    }
}
