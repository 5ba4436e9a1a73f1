//! The memory of all databases in a process, under one limit.

use std::path::Path;

use rocksdb::{Cache, WriteBufferManager};

/// At most this much by default: state is fast with less, and a process is not alone.
const DEFAULT_BYTES_MAX: usize = 1 << 30;
/// At least this much: below, RocksDB flushes all the time.
const BYTES_MIN: usize = 16 << 20;

/// One part in so many is for the overlays above the databases, which answer most reads.
const OVERLAY_SHARE: usize = 4;

/// The memory that all state shares: of the databases opened with it the cached blocks, indexes and filters and the
/// writes not yet in a file, and the overlays above them. Clones are handles on the same budget.
#[derive(Clone)]
pub struct MemoryBudget {
    pub(crate) cache: Cache,
    pub(crate) write_buffers: WriteBufferManager,
    bytes: usize,
}

impl MemoryBudget {
    /// A limit of `bytes` (`state.memory.bytes`), but no less than 16 MiB.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.max(BYTES_MIN);
        let database_bytes = bytes - bytes / OVERLAY_SHARE;
        let cache = Cache::new_lru_cache(database_bytes);
        // Write buffers are charged to the cache, so the limit holds for both together. They get half: the rest
        // serves reads. Writers are not stalled at their limit but flush earlier.
        let write_buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(database_bytes / 2, false, cache.clone());
        Self {
            cache,
            write_buffers,
            bytes,
        }
    }

    /// The default limit: a quarter of the machine's memory (or of the control group's, if that is less), at most
    /// 1 GiB.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::new(memory_bytes().map_or(DEFAULT_BYTES_MAX, |bytes| (bytes / 4).min(DEFAULT_BYTES_MAX)))
    }

    /// The limit.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The part of the limit that is not the databases' but for the caches of the overlays above them: divided by the
    /// number of stores it is a good [`cache_bytes_max`](tidemill_store::StoreOptions::cache_bytes_max).
    #[must_use]
    pub fn overlay_bytes(&self) -> usize {
        self.bytes / OVERLAY_SHARE
    }

    /// How much of it the databases use.
    #[must_use]
    pub fn bytes_used(&self) -> usize {
        self.cache.get_usage()
    }
}

impl std::fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("bytes", &self.bytes)
            .field("used", &self.bytes_used())
            .finish()
    }
}

fn memory_bytes() -> Option<usize> {
    let meminfo = read("/proc/meminfo".as_ref())?;
    let group = read("/sys/fs/cgroup/memory.max".as_ref());
    least(&meminfo, group.as_deref())
}

#[allow(
    clippy::disallowed_methods,
    reason = "what memory there is stands in files of the operating system"
)]
fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The machine's memory or the control group's, whichever is less.
fn least(meminfo: &str, group: Option<&str>) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let group = group
        .and_then(|limit| limit.trim().parse().ok())
        .unwrap_or(usize::MAX);
    Some(kibibytes.saturating_mul(1024).min(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lesser_of_machine_and_group_counts() {
        let meminfo = "MemTotal:       24000000 kB\nMemFree:  1 kB\n";
        assert_eq!(least(meminfo, None), Some(24_576_000_000));
        assert_eq!(least(meminfo, Some("max\n")), Some(24_576_000_000));
        assert_eq!(least(meminfo, Some("1048576\n")), Some(1_048_576));
        assert_eq!(least("", Some("1")), None);
    }

    #[test]
    fn a_budget_is_never_too_small_to_work() {
        assert_eq!(MemoryBudget::new(0).bytes(), BYTES_MIN);
        assert!(MemoryBudget::of_this_machine().bytes() <= DEFAULT_BYTES_MAX);
    }
}
