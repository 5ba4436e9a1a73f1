//! The directory in which an instance keeps its state.
//!
//! ```text
//! <state.dir>/<app>/lock            held as long as the instance lives: two instances never share state
//! <state.dir>/<app>/instance-id     a UUID in text, made once
//! <state.dir>/<app>/<task>/         the task's database, <task> = <subtopology>_<partition>
//! <state.dir>/<app>/<task>/owner    "<app> <task>" in text: a folder that was moved or copied is not taken for another's
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use uuid::Uuid;

/// An instance's directory, locked.
#[derive(Debug)]
pub(crate) struct StateDir {
    root: PathBuf,
    instance_id: Uuid,
    lock: File,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDirError {
    /// Another instance lives here.
    #[error("{} is in use by another instance; give each its own `state.dir`", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A task's folder holds the state of something else.
    #[error(
        "{} holds the state of {holds}: move it back where it belongs, or delete it, and it is restored from its \
         changelogs", .path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Whose state it is: the program and the task.
        holds: String,
    },
    /// The file system refused.
    #[error("{operation} {}: {error}", .path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl StateDir {
    /// Makes the directory if need be, and locks it.
    pub(crate) fn open(state_dir: &Path, app: &str) -> Result<Self, StateDirError> {
        let root = state_dir.join(app);
        fs::create_dir_all(&root).map_err(|e| failed("create", &root, e))?;
        let path = root.join("lock");
        let lock = File::create(&path).map_err(|e| failed("create", &path, e))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StateDirError::InUse { path: root }),
            Err(error) => return Err(failed("lock", &path, error.into())),
        }
        let instance_id = instance_id(&root.join("instance-id"))?;
        Ok(Self {
            root,
            instance_id,
            lock,
        })
    }

    pub(crate) fn instance_id(&self) -> Uuid {
        self.instance_id
    }

    /// Where a task keeps its database. Errors: what is there is another task's.
    pub(crate) fn task(&self, task: &str) -> Result<PathBuf, StateDirError> {
        let path = self.root.join(task);
        let app = self.root.file_name().unwrap_or_default().to_string_lossy();
        let (mark, owner) = (path.join("owner"), format!("{app} {task}"));
        match fs::read_to_string(&mark) {
            Ok(found) if found == owner => return Ok(path),
            Ok(holds) => return Err(StateDirError::Foreign { path, holds }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", &mark, error)),
        }
        // Without the mark nothing says whose state this is, so it is not used.
        if path.exists() {
            tracing::warn!(
                "{} is not marked as {owner}; it is restored from its changelogs",
                path.display()
            );
            fs::remove_dir_all(&path).map_err(|e| failed("delete", &path, e))?;
        }
        fs::create_dir_all(&path).map_err(|e| failed("create", &path, e))?;
        write_whole(&mark, &owner)?;
        Ok(path)
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // By name: a child process that is being started has a copy of every open file until it runs its program, and to
        // close ours would leave the lock with that copy.
        if let Err(error) = rustix::fs::flock(&self.lock, FlockOperation::Unlock) {
            tracing::warn!("{}: its lock was not released: {error}", self.root.display());
        }
    }
}

fn instance_id(path: &Path) -> Result<Uuid, StateDirError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            if let Ok(id) = Uuid::try_parse(text.trim()) {
                return Ok(id);
            }
            tracing::warn!("{} holds no id; making a new one", path.display());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", path, error)),
    }
    let id = Uuid::new_v4();
    write_whole(path, &id.to_string())?;
    Ok(id)
}

/// Writes beside and renames, so that a crash leaves the old text or the new one, never half of one.
fn write_whole(path: &Path, text: &str) -> Result<(), StateDirError> {
    let beside = path.with_extension("new");
    // Synced before it has its name: else a crash may keep the name and lose the text, and an empty mark is a foreign one.
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|e| failed("write", &beside, e))?;
    fs::rename(&beside, path).map_err(|e| failed("rename", &beside, e))?;
    let parent = path.parent().unwrap_or(path);
    let synced = File::open(parent).and_then(|dir| dir.sync_all());
    synced.map_err(|e| failed("sync", parent, e))
}

fn failed(operation: &'static str, path: &Path, error: io::Error) -> StateDirError {
    StateDirError::Io {
        operation,
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_keeps_its_id_and_its_directory_to_itself() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path(), "app").unwrap();
        assert!(matches!(
            StateDir::open(dir.path(), "app"),
            Err(StateDirError::InUse { .. })
        ));
        let id = first.instance_id();
        // As a child has it that is being started.
        let copy = first.lock.try_clone().unwrap();
        drop(first);
        assert_eq!(StateDir::open(dir.path(), "app").unwrap().instance_id(), id);
        drop(copy);
    }

    #[test]
    fn a_damaged_id_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(StateDir::open(dir.path(), "app").unwrap());
        fs::write(dir.path().join("app/instance-id"), "garbage").unwrap();
        assert!(!StateDir::open(dir.path(), "app").unwrap().instance_id().is_nil());
    }
}
