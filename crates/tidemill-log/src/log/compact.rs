//! Compacting one log: what of it, whether it is worth it, and the passes over its segments.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{FlushError, Log, OPEN, guard};
use crate::batch::BatchHeader;
use crate::compaction::{
    self, AbortedData, BatchReader, Cleaned, CleanedSegment, CompactError, Compacted, CompactionLimits,
    Filter, Kept, OffsetMap, swap,
};
use crate::config::LogConfig;
use crate::disk::DiskError;
use crate::index::{Entry, OffsetEntry};
use crate::records::UNCOMPRESSED_BYTES_MAX;
use crate::segment::Segment;
use crate::types::{Offset, Timestamp};

/// How many segments become one at most: all of them are held open while they are replaced.
const GROUP_SEGMENTS_MAX: usize = 128;

/// What of a log can be compacted.
#[derive(Debug)]
struct Plan {
    // With the offset after each; sealed, undamaged, stable and old enough.
    segments: Vec<(Arc<Segment>, Offset)>,
    // Everything below was compacted before.
    from: Offset,
    clean_bytes: u64,
    dirty_bytes: u64,
    // The time of the first batch that was never compacted.
    waiting_since: Option<Timestamp>,
}

impl Plan {
    fn dirty_ratio(&self) -> f64 {
        self.dirty_bytes as f64 / (self.clean_bytes + self.dirty_bytes).max(1) as f64
    }

    fn is_due(&self, config: &LogConfig, now: Timestamp) -> bool {
        let waited = |since: Timestamp| now.since(since) > config.max_compaction_lag_ms;
        let overdue = self.waiting_since.is_some_and(waited);
        self.dirty_bytes > 0 && (overdue || self.dirty_ratio() > config.min_cleanable_dirty_ratio)
    }
}

/// Tells how many bytes were moved, and hears whether to go on.
pub(crate) type Pace<'a> = &'a mut dyn FnMut(u64) -> bool;

impl Log {
    /// The share of bytes that were never compacted, if compacting the log is due by its settings.
    pub fn compaction_due(&self, now: Timestamp) -> Result<Option<f64>, DiskError> {
        let config = self.config();
        let never = !config.cleanup_policy.compacts() || self.compaction_ended.load(Ordering::Acquire);
        if never || self.relocating.load(Ordering::Acquire) {
            return Ok(None);
        }
        let plan = self.plan(&config, now)?;
        Ok(plan.is_due(&config, now).then(|| plan.dirty_ratio()))
    }

    /// Compacts what can be, whether it is due or not. Appends and reads go on meanwhile; `pace` is told of every
    /// batch's bytes, and may take its time or say no. After an error the log is as it was, or read-only if the disk
    /// failed while segments changed places.
    pub fn compact(
        &self,
        now: Timestamp,
        limits: &CompactionLimits,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Compacted, CompactError> {
        let _one_at_a_time = guard(&self.compacting);
        if self.relocating.load(Ordering::Acquire) {
            return Err(CompactError::Stopped);
        }
        let config = self.config();
        let plan = self.plan(&config, now)?;
        let mut done = Compacted {
            from: plan.from,
            to: plan.from,
            bytes_before: 0,
            bytes_after: 0,
        };
        if plan.dirty_bytes == 0 {
            return Ok(done);
        }
        self.make_durable(&plan)?;
        let result = self.compact_planned(&plan, &config, now, limits, pace, &mut done);
        if let Err(CompactError::Batch { .. } | CompactError::Order { .. }) = result {
            // It would be found again and again; the next opening of the log looks at it.
            self.compaction_ended.store(true, Ordering::Release);
        }
        result.map(|()| done)
    }

    /// Syncs what is to be compacted: else a crash could take a newer record that nobody has synced, after compaction
    /// took the older one that was.
    fn make_durable(&self, plan: &Plan) -> Result<(), CompactError> {
        let end = plan.segments.last().map_or(plan.from, |(_, next)| *next);
        if self.recovery_point() >= end {
            return Ok(());
        }
        match self.flush() {
            Ok(_) => Ok(()),
            Err(FlushError::Disk(error)) => Err(error.into()),
            Err(FlushError::Poisoned) => Err(CompactError::Stopped),
        }
    }

    fn plan(&self, config: &LogConfig, now: Timestamp) -> Result<Plan, DiskError> {
        let segments = self.segments();
        let start = self.log_start_offset();
        let mut plan = Plan {
            segments: Vec::new(),
            from: self.compacted_to().max(start),
            clean_bytes: 0,
            dirty_bytes: 0,
            waiting_since: None,
        };
        let stable = self.last_stable_offset();
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            let next_base = next.base_offset();
            let is_dirty = next_base > plan.from;
            if next_base > stable || !segment.damages().is_empty() {
                break;
            }
            if is_dirty
                && config.min_compaction_lag_ms > 0
                && now.since(segment.max_timestamp()?) < config.min_compaction_lag_ms
            {
                break;
            }
            if is_dirty {
                plan.dirty_bytes += segment.size();
                if plan.waiting_since.is_none() && config.max_compaction_lag_ms < i64::MAX {
                    let first = segment.scan(0).next().transpose()?;
                    plan.waiting_since = first.map(|batch| batch.header.max_timestamp);
                }
            } else {
                plan.clean_bytes += segment.size();
            }
            plan.segments.push((Arc::clone(segment), next_base));
        }
        Ok(plan)
    }

    fn compact_planned(
        &self,
        plan: &Plan,
        config: &LogConfig,
        now: Timestamp,
        limits: &CompactionLimits,
        pace: Pace<'_>,
        done: &mut Compacted,
    ) -> Result<(), CompactError> {
        let aborted = AbortedData::new(&guard(&self.transactions).aborted());
        let (map, up_to) = self.map_offsets(plan, limits, &aborted, pace)?;
        let mut filter = Filter {
            map: &map,
            up_to,
            now,
            delete_retention_ms: config.delete_retention_ms,
            aborted: &aborted,
            last_written: guard(&self.writer).producers.last_written(),
            with_data: HashSet::new(),
            markers_gone: Vec::new(),
        };
        let last = plan
            .segments
            .partition_point(|(segment, _)| segment.base_offset() < up_to);
        let segments = plan.segments.get(..last).unwrap_or_default();
        for group in groups(segments, config) {
            let before: u64 = group.iter().map(|(segment, _)| segment.size()).sum();
            let after = self.compact_group(group, &mut filter, config, pace)?;
            done.bytes_before += before;
            done.bytes_after += after.unwrap_or(before);
        }
        done.to = up_to;
        self.compacted_to.fetch_max(up_to.0, Ordering::AcqRel);
        Ok(())
    }

    fn go_on(&self, pace: Pace<'_>, bytes: u64) -> Result<(), CompactError> {
        let ended = self.compaction_ended.load(Ordering::Acquire);
        if ended || self.condition.load(Ordering::Acquire) != OPEN || !pace(bytes) {
            return Err(CompactError::Stopped);
        }
        Ok(())
    }

    /// The newest offsets of the keys that were never compacted, as far as they fit, and up to where that is.
    fn map_offsets(
        &self,
        plan: &Plan,
        limits: &CompactionLimits,
        aborted: &AbortedData,
        pace: Pace<'_>,
    ) -> Result<(OffsetMap, Offset), CompactError> {
        let end = plan.segments.last().map_or(plan.from, |(_, next)| *next);
        let records = end.since(plan.from).unsigned_abs();
        let mut map = OffsetMap::new(records, limits.offset_map_bytes);
        let mut keys = Vec::new();
        for (segment, next_base) in &plan.segments {
            if *next_base <= plan.from {
                continue;
            }
            let position = segment.position_before(plan.from.max(segment.base_offset()))?;
            let mut batches = BatchReader::new(segment, position, *next_base)?;
            while let Some((header, batch)) = batches.next()? {
                self.go_on(pace, header.size as u64)?;
                let is_data = !header.attributes.is_control() && !aborted.contains(&header);
                if header.last_offset() < plan.from || !is_data {
                    continue;
                }
                let offset = header.base_offset;
                let count = usize::try_from(batch.header().record_count).unwrap_or(0);
                // The first batch goes in as far as it fits, or nothing ever would.
                if count > map.room() && offset > plan.from {
                    return Ok((map, offset));
                }
                let failed = |fault| CompactError::Batch { offset, fault };
                let payload = batch.payload(UNCOMPRESSED_BYTES_MAX).map_err(failed)?;
                keys.clear();
                for record in batch.records(&payload) {
                    let record = record.map_err(failed)?;
                    if let Some(key) = record.key.filter(|_| record.offset >= plan.from.0) {
                        keys.push((map.hash(key), Offset(record.offset)));
                    }
                }
                for (key, offset) in &keys {
                    if map.room() == 0 {
                        return Ok((map, *offset));
                    }
                    map.note(*key, *offset);
                }
            }
        }
        Ok((map, end))
    }

    /// Writes what stays of some segments and puts it in their place. Returns its bytes; `None` when nothing changed.
    fn compact_group(
        &self,
        group: &[(Arc<Segment>, Offset)],
        filter: &mut Filter<'_>,
        config: &LogConfig,
        pace: Pace<'_>,
    ) -> Result<Option<u64>, CompactError> {
        let Some(((first, _), (_, end))) = group.first().zip(group.last()) else {
            return Ok(None);
        };
        let base = first.base_offset();
        let result = self.write_cleaned(group, filter, config, pace);
        let cleaned = match result {
            Ok(Some(cleaned)) => cleaned,
            other => {
                compaction::discard(&*self.disk, &self.dir(), base)?;
                return other.map(|_| None);
            }
        };
        let size = cleaned.size;
        let old: Vec<Arc<Segment>> = group.iter().map(|(segment, _)| Arc::clone(segment)).collect();
        let swapped = self.swap_in(&old, cleaned, *end, &filter.markers_gone)?;
        filter.markers_gone.clear();
        Ok(swapped.then_some(size))
    }

    /// What stays, as a segment that is not in place yet; `None` when it is all there was.
    fn write_cleaned(
        &self,
        group: &[(Arc<Segment>, Offset)],
        filter: &mut Filter<'_>,
        config: &LogConfig,
        pace: Pace<'_>,
    ) -> Result<Option<Cleaned>, CompactError> {
        let (Some((first, _)), Some((_, end))) = (group.first(), group.last()) else {
            return Ok(None);
        };
        let base = first.base_offset();
        let dir = self.dir();
        let mut cleaned = CleanedSegment::create(&self.disk, &dir, base, config.index_interval_bytes)?;
        let mut changed = group.len() > 1;
        for (segment, next_base) in group {
            let mut batches = BatchReader::new(segment, 0, *next_base)?;
            while let Some((header, batch)) = batches.next()? {
                self.go_on(pace, header.size as u64)?;
                let offset = header.base_offset;
                let kept = filter
                    .apply(&header, &batch)
                    .map_err(|fault| CompactError::Batch { offset, fault })?;
                changed |= kept != Kept::Whole;
                match kept {
                    Kept::Whole => cleaned.push(&header, batch.bytes())?,
                    Kept::Rewritten(bytes) => {
                        let header = BatchHeader::parse(&bytes).expect("a batch just built has a header");
                        cleaned.push(&header, &bytes)?;
                    }
                    Kept::Nothing => {}
                }
            }
        }
        if !changed {
            return Ok(None);
        }
        let mut aborted = guard(&self.transactions).aborted();
        aborted.retain(|txn| {
            (base..*end).contains(&txn.last_offset) && !filter.markers_gone.contains(&txn.last_offset)
        });
        cleaned.finish(&aborted).map(Some)
    }

    /// Puts `cleaned` in the place of `old`; not if some of those went meanwhile.
    fn swap_in(
        &self,
        old: &[Arc<Segment>],
        cleaned: Cleaned,
        end: Offset,
        markers_gone: &[Offset],
    ) -> Result<bool, CompactError> {
        let base = cleaned.segment.base_offset();
        let (disk, dir) = (&*self.disk, &*self.dir());
        let replaced: Vec<Offset> = old.iter().skip(1).map(|segment| segment.base_offset()).collect();
        {
            let _replacing = guard(&self.replacing);
            let is_open = self.condition.load(Ordering::Acquire) == OPEN;
            if !is_open || place_of(&self.segments(), old).is_none() {
                compaction::discard(disk, dir, base)?;
                return Ok(false);
            }
            // Readers may have these: their names are about to belong to the new segment.
            old.iter().try_for_each(|segment| segment.hold_open())?;
            let poison = |error: &DiskError| self.poison(error);
            swap::commit(disk, dir, base).inspect_err(poison)?;
            self.publish_compacted(old, cleaned.segment);
            self.tail.forget_before(end);
            guard(&self.transactions).forget_markers(markers_gone);
            swap::retire(disk, dir, &replaced).inspect_err(poison)?;
            swap::complete(disk, dir, base).inspect_err(poison)?;
        }
        if let Err(error) = swap::remove_retired(disk, dir, &replaced) {
            tracing::warn!(partition = %self.topic_partition, %error, "replaced segments still take room");
        }
        Ok(true)
    }

    fn publish_compacted(&self, old: &[Arc<Segment>], cleaned: Arc<Segment>) {
        // Appending may have rolled since: the list is the one that is there now.
        let _writer = guard(&self.writer);
        let mut segments = self.segments().to_vec();
        let at = place_of(&segments, old).expect("only who holds `replacing` takes segments away");
        segments.splice(at..at + old.len(), [cleaned]);
        self.publish_segments(segments);
    }
}

/// Where `old` stands in `segments`, whole and in a row.
fn place_of(segments: &[Arc<Segment>], old: &[Arc<Segment>]) -> Option<usize> {
    segments.windows(old.len()).position(|window| {
        window
            .iter()
            .zip(old)
            .all(|(segment, old)| Arc::ptr_eq(segment, old))
    })
}

/// Cuts segments into runs that fit one: by bytes, by the room of the index, and by offsets.
fn groups<'a>(
    segments: &'a [(Arc<Segment>, Offset)],
    config: &LogConfig,
) -> Vec<&'a [(Arc<Segment>, Offset)]> {
    let entries_max = config.segment_index_bytes as usize / OffsetEntry::SIZE;
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some((first, _)) = rest.first() {
        let (mut bytes, mut entries, mut len) = (0, 0, 0);
        for (segment, next_base) in rest.iter().take(GROUP_SEGMENTS_MAX) {
            bytes += segment.size();
            entries += segment.index_entries();
            let fits = bytes <= u64::from(config.segment_bytes)
                && entries <= entries_max
                && next_base.since(first.base_offset()) <= i64::from(i32::MAX);
            if len > 0 && !fits {
                break;
            }
            len += 1;
        }
        let (group, others) = rest.split_at(len);
        groups.push(group);
        rest = others;
    }
    groups
}
