//! Files that were changed at random: opening and using the log ends in answers or errors, never in a panic, and
//! after a check of the batches only true records are served.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Change {
    Flip { at: usize, bits: u8 },
    Cut { at: usize },
    Fill { at: usize, len: usize, byte: u8 },
    Append { bytes: Vec<u8> },
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<usize>(), 1u8..).prop_map(|(at, bits)| Change::Flip { at, bits }),
        1 => any::<usize>().prop_map(|at| Change::Cut { at }),
        2 => (any::<usize>(), 1usize..50, any::<u8>()).prop_map(|(at, len, byte)| Change::Fill { at, len, byte }),
        1 => prop::collection::vec(any::<u8>(), 1..200).prop_map(|bytes| Change::Append { bytes }),
    ]
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        let place = |at: usize| at % content.len().max(1);
        match self {
            Change::Flip { at, bits } => {
                let at = place(*at);
                content.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits);
            }
            Change::Cut { at } => content.truncate(place(*at)),
            Change::Fill { at, len, byte } => {
                let at = place(*at);
                content.iter_mut().skip(at).take(*len).for_each(|b| *b = *byte);
            }
            Change::Append { bytes } => content.extend_from_slice(bytes),
        }
    }
}

/// Closed with several segments, a producer, an aborted transaction: every kind of file is there.
fn all_kinds_of_files() -> (MemoryDisk, LogConfig, Vec<PathBuf>) {
    let config = LogConfig {
        segment_bytes: 700,
        ..small()
    };
    let (disk, log) = new_log(config.clone());
    fill(&log, 30);
    super::producers::abort_a_transaction(&log);
    fill(&log, 60);
    log.close().unwrap();
    let entries = disk.list(Path::new(DIR)).unwrap();
    let names = entries.into_iter().filter_map(|entry| match entry {
        crate::DirEntry::File { name, .. } => Some(Path::new(DIR).join(name)),
        crate::DirEntry::Dir { .. } => None,
    });
    (disk.clone(), config, names.collect())
}

/// Uses everything a log offers. Returns the bytes that were served.
fn use_it(log: &Log) -> Vec<u8> {
    let mut served = Vec::new();
    let mut from = log.log_start_offset();
    for _ in 0..200 {
        if from >= log.high_watermark() {
            break;
        }
        from = match log.read(from, ReadUpTo::LastStable, 500, FirstBatch::Always) {
            Ok(fetched) if fetched.is_empty() => break,
            Ok(fetched) => {
                assert!(fetched.next_offset > from, "a reader gets on");
                let next = fetched.next_offset;
                served.extend(fetched.into_bytes().unwrap().concat());
                next
            }
            Err(ReadError::Damaged { next_offset, .. }) => next_offset.max(from.plus(1)),
            Err(_) => break,
        };
    }
    for time in [0, 1010, 1030, 9999] {
        let _ = log.offset_for_timestamp(Timestamp(time));
    }
    let _ = log.offset_of_max_timestamp();
    if let Ok(appended) = log.append(batch_of(&["new"], 5000), client()) {
        log.advance_high_watermark(appended.last_offset.plus(1));
    }
    let _ = log.roll(NOW);
    let _ = log.delete_before(Offset(20).min(log.high_watermark()));
    let _ = log.enforce_retention(NOW);
    let _ = log.close();
    served
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_never_cause_a_panic_and_checked_records_are_true(
        changes in prop::collection::vec((any::<prop::sample::Index>(), change()), 1..4),
        clean in any::<bool>(),
    ) {
        let (disk, config, files) = all_kinds_of_files();
        for (which, change) in &changes {
            disk.corrupt(which.get::<PathBuf>(&files), |content| change.apply(content));
        }
        let (arc, options) = no_tail(&disk);
        let shutdown = if clean { Shutdown::Clean } else { Shutdown::Unclean };
        let (log, _) = Log::open(arc, OpenOptions { shutdown, ..options }, config, NOW).unwrap();
        let served = use_it(&log);
        if !clean {
            for batch in Batches::new(&served) {
                let batch = batch.unwrap();
                prop_assert!(batch.check_crc().is_ok());
            }
        }
    }
}
