//! A crash after every single change that a compaction makes to the disk.

use super::*;

/// A log that has something of everything to compact, ready for a compaction; made the same way each time.
fn prepared() -> (MemoryDisk, Log) {
    let (disk, log) = new_log(compacting());
    (0..40).for_each(|n| put(&log, &(n % 9).to_string(), &format!("first-{n}")));
    delete(&log, "3");
    log.roll(NOW).unwrap();
    compact(&log);
    (0..20).for_each(|n| put(&log, &(n % 5).to_string(), &format!("second-{n}")));
    delete(&log, "4");
    log.roll(NOW).unwrap();
    put(&log, "active", "1");
    log.flush().unwrap();
    (disk, log)
}

#[test]
fn a_crash_after_any_step_leaves_a_log_that_says_the_same() {
    let (disk, log) = prepared();
    let before = table(&log);
    let end = log.log_end_offset();
    disk.halt_after(u64::MAX);
    compact_at(&log, NOW.0 + 5000);
    assert_eq!(table(&log), before);
    let mut steps = 0;
    loop {
        let (disk, log) = prepared();
        disk.halt_after(steps);
        let result = log.compact(Timestamp(NOW.0 + 5000), &LIMITS, &mut |_| true);
        for left in [disk.kill(), disk.crash()] {
            let (log, report) = open(&left, compacting());
            assert!(report.is_clean(), "step {steps}: {report:?}");
            assert_eq!(table(&log), before, "step {steps}");
            assert_eq!(log.log_end_offset(), end, "step {steps}");
            put(&log, "after", "1");
            log.roll(NOW).unwrap();
            compact_at(&log, NOW.0 + 10_000);
            let mut with_after = before.clone();
            with_after.insert("after".into(), "1".into());
            assert_eq!(table(&log), with_after, "step {steps}");
            log.close().unwrap();
            let entries = left.list(Path::new(DIR)).unwrap();
            let names = format!("{entries:?}");
            for suffix in ["cleaned", "swap", "deleted"] {
                assert!(!names.contains(suffix), "step {steps}: {names}");
            }
            let (log, report) = open_clean(&left.kill(), compacting());
            assert!(report.is_clean());
            assert_eq!(table(&log), with_after, "step {steps}");
        }
        if !disk.is_halted() {
            result.unwrap();
            break;
        }
        steps += 1;
    }
    assert!(steps > 30, "a compaction changes the disk {steps} times");
}

#[test]
fn a_failed_write_leaves_the_log_as_it_was_and_in_use() {
    let mut failures = 0;
    for nth in 0.. {
        let (disk, log) = prepared();
        let before = table(&log);
        disk.fail_write(nth);
        let result = log.compact(NOW, &LIMITS, &mut |_| true);
        let failed = result.is_err();
        assert_eq!(table(&log), before);
        if !failed {
            break;
        }
        failures += 1;
        assert!(!log.is_read_only());
        put(&log, "more", "1");
        compact(&log);
        assert_eq!(table(&log).len(), before.len() + 1);
    }
    assert!(failures >= 3);
}
