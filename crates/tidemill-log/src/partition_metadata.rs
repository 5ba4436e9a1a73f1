//! `partition.metadata`: which topic a partition's directory belongs to.
//!
//! ```text
//! version: 0
//! topic_id: <the id's 16 bytes in URL-safe base64 without padding>
//! ```

use std::path::Path;

use uuid::Uuid;

use crate::disk::{self, Disk, DiskError};

pub(crate) const FILE: &str = "partition.metadata";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The digits of 128 bits, six each.
const DIGITS: usize = 22;

/// The topic id of the partition in `dir`; `None` when the file is missing or torn.
pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Uuid>, DiskError> {
    let Some(bytes) = disk::read_if_exists(disk, &dir.join(FILE))? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).unwrap_or_default();
    Ok(text
        .lines()
        .find_map(|line| from_base64(line.strip_prefix("topic_id:")?.trim())))
}

/// Writes the topic id. Not synced: the broker's metadata has it too.
pub(crate) fn write(disk: &dyn Disk, dir: &Path, topic_id: Uuid) -> Result<(), DiskError> {
    let text = format!("version: 0\ntopic_id: {}\n", to_base64(topic_id));
    disk::replace_unsynced(disk, &dir.join(FILE), text.trim_end().as_bytes())
}

/// An id as Kafka prints it.
pub(crate) fn to_base64(id: Uuid) -> String {
    // 22 digits hold 132 bits; the last four are zero.
    let digit = |at: usize| {
        let shift = 122i32 - 6 * i32::try_from(at).expect("fewer than 22 digits");
        let bits = if shift >= 0 {
            id.as_u128() >> shift
        } else {
            id.as_u128() << -shift
        };
        let six = usize::try_from(bits & 0x3f).expect("six bits");
        char::from(*ALPHABET.get(six).expect("six bits index 64 digits"))
    };
    (0..DIGITS).map(digit).collect()
}

fn from_base64(text: &str) -> Option<Uuid> {
    if text.len() != DIGITS {
        return None;
    }
    let mut id = 0u128;
    for (at, byte) in text.bytes().enumerate() {
        let six = ALPHABET.iter().position(|digit| *digit == byte)? as u128;
        // The last digit carries two bits of the id.
        id = if at + 1 < DIGITS {
            id << 6 | six
        } else {
            id << 2 | six >> 4
        };
    }
    Some(Uuid::from_u128(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn ids_are_kept_in_kafkas_text() {
        let id = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0fff);
        assert_eq!(to_base64(id), "AQIDBAUGBwgJCgsMDQ4P_w");
        for id in [id, Uuid::nil(), Uuid::max()] {
            assert_eq!(from_base64(&to_base64(id)), Some(id));
        }
        let disk = MemoryDisk::new();
        disk.create_dir(Path::new("/p")).unwrap();
        assert_eq!(read(&disk, Path::new("/p")).unwrap(), None);
        write(&disk, Path::new("/p"), id).unwrap();
        assert_eq!(read(&disk, Path::new("/p")).unwrap(), Some(id));
        for bad in ["", "AQIDBAUGBwgJCgsMDQ4P_", "AQIDBAUGBwgJCgsMDQ4P+w"] {
            assert_eq!(from_base64(bad), None);
        }
    }
}
