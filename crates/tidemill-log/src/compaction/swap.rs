//! How a compacted segment takes the place of those it was made from, so that a crash between any two steps leaves either
//! the old segments or the new one.
//!
//! ```text
//!  1 <base>.log.cleaned, .index.cleaned, .timeindex.cleaned [, .txnindex.cleaned]   written and synced
//!  2 each renamed to .swap, the data last; directory synced                         from here on the new one holds
//!  3 the old segments above <base> renamed to .deleted, oldest first; directory synced
//!  4 .swap renamed away, the data last; directory synced
//!  5 .deleted removed
//! ```
//! What opening finds: `.cleaned` and `.deleted` go. A `.log.swap` is finished from step 3 on; a `.swap` without it was
//! not complete, and goes. Step 3 removes from the front: what a crash leaves of the old segments begins behind the last
//! record of the new one, so nothing in it stayed, and the next compaction drops it again.

use std::collections::BTreeMap;
use std::path::Path;

use crate::batch::{BatchHeader, HEADER_LEN};
use crate::disk::{self, DirEntry, Disk, DiskError};
use crate::segment::{self, INDEX, LOG, TIME_INDEX, TXN_INDEX};
use crate::types::Offset;

pub(crate) const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";
const DELETED: &str = ".deleted";

/// The files that compaction writes, in the order of renaming: the data last, because its name decides.
pub(super) const FILES: [&str; 4] = [TXN_INDEX, TIME_INDEX, INDEX, LOG];

/// Step 2. After an error from a rename nothing has happened that opening would not undo.
pub(crate) fn commit(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<(), DiskError> {
    rename_all(disk, dir, base, CLEANED, SWAP)?;
    disk.sync_dir(dir)
}

/// Step 3.
pub(crate) fn retire(disk: &dyn Disk, dir: &Path, old: &[Offset]) -> Result<(), DiskError> {
    for base in old {
        // Data first: what a crash leaves is then indexes without a segment, which opening removes.
        for suffix in FILES.iter().rev() {
            let from = segment::file_path(dir, *base, suffix);
            let to = segment::file_path(dir, *base, &format!("{suffix}{DELETED}"));
            rename_if_exists(disk, &from, &to)?;
        }
        disk::remove_if_exists(disk, &segment::file_path(dir, *base, segment::SNAPSHOT))?;
    }
    match old {
        [] => Ok(()),
        _ => disk.sync_dir(dir),
    }
}

/// Step 4.
pub(crate) fn complete(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<(), DiskError> {
    rename_all(disk, dir, base, SWAP, "")?;
    disk.sync_dir(dir)
}

/// Step 5.
pub(crate) fn remove_retired(disk: &dyn Disk, dir: &Path, old: &[Offset]) -> Result<(), DiskError> {
    for base in old {
        for suffix in FILES {
            let path = segment::file_path(dir, *base, &format!("{suffix}{DELETED}"));
            disk::remove_if_exists(disk, &path)?;
        }
    }
    Ok(())
}

/// Finishes or undoes what a crash interrupted, as the `names` in `dir` tell; says whether there was something.
pub(crate) fn recover(disk: &dyn Disk, dir: &Path, names: &[DirEntry]) -> Result<bool, DiskError> {
    let mut found = false;
    let mut swaps: Vec<Offset> = Vec::new();
    let mut incomplete: Vec<&String> = Vec::new();
    let mut segments: BTreeMap<Offset, ()> = BTreeMap::new();
    for entry in names {
        let DirEntry::File { name, .. } = entry else {
            continue;
        };
        if name.ends_with(CLEANED) || name.ends_with(DELETED) {
            disk.remove(&dir.join(name))?;
            found = true;
        } else if name.ends_with(SWAP) {
            match base_of(name, &format!("{LOG}{SWAP}")) {
                Some(base) => swaps.push(base),
                None => incomplete.push(name),
            }
        } else if let Some(base) = base_of(name, LOG) {
            segments.insert(base, ());
        }
    }
    for base in &swaps {
        found = true;
        let next = next_offset(disk, dir, *base)?;
        let old: Vec<Offset> = segments
            .keys()
            .filter(|old| *old > base && **old < next)
            .copied()
            .collect();
        tracing::info!(dir = %dir.display(), %base, %next, "finishing a compaction that was interrupted");
        retire(disk, dir, &old)?;
        complete(disk, dir, *base)?;
        remove_retired(disk, dir, &old)?;
    }
    for name in incomplete {
        found = true;
        disk::remove_if_exists(disk, &dir.join(name))?;
    }
    Ok(found)
}

/// The offset after the last batch of `<base>.log.swap`.
fn next_offset(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<Offset, DiskError> {
    let file = disk.open(&segment::file_path(dir, base, &format!("{LOG}{SWAP}")))?;
    let (mut position, mut next, mut bytes) = (0, base, Vec::new());
    loop {
        bytes.clear();
        file.read_at(position, HEADER_LEN, &mut bytes)?;
        // It was synced before it got its name; should a header be bad all the same, the check of the log will say so.
        let Ok(header) = BatchHeader::parse(&bytes) else {
            return Ok(next);
        };
        next = next.max(header.next_offset());
        position += header.size as u64;
    }
}

fn base_of(name: &str, suffix: &str) -> Option<Offset> {
    let (base, rest) = name.split_once('.')?;
    let digits = base.len() == 20 && base.bytes().all(|b| b.is_ascii_digit());
    (digits && rest == suffix)
        .then(|| base.parse().ok())
        .flatten()
        .map(Offset)
}

fn rename_all(disk: &dyn Disk, dir: &Path, base: Offset, from: &str, to: &str) -> Result<(), DiskError> {
    FILES.iter().try_for_each(|suffix| {
        let from = segment::file_path(dir, base, &format!("{suffix}{from}"));
        let to = segment::file_path(dir, base, &format!("{suffix}{to}"));
        rename_if_exists(disk, &from, &to)
    })
}

fn rename_if_exists(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), DiskError> {
    match disk.rename(from, to) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
