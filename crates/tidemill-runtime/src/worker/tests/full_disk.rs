//! Disks on which there is no more room: the task stops and says where, nothing that was acknowledged is lost, and with
//! room again the program goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use tidemill_store::{
    ApproximateSize, Cursor, Direction, Family, KeyRange, MemoryByteStore, StoreError, WriteOp,
};

use super::*;

/// A database that outlives its task, on a disk that may be full.
struct Disk {
    rows: MemoryByteStore,
    full: AtomicBool,
    place: String,
}

impl ByteStore for Disk {
    fn family(&self, name: &str) -> Option<Family> {
        self.rows.family(name)
    }

    fn get(&self, family: Family, key: &[u8], value: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.rows.get(family, key, value)
    }

    fn multi_get(
        &self,
        family: Family,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), StoreError> {
        self.rows.multi_get(family, keys, found)
    }

    fn scan(
        &self,
        family: Family,
        range: KeyRange<'_>,
        direction: Direction,
    ) -> Result<Box<dyn Cursor + '_>, StoreError> {
        self.rows.scan(family, range, direction)
    }

    fn write(&self, ops: &mut dyn Iterator<Item = WriteOp<'_>>) -> Result<(), StoreError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError::Backend {
                operation: "write",
                place: self.place.clone(),
                source: "No space left on device".into(),
            });
        }
        self.rows.write(ops)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.rows.flush()
    }

    fn approximate_size(&self, family: Family) -> Result<ApproximateSize, StoreError> {
        self.rows.approximate_size(family)
    }
}

/// A disk for each task, kept by the world.
fn disks(world: &mut World) -> Vec<Arc<Disk>> {
    let disk = |partition| {
        let disk = Disk {
            rows: MemoryByteStore::new(&["counts"]),
            full: AtomicBool::new(false),
            place: format!("/state/app/0_{partition}"),
        };
        let id = TaskId {
            subtopology: 0,
            partition,
        };
        (id, Arc::new(disk))
    };
    let disks: Vec<(TaskId, Arc<Disk>)> = (0..PARTITIONS).map(disk).collect();
    let kept = disks.iter();
    world.disks = kept
        .map(|(id, disk)| (*id, Arc::<Disk>::clone(disk) as Arc<dyn ByteStore>))
        .collect();
    disks.into_iter().map(|(_, disk)| disk).collect()
}

/// Clicks until the worker fails, which it does at the first write to the database: commits may wait for it a while.
fn click_until_it_fails(world: &mut World, node: &mut Node) -> String {
    for _ in 0..200 {
        world.click_all();
        for _ in 0..4 {
            world.now += 60;
            if let Err(error) = node.turn(world.now) {
                return error.to_string();
            }
        }
    }
    panic!("the disk is full, and nobody said so");
}

fn leave(world: &World, node: Node) {
    drop(node);
    world.cluster.expire("app", "a");
}

/// Fills one disk in the midst of work, tries again in vain, makes room, and ends with all clicks counted.
fn fill_and_make_room(world: &mut World) {
    let (app, state, disks) = (counting(), dir(), disks(world));
    let disk = disks.get(2).unwrap();
    let mut a = world.join("a", state.path(), &app);
    world.click_all();
    world.run(&mut [&mut a]);
    disk.full.store(true, Ordering::Relaxed);
    let error = click_until_it_fails(world, &mut a);
    for part in ["0_2", "counts", "/state/app/0_2", "No space left on device"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    leave(world, a);
    // As long as there is no room it stops again, and tells the same.
    let mut a = world.join("a", state.path(), &app);
    let error = click_until_it_fails(world, &mut a);
    assert!(
        error.contains("/state/app/0_2") && error.contains("No space"),
        "{error}"
    );
    leave(world, a);
    disk.full.store(false, Ordering::Relaxed);
    let mut a = world.join("a", state.path(), &app);
    world.run(&mut [&mut a]);
    world.click_all();
    world.run(&mut [&mut a]);
    assert!(
        a.restored_records() > 0,
        "what the full disk did not take came from the changelog"
    );
    assert_eq!(a.tasks().len(), PARTITIONS as usize);
}

#[test]
fn a_full_disk_stops_the_task_and_room_lets_it_go_on_with_nothing_lost() {
    let mut world = World::new();
    fill_and_make_room(&mut world);
    // What was done and not committed is done again: a total may come twice, and none is missing.
    for (key, clicks) in &world.clicked {
        let total = world.totals()[key];
        assert!(total >= *clicks, "{key}: {total} of {clicks}");
    }
}

#[test]
fn a_full_disk_under_exactly_once_counts_nothing_twice() {
    let mut world = World::exactly_once();
    fill_and_make_room(&mut world);
    world.assert_each_total_once();
}
