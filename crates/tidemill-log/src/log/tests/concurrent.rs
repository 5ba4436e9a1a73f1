//! One writer and several readers at once.

use std::sync::atomic::AtomicBool;

use super::*;

/// Reads on from `from` as a consumer does, until the writer is done and everything is read.
fn follow(log: &Log, done: &AtomicBool) -> i64 {
    let mut from = Offset(0);
    loop {
        let finished = done.load(Ordering::Acquire);
        match log.read(from, ReadUpTo::HighWatermark, 500, FirstBatch::Always) {
            Ok(fetched) if fetched.is_empty() => {
                if finished && from == log.log_end_offset() {
                    return from.0;
                }
                std::thread::yield_now();
            }
            Ok(fetched) => {
                let next = fetched.next_offset;
                let bytes = fetched.into_bytes().unwrap().concat();
                let mut expected = from;
                for batch in Batches::new(&bytes) {
                    let batch = batch.unwrap();
                    batch.check_crc().unwrap();
                    assert_eq!(batch.header().base_offset, expected.0);
                    expected = Offset(batch.header().next_offset());
                }
                assert_eq!(expected, next);
                from = next;
            }
            // Deleted before it was read.
            Err(ReadError::OutOfRange { start, .. }) => {
                assert!(start > from);
                from = start;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn readers_follow_a_writer_that_rolls_and_deletes() {
    for tail_bytes in [0, 2000] {
        let (disk, options) = no_tail(&MemoryDisk::new());
        let options = OpenOptions {
            tail_budget: Arc::new(TailBudget::new(tail_bytes)),
            ..options
        };
        let config = LogConfig {
            segment_bytes: 600,
            retention_bytes: Some(3000),
            ..small()
        };
        let (log, _) = Log::open(disk, options, config, NOW).unwrap();
        let done = AtomicBool::new(false);
        let ends: Vec<i64> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| follow(&log, &done))).collect();
            for round in 0..60 {
                fill(&log, round * 30);
                log.enforce_retention(Timestamp(0)).unwrap();
                log.flush().unwrap();
            }
            done.store(true, Ordering::Release);
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        assert_eq!(ends, [59 * 30; 3]);
        assert!(log.log_start_offset() > Offset(0));
    }
}
