//! The metadata log: an append-only file in the first log directory.
//!
//! ```text
//!  0  8  magic "TMMETA\0\1"
//!  8     frames, each
//!        0  4  length of the payload
//!        4  4  CRC-32C of the payload
//!        8     payload: the changes of one request, one behind the other
//! ```
//! A frame is all or nothing, so a request that changes several things is too. After a crash a bad frame at the very end
//! is cut off: nobody was told that it holds. A bad frame before a good one is damage, and so is a good one that holds what
//! this version does not know (an older broker must not cut off what a newer one wrote): the broker does not start.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Change, Image};

const NAME: &str = "tidemill-metadata.log";
const MAGIC: &[u8; 8] = b"TMMETA\0\x01";
const FRAME_HEADER: usize = 8;

/// The metadata log cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The file is not a metadata log of this version.
    #[error("{} is not a metadata log of this version", .0.display())]
    Foreign(PathBuf),
    /// A frame is damaged and others follow it.
    #[error("{} is damaged at byte {at}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged frame begins.
        at: usize,
    },
    /// A whole frame holds a change that this version does not know.
    #[error("{} has a change of another version at byte {at}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        at: usize,
    },
    /// The disk refused.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An earlier write failed, and what is in the file since is not known.
    #[error("the metadata log is read-only after a failed write")]
    Poisoned,
}

/// Whether a change must be on disk before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Synced,
    /// The directory goes with the broker, so nothing outlives a power failure anyway.
    PageCache,
}

/// The open metadata log with what it says.
#[derive(Debug)]
pub(crate) struct MetadataFile {
    path: PathBuf,
    file: File,
    durability: Durability,
    image: Image,
    poisoned: bool,
}

impl MetadataFile {
    /// What the log in `dir` says, and how many of its bytes are good; 0 when there is none.
    pub(crate) fn read(dir: &Path) -> Result<(Image, usize), MetadataError> {
        let path = dir.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(MetadataError::Disk { path, source }),
        };
        replay(&bytes).map_err(|bad| match bad {
            Bad::Foreign => MetadataError::Foreign(path),
            Bad::DamagedAt(at) => MetadataError::Damaged { path, at },
            Bad::UnknownAt(at) => MetadataError::Unknown { path, at },
        })
    }

    /// Opens the log in `dir` for appending behind its `good` bytes; what lies behind them is cut off.
    pub(crate) fn open(
        dir: &Path,
        image: Image,
        good: usize,
        durability: Durability,
    ) -> Result<Self, MetadataError> {
        let path = dir.join(NAME);
        let file = Self::prepare(dir, &path, good, durability);
        let file = file.map_err(|source| MetadataError::Disk {
            path: path.clone(),
            source,
        })?;
        Ok(MetadataFile {
            path,
            file,
            durability,
            image,
            poisoned: false,
        })
    }

    fn prepare(dir: &Path, path: &Path, good: usize, durability: Durability) -> io::Result<File> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(good as u64)?;
        if good == 0 {
            file.write_all(MAGIC)?;
        }
        if durability == Durability::Synced {
            file.sync_all()?;
            // The directory too: without it a crash can keep the bytes and lose the name.
            File::open(dir)?.sync_all()?;
        }
        Ok(file)
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// Appends `changes` as one frame. They hold when this returns, and not at all when it fails.
    pub(crate) fn append(&mut self, changes: &[Change]) -> Result<(), MetadataError> {
        if self.poisoned {
            return Err(MetadataError::Poisoned);
        }
        let frame = frame(changes);
        let mut written = self.file.write_all(&frame);
        if written.is_ok() && self.durability == Durability::Synced {
            written = self.file.sync_data();
        }
        if let Err(source) = written {
            self.poisoned = true;
            return Err(MetadataError::Disk {
                path: self.path.clone(),
                source,
            });
        }
        changes.iter().for_each(|change| self.image.apply(change));
        Ok(())
    }
}

/// One frame of `changes`.
pub(super) fn frame(changes: &[Change]) -> Vec<u8> {
    let mut payload = Vec::new();
    changes.iter().for_each(|change| change.encode(&mut payload));
    let length = u32::try_from(payload.len()).expect("a request's changes are shorter than 2^32 bytes");
    let mut frame = Vec::with_capacity(FRAME_HEADER + payload.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&crc32c::crc32c(&payload).to_be_bytes());
    frame.extend_from_slice(&payload);
    frame
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Foreign,
    DamagedAt(usize),
    UnknownAt(usize),
}

/// What `bytes` say, and how many of them are good.
pub(super) fn replay(bytes: &[u8]) -> Result<(Image, usize), Bad> {
    let mut image = Image::default();
    let Some(mut rest) = bytes.strip_prefix(MAGIC.as_slice()) else {
        // A crash may leave a new file with part of its magic.
        return if MAGIC.starts_with(bytes) {
            Ok((image, 0))
        } else {
            Err(Bad::Foreign)
        };
    };
    loop {
        let at = bytes.len() - rest.len();
        match take_frame(rest) {
            Some((mut payload, after)) => {
                while !payload.is_empty() {
                    image.apply(&Change::decode(&mut payload).ok_or(Bad::UnknownAt(at))?);
                }
                rest = after;
            }
            None if good_frame_follows(rest) => return Err(Bad::DamagedAt(at)),
            None => return Ok((image, at)),
        }
    }
}

/// The payload of the frame at the front of `bytes`, and what follows it.
fn take_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (payload, after) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    // An empty frame is never written; zeros at the end of a file would look like one.
    if payload.is_empty() || crc32c::crc32c(payload) != u32::from_be_bytes(*crc) {
        return None;
    }
    Some((payload, after))
}

/// Whether a good frame stands anywhere behind the bad one at the front.
fn good_frame_follows(bytes: &[u8]) -> bool {
    (1..bytes.len()).any(|at| bytes.get(at..).is_some_and(|rest| take_frame(rest).is_some()))
}
