//! Why a database could not be opened.

use std::path::{Path, PathBuf};

use rocksdb::ErrorKind;

/// A database that could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another thread of this one, has the database open.
    #[error("the state in {} is in use: {source}", path.display())]
    Locked {
        /// The database's directory.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// The files are not those of a whole database. Delete the directory and restore from the changelogs.
    #[error("the state in {} is corrupt and has to be deleted: {source}", path.display())]
    Corrupt {
        /// The database's directory.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// The directory could not be read or written.
    #[error("the state in {} could not be opened: {source}", path.display())]
    Io {
        /// The database's directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Anything else that RocksDB refused.
    #[error("the state in {} could not be opened: {source}", path.display())]
    Refused {
        /// The database's directory.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
}

// RocksDB has no kind for a lock held by another process, or by this one.
const LOCKED: [&str; 2] = ["While lock file", "lock hold by current process"];

impl OpenError {
    pub(crate) fn of(path: &Path, source: rocksdb::Error) -> Self {
        let path = path.to_owned();
        let text: &str = source.as_ref();
        // A file that is missing from under a manifest is an I/O error to RocksDB.
        match source.kind() {
            ErrorKind::IOError if LOCKED.iter().any(|words| text.contains(words)) => {
                Self::Locked { path, source }
            }
            ErrorKind::Corruption => Self::Corrupt { path, source },
            ErrorKind::IOError if text.contains("No such file") => Self::Corrupt { path, source },
            _ => Self::Refused { path, source },
        }
    }
}
