//! What goes on while a compaction stands still at any of its steps.

use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::{DirEntry, Disk, DiskError, DiskFile, FileLock};

/// Only a test that fails waits so long.
const FAILURE: Duration = Duration::from_secs(60);

type Step = Box<dyn Fn(&str, &Path) + Send + Sync>;

/// A disk in memory that calls the test before everything that a compaction does to it.
#[derive(Clone)]
struct SteppedDisk {
    disk: MemoryDisk,
    step: Arc<OnceLock<Step>>,
}

impl std::fmt::Debug for SteppedDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SteppedDisk")
    }
}

impl SteppedDisk {
    fn step(&self, operation: &str, path: &Path) {
        let name = path.to_string_lossy();
        let is_compaction = [".cleaned", ".swap", ".deleted"]
            .iter()
            .any(|suffix| name.ends_with(suffix));
        if let Some(step) = self.step.get().filter(|_| is_compaction) {
            step(operation, path);
        }
    }
}

impl Disk for SteppedDisk {
    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.disk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        self.disk.list(dir)
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.disk.open(path)
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.step("create", path);
        self.disk.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.step("rename", from);
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.step("remove", path);
        self.disk.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.disk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn FileLock>, DiskError> {
        self.disk.lock(path)
    }
}

/// Appends and reads on a thread of its own, while the caller stands still.
fn use_from_elsewhere(log: &Arc<Log>, at: &str) {
    let (done, finished) = mpsc::channel();
    let log = Arc::clone(log);
    let user = std::thread::spawn(move || {
        let end = log.log_end_offset();
        put(&log, "beside", "x");
        assert_eq!(log.log_end_offset(), end.plus(1));
        let first = seen(&log).first().cloned().unwrap();
        log.offset_for_timestamp(Timestamp(first.timestamp))
            .unwrap()
            .unwrap();
        done.send(()).unwrap();
    });
    finished
        .recv_timeout(FAILURE)
        .unwrap_or_else(|error| panic!("{at}: appends and reads wait for a compaction: {error}"));
    user.join().unwrap();
}

#[test]
fn appends_and_reads_go_on_at_every_step_of_a_compaction() {
    let disk = SteppedDisk {
        disk: MemoryDisk::new(),
        step: Arc::default(),
    };
    let (_, options) = no_tail(&disk.disk);
    let (log, _) = Log::open(Arc::new(disk.clone()), options, compacting(), NOW).unwrap();
    let log = Arc::new(log);
    (0..40).for_each(|n| put(&log, &(n % 9).to_string(), &format!("value-{n}")));
    log.roll(NOW).unwrap();
    put(&log, "active", "1");
    let steps = Arc::new(std::sync::Mutex::new(BTreeMap::<String, usize>::new()));
    let (used, counted) = (Arc::clone(&log), Arc::clone(&steps));
    let step = move |operation: &str, path: &Path| {
        let suffix = path.extension().unwrap().to_string_lossy().into_owned();
        let at = format!("{operation} {suffix}");
        use_from_elsewhere(&used, &at);
        *counted.lock().unwrap().entry(at).or_default() += 1;
    };
    assert!(disk.step.set(Box::new(step)).is_ok());
    let mut batches = 0;
    let done = log
        .compact(NOW, &LIMITS, &mut |_| {
            batches += 1;
            use_from_elsewhere(&log, "between two batches");
            true
        })
        .unwrap();
    assert!(done.bytes_after < done.bytes_before);
    assert!(batches > 40, "each batch is looked at twice: {batches}");
    let steps = steps.lock().unwrap();
    for step in [
        "create cleaned",
        "rename cleaned",
        "rename swap",
        "remove cleaned",
    ] {
        assert!(steps.contains_key(step), "{step} is not among {steps:?}");
    }
}
