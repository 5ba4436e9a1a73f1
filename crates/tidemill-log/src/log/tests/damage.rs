//! Batches that go bad before the tail: reported, never served, never dropped in silence.

use super::*;

fn three_segments() -> (MemoryDisk, LogConfig, Vec<i64>) {
    let config = LogConfig {
        segment_bytes: 700,
        ..small()
    };
    let (disk, log) = new_log(config.clone());
    fill(&log, 45);
    let bases: Vec<i64> = log.segments().iter().map(|s| s.base_offset().0).collect();
    assert_eq!(bases, [0, 18, 36]);
    log.flush().unwrap();
    (disk, config, bases)
}

/// Reads on over damages; the records that are left.
fn readable(log: &Log) -> Vec<i64> {
    let mut offsets = Vec::new();
    let mut from = log.log_start_offset();
    while from < log.high_watermark() {
        match log.read(from, ReadUpTo::HighWatermark, 10_000, FirstBatch::Always) {
            Ok(fetched) => {
                assert!(fetched.next_offset > from);
                offsets.extend(
                    read(log, from.0, 10_000)
                        .unwrap()
                        .into_iter()
                        .map(|(offset, _)| offset),
                );
                from = fetched.next_offset;
            }
            Err(ReadError::Damaged {
                first_offset,
                next_offset,
            }) => {
                assert!(first_offset <= from && from < next_offset);
                from = next_offset;
            }
            Err(error) => panic!("{error}"),
        }
    }
    offsets
}

#[test]
fn a_bad_batch_in_a_sealed_segment_is_reported_and_never_served() {
    let (disk, config, _) = three_segments();
    let path = file(18, "log");
    let batch_len = batch_of(&["value-18", "value-19", "value-20"], 1).len();
    // The second batch of the segment, anywhere in it: length, magic, checksum, records.
    // The leader epoch alone is under no checksum.
    let places = (batch_len..2 * batch_len).filter(|at| !(12..16).contains(&(at - batch_len)));
    for at in places.step_by(7) {
        let bad = disk.kill();
        bad.corrupt(&path, |bytes| bytes[at] ^= 0x80);
        let (log, report) = open(&bad, config.clone());
        let expected: Vec<i64> = (0..45).filter(|offset| !(21..24).contains(offset)).collect();
        assert_eq!(report.truncated, None);
        let [damaged] = report.damaged[..] else {
            panic!("at {at}: {report:?}")
        };
        assert_eq!(damaged.base_offset, Offset(18));
        assert_eq!(
            (damaged.damage.first_offset, damaged.damage.next_offset),
            (Offset(21), Offset(24))
        );
        assert_eq!(readable(&log), expected, "at {at}");
        for offset in 21..24 {
            assert!(matches!(read(&log, offset, 1000), Err(ReadError::Damaged { .. })));
        }
        let before = log
            .read(Offset(18), ReadUpTo::HighWatermark, 10_000, FirstBatch::Always)
            .unwrap();
        assert_eq!(before.next_offset, Offset(21), "a read stops before the damage");

        fill(&log, 48);
        log.close().unwrap();
        let (log, report) = open_clean(&bad, config.clone());
        assert_eq!(report.checked_segments, 0);
        assert_eq!(readable(&log).len(), 45, "a clean start still knows");
    }
}

#[test]
fn the_lost_end_of_a_sealed_segment_is_a_damage_too() {
    let (disk, config, _) = three_segments();
    let whole = disk.content(&file(0, "log")).unwrap();
    let mut ends = vec![0];
    for batch in Batches::new(&whole) {
        ends.push(ends.last().unwrap() + batch.unwrap().header().len);
    }
    for cut in [ends[5], whole.len() - 1, 10, 0] {
        let bad = disk.kill();
        bad.corrupt(&file(0, "log"), |bytes| bytes.truncate(cut));
        let (log, report) = open(&bad, config.clone());
        let kept = 3 * (ends.iter().filter(|end| **end <= cut).count() as i64 - 1);
        let expected: Vec<i64> = (0..kept).chain(18..45).collect();
        assert_eq!(readable(&log), expected, "cut at {cut}");
        assert!(!report.damaged.is_empty());
    }
}

#[test]
fn what_was_synced_in_the_last_segment_is_not_cut_with_valid_records_behind_it() {
    let (disk, config, _) = three_segments();
    disk.corrupt(&file(36, "log"), |bytes| bytes[70] ^= 1);
    let opened = |recovery_point| {
        let (arc, options) = no_tail(&disk.kill());
        Log::open(
            arc,
            OpenOptions {
                recovery_point,
                ..options
            },
            config.clone(),
            NOW,
        )
        .unwrap()
    };
    let (log, report) = opened(Offset(45));
    assert_eq!(report.damaged.len(), 1);
    let expected: Vec<i64> = (0..36).chain(39..45).collect();
    assert_eq!(readable(&log), expected);
    fill(&log, 48);
    assert_eq!(readable(&log).len(), 45);

    let (log, report) = opened(Offset(36));
    assert_eq!(
        report.truncated.map(|t| t.offset),
        Some(Offset(36)),
        "not known to be durable: a torn tail"
    );
    assert_eq!(contents(&log), numbered(0..36));
}

#[test]
fn a_batch_that_goes_bad_while_the_log_is_open_ends_the_read_with_an_error() {
    let (disk, log) = new_log(small());
    fill(&log, 9);
    let batch_len = batch_of(&["value-0", "value-1", "value-2"], 1).len();
    disk.corrupt(&file(0, "log"), |bytes| bytes[batch_len + 16] = 7);
    assert!(matches!(read(&log, 4, 1000), Err(ReadError::Damaged { .. })));
}

/// Found by the random changes: a byte behind the last batch of a sealed segment was served with the batches, since the
/// damage took no offsets.
#[test]
fn bytes_behind_a_sealed_segments_last_batch_are_not_served() {
    let (disk, config, _) = three_segments();
    disk.corrupt(&file(18, "log"), |bytes| bytes.push(0));
    let (log, report) = open(&disk, config);
    let [damaged] = report.damaged[..] else {
        panic!("{report:?}")
    };
    assert_eq!(damaged.damage.first_offset, damaged.damage.next_offset);
    assert_eq!(readable(&log), (0..45).collect::<Vec<i64>>());
}

/// Found by the random changes: after a clean start, a base offset that had gone negative sent the reader back.
#[test]
fn a_header_that_sends_the_reader_back_is_an_error() {
    let (disk, log) = new_log(small());
    fill(&log, 9);
    let batch_len = batch_of(&["value-0", "value-1", "value-2"], 1).len();
    disk.corrupt(&file(0, "log"), |bytes| bytes[batch_len] = 0x80);
    let from_start = log.read(Offset(1), ReadUpTo::HighWatermark, batch_len, FirstBatch::Always);
    match from_start {
        Ok(fetched) => assert!(fetched.next_offset > Offset(1)),
        Err(error) => assert!(matches!(error, ReadError::Damaged { .. }), "{error}"),
    }
}

/// The base offset is under no checksum: a batch moved up its segment is told by the one after it.
#[test]
fn a_batch_whose_base_offset_went_bad_is_a_damage() {
    let (disk, config, _) = three_segments();
    let batch_len = batch_of(&["value-18", "value-19", "value-20"], 1).len();
    disk.corrupt(&file(18, "log"), |bytes| bytes[batch_len + 7] ^= 2);
    let (log, report) = open(&disk, config);
    let [damaged] = report.damaged[..] else {
        panic!("{report:?}")
    };
    assert_eq!(
        (damaged.damage.first_offset, damaged.damage.next_offset),
        (Offset(21), Offset(24))
    );
    assert_eq!(readable(&log), (0..21).chain(24..45).collect::<Vec<i64>>());
}
