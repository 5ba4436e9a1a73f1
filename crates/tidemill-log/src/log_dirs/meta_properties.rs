//! `meta.properties`: whose log directory this is.
//!
//! ```text
//! cluster.id=<id>
//! node.id=<id>         broker.id in files of version 0
//! version=1
//! ```

use std::path::Path;

use crate::disk::{self, Disk, DiskError};
use crate::log::OpenError;

const FILE: &str = "meta.properties";

/// The owner of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MetaProperties {
    pub(super) node_id: i32,
    pub(super) cluster_id: String,
}

impl MetaProperties {
    /// Reads the file in `dir`; `None` when there is none, or none that names an owner.
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, DiskError> {
        let Some(bytes) = disk::read_if_exists(disk, &dir.join(FILE))? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let value = |key: &str| {
            let found = text
                .lines()
                .filter_map(|line| line.split_once('='))
                .find(|(k, _)| k.trim() == key);
            found.map(|(_, value)| value.trim().to_owned())
        };
        let node_id = value("node.id")
            .or_else(|| value("broker.id"))
            .and_then(|id| id.parse().ok());
        Ok(node_id
            .zip(value("cluster.id"))
            .map(|(node_id, cluster_id)| Self { node_id, cluster_id }))
    }

    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
        let Self { node_id, cluster_id } = self;
        let text = format!("cluster.id={cluster_id}\nnode.id={node_id}\nversion=1\n");
        disk::replace(disk, &dir.join(FILE), text.as_bytes())
    }

    /// Refuses a directory of another broker or cluster.
    pub(super) fn check(&self, dir: &Path, node_id: i32, cluster_id: &str) -> Result<(), OpenError> {
        let foreign = |key, found: &str, expected: &str| {
            let (found, expected) = (found.to_owned(), expected.to_owned());
            Err(OpenError::ForeignDirectory {
                dir: dir.to_owned(),
                key,
                found,
                expected,
            })
        };
        if self.node_id != node_id {
            return foreign("node.id", &self.node_id.to_string(), &node_id.to_string());
        }
        if self.cluster_id != cluster_id {
            return foreign("cluster.id", &self.cluster_id, cluster_id);
        }
        Ok(())
    }
}
