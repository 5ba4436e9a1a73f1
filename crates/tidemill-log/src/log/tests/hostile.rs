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

/// Whole files of somebody else's bytes, and such as begin like ours: right checksums, counts that lie.
fn foreign() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..400);
    prop_oneof![
        2 => bytes(),
        2 => (any::<i32>(), 0usize..8, bytes()).prop_map(|(count, entries, entry)| snapshot_of(count, entries, &entry)),
        1 => (any::<i16>(), any::<i64>(), bytes()).prop_map(|(version, count, rest)| {
            let mut text = format!("{version}\n{count}\n").into_bytes();
            text.extend(rest);
            text
        }),
        1 => (any::<[i64; 4]>(), 0usize..20).prop_map(|(numbers, lines)| {
            let line = numbers.map(|number| number.to_string()).join(" ");
            format!("0\n{lines}\n{}", format!("{line}\n").repeat(lines)).into_bytes()
        }),
        1 => (any::<[u64; 4]>(), 0usize..20).prop_map(|(numbers, lines)| {
            let line = numbers.map(|number| number.to_string()).join(" ");
            format!("{line}\n").repeat(lines).into_bytes()
        }),
        1 => (any::<u64>(), bytes()).prop_map(|(number, rest)| {
            let mut entries = Vec::new();
            for n in 0..20 {
                entries.extend_from_slice(&number.wrapping_add(n).to_be_bytes());
                entries.extend_from_slice(&(n as u32).to_be_bytes());
            }
            entries.extend(rest);
            entries
        }),
    ]
}

/// A producer snapshot with a checksum that is right, `entries` entries of these bytes, and any count.
fn snapshot_of(count: i32, entries: usize, entry: &[u8]) -> Vec<u8> {
    let count = if count % 2 == 0 { entries as i32 } else { count };
    let mut body = count.to_be_bytes().to_vec();
    let entry: Vec<u8> = entry
        .iter()
        .copied()
        .chain(std::iter::repeat(0xff))
        .take(46)
        .collect();
    (0..entries).for_each(|_| body.extend_from_slice(&entry));
    let mut bytes = 1i16.to_be_bytes().to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// One file of each kind that a log has or may have.
fn one_of_each_kind(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut kinds: std::collections::BTreeMap<String, PathBuf> = Default::default();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = name.rsplit('.').next().unwrap();
        kinds.insert(kind.to_string(), path.clone());
    }
    assert!(kinds.len() >= 6, "{kinds:?}");
    kinds.into_values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_of_any_bytes_is_decoded_or_passed_over(
        which in any::<prop::sample::Index>(),
        content in foreign(),
        damaged in prop::option::of(foreign()),
        clean in any::<bool>(),
    ) {
        let (disk, config, files) = all_kinds_of_files();
        let kinds = one_of_each_kind(&files);
        disk.corrupt(which.get::<PathBuf>(&kinds), |bytes| bytes.clone_from(&content));
        if let Some(content) = &damaged {
            let path = file(0, crate::segment::DAMAGED);
            disk.create(&path).unwrap();
            disk.corrupt(&path, |bytes| bytes.clone_from(content));
        }
        let (arc, options) = no_tail(&disk);
        let shutdown = if clean { Shutdown::Clean } else { Shutdown::Unclean };
        let opened = Log::open(arc, OpenOptions { shutdown, ..options }, config, NOW);
        let (log, _) = opened.unwrap();
        use_it(&log);
    }

    #[test]
    fn a_snapshot_of_any_bytes_holds_no_more_producers_than_it_has_room_for(content in foreign()) {
        if let Some(state) = crate::producer_state::ProducerState::from_snapshot(&content) {
            prop_assert!(state.described().len() * 46 <= content.len());
        }
    }
}
