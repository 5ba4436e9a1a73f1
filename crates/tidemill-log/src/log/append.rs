//! Appending: check, place, write, publish.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{CLOSED, Log, OPEN, READ_ONLY, Writer, guard};
use crate::batch::{BatchHeader, Stored};
use crate::config::{LogConfig, TimestampType};
use crate::disk::{self, DiskError};
use crate::producer_state::{TransactionChange, Verdict};
use crate::records;
use crate::segment::{self, AppendFailure, Placed, Segment, Tail};
use crate::tail_cache::CachedBatch;
use crate::transactions::AbortedTransaction;
use crate::types::{Offset, Timestamp};
use crate::validation::{self, Append, AppendError, Checked, InvalidBatch, Origin};

/// Where appended batches went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The time the records got, where the topic stamps with append time.
    pub log_append_time: Option<Timestamp>,
    /// The first offset of the log.
    pub log_start_offset: Offset,
    /// Whether the batch had been written before, by an earlier try of its producer.
    pub duplicate: bool,
}

/// A batch with its offsets, ready to be written.
struct Ready {
    header: BatchHeader,
    stored: Stored,
}

impl Log {
    /// Appends whole batches, giving them the next offsets. They are readable up to the log's end at once; the caller
    /// moves the high watermark. After an error nothing of them is in the log.
    pub fn append(&self, batches: Bytes, append: Append) -> Result<Appended, AppendError> {
        let config = self.config();
        let checked = validation::check(&batches, &append, &config)?;
        let mut writer = guard(&self.writer);
        match self.condition.load(Ordering::Acquire) {
            OPEN => {}
            CLOSED => return Err(AppendError::Closed),
            _ => return Err(AppendError::Poisoned),
        }
        if let Some(known) = Self::judge(&writer, &checked, append.origin)? {
            return Ok(Appended {
                log_start_offset: self.log_start_offset(),
                ..known
            });
        }
        let log_append_time = (config.timestamp_type == TimestampType::LogAppendTime).then_some(append.now);
        let ready = self.place(&checked, &append, log_append_time);
        self.roll_if_due(&mut writer, &ready, append.now, &config)?;
        let appended = self.write(&mut writer, ready, &append, &config)?;
        let flush_due = config
            .flush_messages
            .is_some_and(|max| writer.unsynced_records >= max);
        drop(writer);
        if flush_due {
            self.flush().map_err(|_| AppendError::Poisoned)?;
        }
        Ok(Appended {
            log_append_time,
            ..appended
        })
    }

    /// Asks the producer state; the offsets of an earlier try when this is a repetition.
    fn judge(writer: &Writer, checked: &[Checked], origin: Origin) -> Result<Option<Appended>, AppendError> {
        let [Checked { header, .. }] = checked else {
            return Ok(None);
        };
        let Some(producer) = header.producer else {
            return Ok(None);
        };
        if origin == Origin::Coordinator {
            writer.producers.check_epoch(producer)?;
            return Ok(None);
        }
        Ok(match writer.producers.check(producer, header)? {
            Verdict::Append => {
                if let Origin::Transaction(guard) = origin {
                    writer.producers.check_guard(&guard)?;
                }
                None
            }
            Verdict::Duplicate {
                base_offset,
                last_offset,
                timestamp,
            } => {
                let log_append_time = header.is_log_append_time().then_some(timestamp);
                let log_start_offset = Offset(0);
                Some(Appended {
                    base_offset,
                    last_offset,
                    log_append_time,
                    log_start_offset,
                    duplicate: true,
                })
            }
        })
    }

    /// Gives the batches their offsets.
    fn place(&self, checked: &[Checked], append: &Append, log_append_time: Option<Timestamp>) -> Vec<Ready> {
        let mut next = self.log_end_offset();
        let mut ready = Vec::with_capacity(checked.len());
        for Checked { header, bytes } in checked {
            let stored = Stored::new(bytes, next, append.leader_epoch, log_append_time);
            let max_timestamp = log_append_time.unwrap_or(header.max_timestamp);
            let header = BatchHeader {
                base_offset: next,
                max_timestamp,
                ..*header
            };
            next = header.next_offset();
            ready.push(Ready { header, stored });
        }
        ready
    }

    fn write(
        &self,
        writer: &mut Writer,
        ready: Vec<Ready>,
        append: &Append,
        config: &LogConfig,
    ) -> Result<Appended, AppendError> {
        let (first, last) = ready.first().zip(ready.last()).ok_or(InvalidBatch::Empty)?;
        let (base_offset, last_offset) = (first.header.base_offset, last.header.last_offset());
        guard(&self.epochs).assign(append.leader_epoch, base_offset)?;
        let mut parts: Vec<IoSlice<'_>> = ready
            .iter()
            .flat_map(|batch| [IoSlice::new(&batch.stored.head), IoSlice::new(&batch.stored.body)])
            .collect();
        let placed: Vec<Placed> = ready.iter().map(|batch| placed(&batch.header)).collect();
        match writer
            .active
            .append(&mut parts, &placed, config.index_interval_bytes)
        {
            Ok(()) => {}
            Err(AppendFailure::Undone(error)) => return Err(error.into()),
            Err(AppendFailure::Torn(error)) => {
                self.poison(&error);
                return Err(error.into());
            }
        }
        for batch in ready {
            self.note_producer(writer, &batch)
                .inspect_err(|error| self.poison(error))?;
            match batch.stored.in_one_piece() {
                Some(bytes) => self.tail.push(CachedBatch {
                    base_offset: batch.header.base_offset,
                    last_offset: batch.header.last_offset(),
                    bytes,
                    arrived: append.now,
                }),
                // The tail has no holes.
                None => self.tail.clear(),
            }
        }
        self.log_end.store(last_offset.plus(1).0, Ordering::Release);
        writer.unsynced_records += last_offset.since(base_offset).unsigned_abs() + 1;
        writer.unsynced_since.get_or_insert(append.now);
        let log_start_offset = self.log_start_offset();
        Ok(Appended {
            base_offset,
            last_offset,
            log_append_time: None,
            log_start_offset,
            duplicate: false,
        })
    }

    /// Takes a written batch into the producer state and the transactions.
    fn note_producer(&self, writer: &mut Writer, batch: &Ready) -> Result<(), DiskError> {
        let header = &batch.header;
        let Some(producer) = header.producer else {
            return Ok(());
        };
        // A marker is small, so it lies in one piece.
        let marker = header
            .attributes
            .is_control()
            .then(|| records::marker(&batch.stored.body))
            .flatten();
        let Some(change) = writer.producers.record(producer, header, marker) else {
            return Ok(());
        };
        let mut transactions = guard(&self.transactions);
        match change {
            TransactionChange::Begun {
                producer,
                first_offset,
            } => transactions.begin(producer, first_offset),
            TransactionChange::Ended {
                producer,
                first_offset,
                committed,
            } => {
                let last_offset = header.last_offset();
                if !committed {
                    let stable = transactions.first_open_except(first_offset);
                    let last_stable_offset = stable.unwrap_or(last_offset.plus(1));
                    let aborted = AbortedTransaction {
                        producer_id: producer,
                        first_offset,
                        last_offset,
                        last_stable_offset,
                    };
                    self.write_aborted(writer.active.segment(), &aborted)?;
                    transactions.push_aborted(aborted);
                }
                transactions.end(first_offset, last_offset);
            }
        }
        self.publish_first_unstable(&transactions);
        Ok(())
    }

    fn write_aborted(&self, segment: &Segment, aborted: &AbortedTransaction) -> Result<(), DiskError> {
        let file = self.disk.create(&segment.path(segment::TXN_INDEX))?;
        self.dir_changed.store(true, Ordering::Release);
        file.write_at(file.size()?, &mut [IoSlice::new(&aborted.encode())])
    }

    fn roll_if_due(
        &self,
        writer: &mut Writer,
        ready: &[Ready],
        now: Timestamp,
        config: &LogConfig,
    ) -> Result<(), DiskError> {
        let bytes = ready.iter().map(|batch| batch.header.size).sum();
        let Some(last) = ready.last() else { return Ok(()) };
        let newest = ready
            .iter()
            .map(|batch| batch.header.max_timestamp)
            .max()
            .unwrap_or(Timestamp::NONE);
        let full = writer.active.is_full(bytes, last.header.last_offset(), config);
        if full || writer.active.is_old(newest, now, config) {
            self.roll_now(writer, now)
        } else {
            Ok(())
        }
    }

    /// Seals the active segment and begins another, unless the active one is empty. Nothing changes on an error.
    pub fn roll(&self, now: Timestamp) -> Result<(), DiskError> {
        self.roll_now(&mut guard(&self.writer), now)
    }

    pub(super) fn roll_now(&self, writer: &mut Writer, now: Timestamp) -> Result<(), DiskError> {
        if writer.active.segment().size() == 0 || self.condition.load(Ordering::Acquire) == READ_ONLY {
            return Ok(());
        }
        let base = self.log_end_offset();
        writer.active.complete_indexes()?;
        self.write_snapshot(writer, base)?;
        let segment = Arc::new(Segment::create(&self.disk, &self.dir(), base)?);
        let tail = Tail {
            max_timestamp_offset: base,
            ..Tail::default()
        };
        let next = segment::Active::new(Arc::clone(&segment), now, tail)?;
        writer.active.seal()?;
        writer.active = next;
        let mut segments = self.segments().to_vec();
        segments.push(segment);
        self.publish_segments(segments);
        Ok(())
    }

    /// Writes the producers' state before `at`. Not synced: its checksum tells a torn one, and the log has it all.
    pub(super) fn write_snapshot(&self, writer: &Writer, at: Offset) -> Result<(), DiskError> {
        let path = segment::file_path(&self.dir(), at, segment::SNAPSHOT);
        disk::replace_unsynced(&*self.disk, &path, &writer.producers.snapshot())
    }
}

fn placed(header: &BatchHeader) -> Placed {
    Placed {
        size: header.size,
        last_offset: header.last_offset(),
        max_timestamp: header.max_timestamp,
    }
}
