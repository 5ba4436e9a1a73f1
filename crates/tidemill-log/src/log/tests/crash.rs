//! Every place a crash can cut the files of the active segment.

use super::*;

const END: i64 = 90;

/// A log of several segments, closed so that its index files are whole, and its active segment's base offset.
fn closed() -> (MemoryDisk, LogConfig, i64) {
    let config = LogConfig {
        segment_bytes: 1200,
        ..small()
    };
    let (disk, log) = new_log(config.clone());
    fill(&log, END);
    let base = log.segments().last().unwrap().base_offset().0;
    let segment_batches = (END - base) / 3;
    assert!(
        base > 0 && segment_batches >= 5,
        "the active segment has more than the batches that are cut"
    );
    log.close().unwrap();
    (disk, config, base)
}

/// Opens after a crash, expects exactly the records before `end`, and that the log goes on from there.
fn recovers(disk: &MemoryDisk, config: &LogConfig, end: i64) {
    let (log, report) = open(disk, config.clone());
    assert!(report.damaged.is_empty(), "{report:?}");
    assert_eq!(log.log_end_offset(), Offset(end));
    assert_eq!(contents(&log), numbered(0..end));
    for offset in 0..end {
        let found = log
            .offset_for_timestamp(Timestamp(1000 + offset))
            .unwrap()
            .unwrap();
        assert_eq!(found.offset, Offset(offset));
    }
    fill(&log, end + 3);
    assert_eq!(contents(&log), numbered(0..end + 3));
    drop(log);
    let (log, report) = open(&disk.kill(), config.clone());
    assert!(report.is_clean(), "the second start has nothing to repair");
    assert_eq!(contents(&log), numbered(0..end + 3));
}

#[test]
fn a_segment_cut_anywhere_in_its_last_batches_keeps_the_whole_ones() {
    let (disk, config, base) = closed();
    let path = file(base, "log");
    let whole = disk.content(&path).unwrap();
    let mut ends = vec![0];
    for batch in Batches::new(&whole) {
        ends.push(ends.last().unwrap() + batch.unwrap().header().len);
    }
    let [.., three_back, _, _, _] = ends[..] else {
        panic!("fewer than three batches")
    };
    for cut in three_back..=whole.len() {
        let cut_disk = disk.kill();
        cut_disk.corrupt(&path, |bytes| bytes.truncate(cut));
        let batches = ends.iter().filter(|end| **end > 0 && **end <= cut).count() as i64;
        recovers(&cut_disk, &config, base + 3 * batches);
    }
}

#[test]
fn a_tail_of_zeros_or_garbage_is_cut_off() {
    let (disk, config, base) = closed();
    let path = file(base, "log");
    let batch = batch_of(&["lost"], 1);
    let garbage: [&[u8]; 4] = [&[0; 1], &[0; 4096], &[0xff; 100], &batch[..batch.len() - 1]];
    for tail in garbage {
        let torn = disk.kill();
        torn.corrupt(&path, |bytes| bytes.extend_from_slice(tail));
        let (_, report) = open(&torn.kill(), config.clone());
        let truncated = report.truncated.unwrap();
        assert_eq!(
            (truncated.offset, truncated.bytes),
            (Offset(END), tail.len() as u64)
        );
        recovers(&torn, &config, END);
        let (log, report) = open_clean(&torn.kill(), config.clone());
        assert!(report.is_clean() && log.log_end_offset() == Offset(END + 3));
    }
}

#[test]
fn an_index_cut_anywhere_is_made_again() {
    let (disk, config, base) = closed();
    for suffix in ["index", "timeindex"] {
        let path = file(base, suffix);
        let whole = disk.content(&path).unwrap();
        assert!(whole.len() >= 3 * 8, "{suffix} has {} bytes", whole.len());
        for cut in 0..=whole.len() {
            let cut_disk = disk.kill();
            cut_disk.corrupt(&path, |bytes| bytes.truncate(cut));
            recovers(&cut_disk.kill(), &config, END);
            // A clean start trusts what looks right: it still finds everything.
            let (log, _) = open_clean(&cut_disk, config.clone());
            assert_eq!(contents(&log), numbered(0..END));
        }
        let gone = disk.kill();
        gone.remove(&path).unwrap();
        recovers(&gone, &config, END);
        let (log, _) = open_clean(&gone, config.clone());
        assert_eq!(contents(&log), numbered(0..END + 3));
    }
}

#[test]
fn indexes_made_again_are_those_that_appending_made() {
    let (disk, config, base) = closed();
    for at in [0, base] {
        let before = ["index", "timeindex"].map(|suffix| disk.content(&file(at, suffix)).unwrap());
        assert!(before.iter().all(|bytes| !bytes.is_empty()));
        let again = disk.kill();
        for suffix in ["index", "timeindex"] {
            again.corrupt(&file(at, suffix), |bytes| bytes.fill(0x55));
        }
        let (log, _) = open(&again, config.clone());
        log.close().unwrap();
        let after = ["index", "timeindex"].map(|suffix| again.content(&file(at, suffix)).unwrap());
        assert_eq!(before, after, "segment {at}");
    }
}

#[test]
fn what_a_crash_leaves_of_a_roll_or_a_deletion_is_cleared_away() {
    let (disk, config, base) = closed();
    for suffix in ["index", "timeindex"] {
        disk.create(&file(999, suffix)).unwrap();
    }
    disk.create(&Path::new(DIR).join("leader-epoch-checkpoint.tmp"))
        .unwrap();
    // Rolled, and nothing written yet.
    for suffix in ["log", "index"] {
        disk.create(&file(END, suffix)).unwrap();
    }
    recovers(&disk, &config, END);
    assert_eq!(disk.content(&file(999, "index")), None);
    assert_eq!(
        disk.content(&Path::new(DIR).join("leader-epoch-checkpoint.tmp")),
        None
    );
    assert!(disk.content(&file(base, "log")).is_some());
}

#[test]
fn a_clean_mark_does_not_hide_a_torn_tail() {
    let (disk, config, base) = closed();
    let whole = disk.content(&file(base, "log")).unwrap();
    for cut in [whole.len() - 1, whole.len() - 70, whole.len() / 2 + 5, 30] {
        let torn = disk.kill();
        torn.corrupt(&file(base, "log"), |bytes| bytes.truncate(cut));
        let (log, report) = open_clean(&torn, config.clone());
        assert_eq!(report.checked_segments, 1);
        let end = report.truncated.unwrap().offset.0;
        assert!(end >= base && end < END);
        assert_eq!(contents(&log), numbered(0..end));
    }
}

#[test]
fn indexes_are_durable_before_the_recovery_point_passes_them() {
    let (disk, log) = new_log(small());
    fill(&log, 30);
    log.flush().unwrap();
    // Sealed exactly at the recovery point: nothing of its records is left to sync, its indexes are.
    log.roll(NOW).unwrap();
    fill(&log, 33);
    log.flush().unwrap();
    for suffix in ["index", "timeindex"] {
        let written = disk.content(&file(0, suffix)).unwrap();
        assert!(!written.is_empty());
        assert_eq!(disk.crash().content(&file(0, suffix)), Some(written));
    }
}

#[test]
fn leader_epochs_follow_what_is_left_of_the_records() {
    let (disk, log) = new_log(small());
    fill(&log, 6);
    log.append(
        batch_of(&["x"], 1),
        Append {
            leader_epoch: LeaderEpoch(3),
            ..client()
        },
    )
    .unwrap();
    let reopened = |disk: &MemoryDisk| open(disk, small()).0.latest_epoch();
    let no_file = disk.kill();
    no_file
        .remove(&Path::new(DIR).join("leader-epoch-checkpoint"))
        .unwrap();
    assert_eq!(reopened(&no_file), Some(LeaderEpoch(3)), "read from the batches");
    disk.corrupt(&file(0, "log"), |bytes| bytes.truncate(bytes.len() - 1));
    assert_eq!(
        reopened(&disk),
        Some(LeaderEpoch(0)),
        "the batch of epoch 3 is gone"
    );
}
