//! Ranges of a segment that hold no valid batches though valid data follows. They are reported and never served.
//!
//! ```text
//! <base>.damaged   a line a range: position end first_offset next_offset
//! ```
//! The file is ours alone; Kafka's tools pass it by. It is there because a clean start does not look at sealed
//! segments again, and must not serve what an earlier one found damaged.

use std::fmt::Write as _;
use std::path::Path;

use crate::disk::{self, Disk, DiskError};
use crate::types::Offset;

/// A damaged range of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Where it starts in the segment's file.
    pub position: u64,
    /// Where it ends: the next valid batch, or the end of the segment.
    pub end: u64,
    /// The first offset that is lost.
    pub first_offset: Offset,
    /// The first offset after the range.
    pub next_offset: Offset,
}

impl Damage {
    fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let damage = Self {
            position: words.next()?.parse().ok()?,
            end: words.next()?.parse().ok()?,
            first_offset: Offset(words.next()?.parse().ok()?),
            next_offset: Offset(words.next()?.parse().ok()?),
        };
        words.next().is_none().then_some(damage)
    }
}

/// What an earlier start found; `None` when the file cannot be read as such.
pub(crate) fn load(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<Damage>>, DiskError> {
    let Some(bytes) = disk::read_if_exists(disk, path)? else {
        return Ok(Some(Vec::new()));
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(None);
    };
    Ok(text.lines().map(Damage::from_line).collect())
}

/// Keeps what was found, or removes the file when there is nothing.
pub(crate) fn store(disk: &dyn Disk, path: &Path, damages: &[Damage]) -> Result<(), DiskError> {
    if damages.is_empty() {
        return disk::remove_if_exists(disk, path);
    }
    let mut text = String::new();
    for damage in damages {
        let Damage {
            position,
            end,
            first_offset,
            next_offset,
        } = damage;
        writeln!(text, "{position} {end} {first_offset} {next_offset}").expect("a string takes any text");
    }
    disk::replace(disk, path, text.as_bytes())
}
