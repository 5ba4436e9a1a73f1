//! Random writes, compactions, restarts and crashes beside a model that is a list of all records ever written.

use super::*;

#[derive(Debug, Clone)]
enum Step {
    // Keys and whether they are deleted.
    Write(Vec<(u8, bool)>, bool),
    Transaction(Vec<u8>, bool),
    Roll,
    Compact { map: usize, later: i64 },
    Interrupt { changes: u64, power_cut: bool },
    DeleteBefore(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = prop::collection::vec((0u8..12, any::<bool>()), 1..5);
    prop_oneof![
        8 => (keys, any::<bool>()).prop_map(|(keys, compressed)| Step::Write(keys, compressed)),
        3 => (prop::collection::vec(0u8..12, 1..4), any::<bool>()).prop_map(|(keys, c)| Step::Transaction(keys, c)),
        2 => Just(Step::Roll),
        3 => (0usize..2000, 0i64..1500).prop_map(|(map, later)| Step::Compact { map, later }),
        2 => (0u64..60, any::<bool>()).prop_map(|(changes, power_cut)| Step::Interrupt { changes, power_cut }),
        1 => any::<u8>().prop_map(Step::DeleteBefore),
        1 => Just(Step::Restart),
    ]
}

struct Run {
    disk: MemoryDisk,
    log: Log,
    now: i64,
    sequence: i32,
    // Every committed record by offset: its key, and its value if it is no tombstone.
    written: BTreeMap<i64, (String, Option<String>)>,
    start: i64,
}

impl Run {
    fn new() -> Self {
        let (disk, log) = new_log(compacting());
        Run {
            disk,
            log,
            now: NOW.0,
            sequence: 0,
            written: BTreeMap::new(),
            start: 0,
        }
    }

    fn write(&mut self, keys: &[(u8, bool)], transaction: Option<bool>, codec: Compression) {
        let mut builder = BatchBuilder::new(codec);
        if transaction.is_some() {
            let producer = ProducerStamp {
                id: 1,
                epoch: 0,
                base_sequence: self.sequence,
            };
            self.sequence += i32::try_from(keys.len()).unwrap();
            builder = builder.producer(producer).transactional();
        }
        let base = self.log.log_end_offset().0;
        for ((key, deleted), offset) in keys.iter().zip(base..) {
            let (key, value) = (
                format!("key-{key}"),
                (!deleted).then(|| format!("value-{offset}")),
            );
            builder.push(
                offset,
                Some(key.as_bytes()),
                value.as_deref().map(str::as_bytes),
                [],
            );
            if transaction != Some(false) {
                self.written.insert(offset, (key, value));
            }
        }
        append(&self.log, builder.build());
        if let Some(committed) = transaction {
            let mut marker = BatchBuilder::new(Compression::None)
                .producer(ProducerStamp {
                    id: 1,
                    epoch: 0,
                    base_sequence: -1,
                })
                .transactional()
                .control();
            marker.push(base, Some(&[0, 0, 0, u8::from(committed)]), Some(&[0; 6]), []);
            let origin = Append {
                origin: Origin::Coordinator,
                ..client()
            };
            let appended = self.log.append(marker.build(), origin).unwrap();
            self.log.advance_high_watermark(appended.last_offset.plus(1));
        }
    }

    fn reopen(&mut self, disk: MemoryDisk) {
        let (start, compacted) = (self.log.log_start_offset(), self.log.compacted_to());
        let (seam, options) = no_tail(&disk);
        let options = OpenOptions {
            log_start: start,
            compacted_to: compacted,
            ..options
        };
        let (log, report) = Log::open(seam, options, compacting(), NOW).unwrap();
        assert!(report.is_clean(), "{report:?}");
        (self.disk, self.log) = (disk, log);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write(keys, true) => self.write(&keys, None, Compression::Lz4),
            Step::Write(keys, false) => self.write(&keys, None, Compression::None),
            Step::Transaction(keys, committed) => {
                let keys: Vec<_> = keys.into_iter().map(|key| (key, false)).collect();
                self.write(&keys, Some(committed), Compression::None);
            }
            Step::Roll => self.log.roll(NOW).unwrap(),
            Step::Compact { map, later } => {
                self.now += later;
                let limits = CompactionLimits {
                    offset_map_bytes: map,
                };
                self.log
                    .compact(Timestamp(self.now), &limits, &mut |_| true)
                    .unwrap();
            }
            Step::Interrupt { changes, power_cut } => {
                self.log.flush().unwrap();
                self.disk.halt_after(changes);
                drop(self.log.compact(Timestamp(self.now), &LIMITS, &mut |_| true));
                let left = if power_cut {
                    self.disk.crash()
                } else {
                    self.disk.kill()
                };
                self.reopen(left);
            }
            Step::DeleteBefore(at) => {
                let to = self.log.high_watermark().0 * i64::from(at) / 512;
                let start = self.log.delete_before(Offset(to)).unwrap();
                self.start = start.0;
            }
            Step::Restart => {
                self.log.close().unwrap();
                let disk = self.disk.kill();
                self.reopen(disk);
            }
        }
        self.check();
    }

    /// What a reader of committed records gets must be of what was written, and lead to the same table.
    fn check(&self) {
        let mut read: BTreeMap<i64, (String, Option<String>)> = BTreeMap::new();
        for record in self.committed() {
            let written = self.written.get(&record.offset);
            let same = written == Some(&(record.key.clone(), record.value.clone()));
            assert!(same, "{record:?} was written as {written:?}");
            assert_eq!(record.timestamp, record.offset, "times are offsets here");
            read.insert(record.offset, (record.key, record.value));
        }
        let visible = self.written.range(self.start..);
        assert_eq!(last_of_each(visible), last_of_each(read.range(self.start..)));
        for offset in (self.start..self.log.high_watermark().0).step_by(7) {
            let first = self
                .log
                .read(Offset(offset), ReadUpTo::HighWatermark, 1, FirstBatch::Always)
                .unwrap();
            assert!(first.is_empty() || first.next_offset.0 > offset);
        }
    }

    /// As a consumer reads that is told which transactions were aborted.
    fn committed(&self) -> Vec<Seen> {
        let mut found = Vec::new();
        let mut from = self.log.log_start_offset();
        loop {
            let fetched = self
                .log
                .read(from, ReadUpTo::LastStable, 400, FirstBatch::Always)
                .unwrap();
            if fetched.is_empty() {
                return found;
            }
            from = fetched.next_offset;
            let mut told = fetched.aborted.clone();
            told.sort_by_key(|txn| txn.first_offset);
            let bytes = fetched.into_bytes().unwrap().concat();
            let mut in_aborted = false;
            for batch in Batches::new(&bytes) {
                let batch = batch.unwrap();
                batch.check_crc().unwrap();
                let header = batch.header();
                if header.attributes.is_control() {
                    in_aborted = false;
                    continue;
                }
                let touched = told.iter().any(|txn| {
                    txn.first_offset.0 <= header.last_offset() && txn.last_offset.0 > header.last_offset()
                });
                in_aborted |= header.attributes.is_transactional() && touched;
                let payload = batch.payload(1 << 20).unwrap();
                let records = batch.records(&payload).map(|record| Seen::from(&record.unwrap()));
                if !(in_aborted && header.attributes.is_transactional()) {
                    found.extend(records);
                }
            }
        }
    }
}

/// The values that are left when all records are taken in turn.
fn last_of_each<'a>(
    records: impl Iterator<Item = (&'a i64, &'a (String, Option<String>))>,
) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (_, (key, value)) in records {
        match value {
            Some(value) => table.insert(key.clone(), value.clone()),
            None => table.remove(key),
        };
    }
    table
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_readers_end_up_with_the_same_table(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in steps {
            run.take(step);
        }
        // Once everything is sealed and compacted, one record a key is left.
        run.log.roll(NOW).unwrap();
        run.now += 10_000;
        run.take(Step::Compact { map: 1 << 20, later: 0 });
        run.now += 10_000;
        run.take(Step::Write(vec![(0, false)], false));
        run.log.roll(NOW).unwrap();
        run.take(Step::Compact { map: 1 << 20, later: 0 });
        let mut keys: Vec<_> = run.committed().into_iter().filter(|r| r.offset >= run.start).map(|r| r.key).collect();
        let all = keys.len();
        keys.dedup();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(keys.len(), all);
    }
}
