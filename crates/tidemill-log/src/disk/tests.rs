//! One suite for every [`Disk`], and the faults of the one in memory.

use super::*;

fn write(file: &dyn DiskFile, position: u64, parts: &[&[u8]]) -> Result<(), DiskError> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    file.write_at(position, &mut slices)
}

fn read(file: &dyn DiskFile, position: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let n = file.read_at(position, len, &mut out).unwrap();
    assert_eq!(n, out.len());
    out
}

fn files(disk: &dyn Disk, dir: &Path) -> Vec<DirEntry> {
    let mut entries = disk.list(dir).unwrap();
    entries.sort();
    entries
}

fn conforms(disk: &dyn Disk, root: &Path) {
    let dir = root.join("a/b");
    disk.create_dir(&dir).unwrap();
    disk.create_dir(&dir).unwrap();
    let path = dir.join("x.log");
    assert!(disk.open(&path).unwrap_err().is_not_found());

    let file = disk.create(&path).unwrap();
    write(&*file, 0, &[b"hello ", b"", b"wide ", b"world"]).unwrap();
    assert_eq!(file.size().unwrap(), 16);
    assert_eq!(read(&*file, 6, 4), b"wide");
    assert_eq!(read(&*file, 11, 100), b"world");
    assert_eq!(read(&*file, 16, 1), b"");
    assert_eq!(read(&*file, 400, 1), b"");
    write(&*file, 6, &[b"WIDE"]).unwrap();
    assert_eq!(read_all(disk, &path).unwrap(), b"hello WIDE world");
    file.truncate(5).unwrap();
    write(&*file, 7, &[b"!"]).unwrap();
    assert_eq!(read_all(disk, &path).unwrap(), b"hello\0\0!");
    file.sync().unwrap();
    disk.sync_dir(&dir).unwrap();

    let mut out = b"kept ".to_vec();
    file.read_at(0, 5, &mut out).unwrap();
    assert_eq!(out, b"kept hello");

    assert_eq!(disk.create(&path).unwrap().size().unwrap(), 8);
    assert_eq!(
        files(disk, &dir),
        [DirEntry::File {
            name: "x.log".into(),
            len: 8
        }]
    );
    assert_eq!(files(disk, &root.join("a")), [DirEntry::Dir { name: "b".into() }]);
    replace(disk, &path, b"new").unwrap();
    assert_eq!(read_if_exists(disk, &path).unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(
        files(disk, &dir),
        [DirEntry::File {
            name: "x.log".into(),
            len: 3
        }]
    );

    let moved = root.join("a/c");
    disk.rename(&dir, &moved).unwrap();
    assert!(disk.list(&dir).unwrap_err().is_not_found());
    assert_eq!(read_all(disk, &moved.join("x.log")).unwrap(), b"new");
    for path in ["x.log", "y.log"].map(|name| moved.join(name)) {
        let emptied = create_empty(disk, &path).unwrap();
        assert_eq!(emptied.size().unwrap(), 0, "what was there is gone");
    }
    disk.remove(&moved.join("x.log")).unwrap();
    assert!(disk.remove(&moved.join("x.log")).unwrap_err().is_not_found());
    remove_if_exists(disk, &moved.join("x.log")).unwrap();
    disk.remove_dir(&root.join("a")).unwrap();
    assert!(disk.list(&moved).unwrap_err().is_not_found());

    let held = disk.lock(&root.join(".lock")).unwrap();
    assert_eq!(
        disk.lock(&root.join(".lock")).unwrap_err().source.kind(),
        io::ErrorKind::WouldBlock
    );
    drop(held);
    disk.lock(&root.join(".lock")).unwrap();
}

#[test]
fn the_file_system_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&FileDisk, dir.path());
}

#[test]
fn memory_conforms() {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new("/root")).unwrap();
    conforms(&disk, Path::new("/root"));
}

#[test]
fn more_slices_than_the_system_takes_at_once_are_all_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = FileDisk.create(&dir.path().join("x")).unwrap();
    let parts: Vec<[u8; 3]> = (0..3000u16).map(|i| [b'a', (i >> 8) as u8, i as u8]).collect();
    let slices: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
    write(&*file, 5, &slices).unwrap();
    assert_eq!(read(&*file, 5, 10_000), parts.concat());
}

fn memory_file() -> (MemoryDisk, PathBuf, Arc<dyn DiskFile>) {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new("/d")).unwrap();
    let path = PathBuf::from("/d/f");
    let file = disk.create(&path).unwrap();
    (disk, path, file)
}

#[test]
fn a_crash_forgets_unsynced_bytes_and_names() {
    let (disk, path, file) = memory_file();
    write(&*file, 0, &[b"synced"]).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.crash().content(&path), None, "the name was never synced");
    disk.sync_dir(Path::new("/d")).unwrap();
    write(&*file, 3, &[b"CED and more"]).unwrap();
    file.truncate(5).unwrap();
    write(&*file, 4, &[b"---"]).unwrap();
    assert_eq!(disk.crash().content(&path).unwrap(), b"synced");
    assert_eq!(disk.kill().content(&path).unwrap(), b"synC---");
    disk.rename(&path, Path::new("/d/g")).unwrap();
    assert_eq!(
        disk.crash().content(&path).unwrap(),
        b"synced",
        "the rename was not synced"
    );
}

#[test]
fn faults_strike_the_call_they_were_set_for() {
    let (disk, path, file) = memory_file();
    disk.fail_write(1);
    write(&*file, 0, &[b"one"]).unwrap();
    write(&*file, 3, &[b"two"]).unwrap_err();
    write(&*file, 3, &[b"2"]).unwrap();
    disk.tear_write(0, 2);
    write(&*file, 4, &[b"th", b"ree"]).unwrap_err();
    assert_eq!(disk.content(&path).unwrap(), b"one2th");
    disk.fail_sync(1);
    file.sync().unwrap();
    file.sync().unwrap_err();
    file.sync().unwrap();
}
