//! Random appends, reads, rolls, deletions, restarts and crashes, beside a model that is a list.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append { records: usize, value_len: usize },
    AppendFails { kept: usize },
    Read { from: u8, bytes_max: usize },
    Time { at: u8 },
    Roll,
    Flush,
    DeleteBefore { at: u8 },
    CleanRestart,
    Kill { torn: usize },
    PowerCut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1usize..6, 0usize..200).prop_map(|(records, value_len)| Step::Append { records, value_len }),
        1 => (0usize..300).prop_map(|kept| Step::AppendFails { kept }),
        4 => (any::<u8>(), 1usize..2000).prop_map(|(from, bytes_max)| Step::Read { from, bytes_max }),
        1 => any::<u8>().prop_map(|at| Step::Time { at }),
        1 => Just(Step::Roll),
        1 => Just(Step::Flush),
        1 => any::<u8>().prop_map(|at| Step::DeleteBefore { at }),
        1 => Just(Step::CleanRestart),
        1 => (0usize..400).prop_map(|torn| Step::Kill { torn }),
        1 => Just(Step::PowerCut),
    ]
}

/// What the log should hold.
struct Model {
    start: i64,
    // By offset from 0: the value, and the first offset of its batch.
    records: Vec<(String, i64)>,
    durable: i64,
}

struct Run {
    disk: MemoryDisk,
    log: Log,
    model: Model,
    tail_bytes: usize,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1500,
        ..small()
    }
}

fn time_of(offset: i64) -> i64 {
    1000 + offset
}

impl Run {
    fn new(tail_bytes: usize) -> Self {
        let disk = MemoryDisk::new();
        let log = Self::opened(&disk, tail_bytes, Shutdown::Unclean, 0, 0);
        Self {
            disk,
            log,
            model: Model {
                start: 0,
                records: Vec::new(),
                durable: 0,
            },
            tail_bytes,
        }
    }

    fn opened(
        disk: &MemoryDisk,
        tail_bytes: usize,
        shutdown: Shutdown,
        recovery_point: i64,
        log_start: i64,
    ) -> Log {
        let (disk, options) = no_tail(disk);
        let options = OpenOptions {
            shutdown,
            recovery_point: Offset(recovery_point),
            log_start: Offset(log_start),
            tail_budget: Arc::new(TailBudget::new(tail_bytes)),
            ..options
        };
        let (log, report) = Log::open(disk, options, config(), NOW).unwrap();
        assert!(report.damaged.is_empty(), "{report:?}");
        log
    }

    fn restart(&mut self, disk: MemoryDisk, shutdown: Shutdown) {
        let (durable, start) = (self.log.recovery_point().0, self.model.start);
        self.log = Self::opened(&disk, self.tail_bytes, shutdown, durable, start);
        self.disk = disk;
        let end = self.log.log_end_offset().0;
        assert!(
            end >= self.model.durable,
            "{end} is below what was synced, {}",
            self.model.durable
        );
        assert!(end <= self.end());
        self.model.records.truncate(end as usize);
    }

    fn end(&self) -> i64 {
        self.model.records.len() as i64
    }

    fn batch(&self, records: usize, value_len: usize) -> (Bytes, Vec<String>) {
        let value = |n: i64| format!("{n}-{}", "v".repeat(value_len));
        let values: Vec<String> = (self.end()..).take(records).map(value).collect();
        let parts: Vec<&str> = values.iter().map(String::as_str).collect();
        (batch_of(&parts, time_of(self.end())), values)
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Append { records, value_len } => {
                let (batch, values) = self.batch(records, value_len);
                let base = self.end();
                let appended = append(&self.log, batch);
                assert_eq!(appended.base_offset, Offset(base));
                self.model
                    .records
                    .extend(values.into_iter().map(|value| (value, base)));
            }
            Step::AppendFails { kept } => {
                let (batch, _) = self.batch(2, 100);
                // Rolling writes too; what matters is that the append is all or nothing.
                self.disk.tear_write(0, kept);
                self.log.append(batch, client()).unwrap_err();
            }
            Step::Read { from, bytes_max } => self.check_read(i64::from(from), bytes_max),
            Step::Time { at } => self.check_time(i64::from(at)),
            Step::Roll => self.log.roll(NOW).unwrap(),
            Step::Flush => {
                assert_eq!(self.log.flush().unwrap().0, self.end());
                self.model.durable = self.end();
            }
            Step::DeleteBefore { at } => {
                let to = i64::from(at).min(self.end());
                self.log.delete_before(Offset(to)).unwrap();
                self.model.start = self.model.start.max(to);
                self.model.durable = self.model.durable.max(0);
            }
            Step::CleanRestart => {
                self.log.close().unwrap();
                self.model.durable = self.end();
                self.restart(self.disk.crash(), Shutdown::Clean);
            }
            Step::Kill { torn } => self.kill(torn),
            Step::PowerCut => self.power_cut(),
        }
        assert_eq!(self.log.log_end_offset().0, self.end());
        assert_eq!(self.log.log_start_offset().0, self.model.start);
    }

    /// The process ends in the middle of a write: some of the batch it was writing is in the file.
    fn kill(&mut self, torn: usize) {
        let disk = self.disk.kill();
        let (batch, _) = self.batch(3, 100);
        let base = self.log.segments().last().unwrap().base_offset().0;
        let written = batch.slice(..torn.min(batch.len() - 1));
        disk.corrupt(&file(base, "log"), |bytes| bytes.extend_from_slice(&written));
        self.restart(disk, Shutdown::Unclean);
    }

    fn power_cut(&mut self) {
        // Names that were never synced are gone with what was in them, so deletions may come back: as after a real
        // cut, the checkpointed log start hides them.
        let disk = self.disk.crash();
        disk.create_dir(Path::new(DIR)).unwrap();
        if self.model.start > self.model.durable {
            // Nothing below the start is left to compare; the log begins again there.
            self.log.flush().unwrap();
            self.model.durable = self.end();
            return self.restart(self.disk.crash(), Shutdown::Unclean);
        }
        self.restart(disk, Shutdown::Unclean);
    }

    fn check_read(&self, from: i64, bytes_max: usize) {
        let (start, end) = (self.model.start, self.end());
        let result = read(&self.log, from, bytes_max);
        if from < start || from > end {
            assert!(
                matches!(result, Err(ReadError::OutOfRange { .. })),
                "{from} is not in {start}..={end}"
            );
            return;
        }
        let records = result.unwrap();
        let Some((_, base)) = self.model.records.get(from as usize) else {
            assert!(records.is_empty());
            return;
        };
        assert_eq!(
            records.first().map(|(offset, _)| *offset),
            Some(*base),
            "reading starts with the batch"
        );
        for (n, (offset, value)) in records.iter().enumerate() {
            assert_eq!(*offset, base + n as i64);
            assert_eq!(*value, self.model.records[*offset as usize].0);
        }
        let after = records.last().unwrap().0 + 1;
        let whole = self
            .model
            .records
            .get(after as usize)
            .is_none_or(|(_, base)| *base == after);
        assert!(whole, "a batch was cut");
    }

    fn check_time(&self, at: i64) {
        let found = self
            .log
            .offset_for_timestamp(Timestamp(time_of(at)))
            .unwrap()
            .map(|f| f.offset.0);
        let first = at.max(self.model.start);
        assert_eq!(found, (first < self.end()).then_some(first));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list_that_survives(
        tail_bytes in prop_oneof![Just(0), Just(2000), Just(1 << 20)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut run = Run::new(tail_bytes);
        for step in &steps {
            run.take(step);
        }
        let expected: Vec<(i64, String)> = run.model.records.iter().enumerate()
            .skip(run.model.start as usize)
            .map(|(offset, (value, _))| (offset as i64, value.clone()))
            .collect();
        prop_assert_eq!(contents(&run.log), expected);
    }
}
