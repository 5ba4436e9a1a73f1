//! Rows that expire by time: their keys start with the segment of time they lie in, so that what has expired goes by
//! one range delete.
//!
//! ```text
//! 0       u64 big-endian   segment: time / width of a segment
//! 8       ..               key
//! n - s   i64 big-endian   time: a window's start, a session's end
//! n - s+8 ..               i32 sequence number, or i64 start of the session
//! ```
//! After the segment stand the bytes of the changelog's key. Times are not negative: records from before 1970 are
//! dropped as expired.

use tidemill_data::Headers;

use crate::{Direction, KeyRange, Rows, StoreError, space::Space};

pub(crate) const SEGMENT_BYTES: usize = 8;
/// As in Kafka Streams: half the retention, but no less than this, lest there be too many segments.
const SEGMENT_MS_MIN: i64 = 60_000;

/// Which times are live, by the greatest time seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments {
    retention_ms: i64,
    segment_ms: i64,
    stream_time_ms: i64,
}

impl Segments {
    pub(crate) fn new(retention_ms: i64) -> Self {
        let retention_ms = retention_ms.max(0);
        Self {
            retention_ms,
            segment_ms: (retention_ms / 2).max(SEGMENT_MS_MIN),
            stream_time_ms: i64::MIN,
        }
    }

    pub(crate) fn segment_ms(&self) -> i64 {
        self.segment_ms
    }

    pub(crate) fn stream_time_ms(&self) -> i64 {
        self.stream_time_ms
    }

    pub(crate) fn set_stream_time_ms(&mut self, ms: i64) {
        self.stream_time_ms = ms;
    }

    pub(crate) fn observe(&mut self, ms: i64) {
        self.stream_time_ms = self.stream_time_ms.max(ms);
    }

    /// The first time that has not expired.
    pub(crate) fn live_from_ms(&self) -> i64 {
        self.stream_time_ms
            .saturating_sub(self.retention_ms)
            .saturating_add(1)
            .max(0)
    }

    pub(crate) fn is_live(&self, ms: i64) -> bool {
        ms >= self.live_from_ms()
    }

    /// The segment of a time that is not negative.
    pub(crate) fn segment(&self, ms: i64) -> u64 {
        (ms.max(0) / self.segment_ms).unsigned_abs()
    }

    /// The first key of the first segment that has anything live.
    pub(crate) fn floor(&self) -> [u8; SEGMENT_BYTES] {
        self.segment(self.live_from_ms()).to_be_bytes()
    }
}

/// Which rows a scan over segments gives.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) keys: Keys,
    /// Times, both inclusive.
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// What stands after the key: 12 bytes in window stores, 16 in session stores.
    pub(crate) suffix_bytes: usize,
    pub(crate) direction: Direction,
}

#[derive(Clone, Debug)]
pub(crate) enum Keys {
    One(Vec<u8>),
    /// Both inclusive; `None` is open.
    Range(Option<Vec<u8>>, Option<Vec<u8>>),
}

impl Keys {
    pub(crate) fn range(from: Option<&[u8]>, to: Option<&[u8]>) -> Self {
        Self::Range(from.map(<[u8]>::to_vec), to.map(<[u8]>::to_vec))
    }

    fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => key == one,
            Self::Range(from, to) => {
                from.as_ref().is_none_or(|from| key >= from.as_slice())
                    && to.as_ref().is_none_or(|to| key <= to.as_slice())
            }
        }
    }
}

/// A row's key, taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentKey<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) time_ms: i64,
    /// What stands after the time.
    pub(crate) rest: &'a [u8],
}

pub(crate) fn split(row_key: &[u8], suffix_bytes: usize) -> Option<SegmentKey<'_>> {
    let (_, rest) = row_key.split_at_checked(SEGMENT_BYTES)?;
    let (key, suffix) = rest.split_at_checked(rest.len().checked_sub(suffix_bytes)?)?;
    let (time, rest) = suffix.split_first_chunk()?;
    Some(SegmentKey {
        key,
        time_ms: i64::from_be_bytes(*time),
        rest,
    })
}

/// A scan over the live segments, one after the other.
pub(crate) struct SegmentedRows<'a> {
    space: &'a Space,
    wanted: Wanted,
    // Segments still to come, both inclusive; empty when the first is above the last.
    segments: (u64, u64),
    rows: Option<Rows<'a>>,
}

impl<'a> SegmentedRows<'a> {
    pub(crate) fn open(
        space: &'a mut Space,
        segments: &Segments,
        mut wanted: Wanted,
    ) -> Result<Self, StoreError> {
        space.order();
        wanted.from_ms = wanted.from_ms.max(segments.live_from_ms());
        wanted.to_ms = wanted.to_ms.min(segments.stream_time_ms());
        let reach = if wanted.from_ms <= wanted.to_ms {
            (segments.segment(wanted.from_ms), segments.segment(wanted.to_ms))
        } else {
            (1, 0)
        };
        let mut rows = Self {
            space,
            wanted,
            segments: reach,
            rows: None,
        };
        rows.settle()?;
        Ok(rows)
    }

    pub(crate) fn entry(&self) -> Option<(SegmentKey<'_>, &[u8])> {
        let (row_key, value) = self.rows.as_ref()?.entry()?;
        Some((split(row_key, self.wanted.suffix_bytes)?, value))
    }

    pub(crate) fn headers(&self) -> Result<Headers, StoreError> {
        self.rows.as_ref().map_or(Ok(Headers::new()), Rows::headers)
    }

    pub(crate) fn advance(&mut self) -> Result<(), StoreError> {
        if let Some(rows) = &mut self.rows {
            rows.advance()?;
        }
        self.settle()
    }

    /// Goes on to the next row that is wanted, through as many segments as it takes.
    fn settle(&mut self) -> Result<(), StoreError> {
        loop {
            while let Some(rows) = &mut self.rows {
                let Some((row_key, _)) = rows.entry() else {
                    self.rows = None;
                    break;
                };
                let row = split(row_key, self.wanted.suffix_bytes);
                let row = row.ok_or(StoreError::Corrupt {
                    what: "a row without segment and time",
                })?;
                let in_time = self.wanted.from_ms <= row.time_ms && row.time_ms <= self.wanted.to_ms;
                // Keys of other lengths can lie between the bounds too: a key may go on with what reads as a time.
                if in_time && self.wanted.keys.contains(row.key) {
                    return Ok(());
                }
                rows.advance()?;
            }
            let Some(segment) = self.next_segment() else {
                return Ok(());
            };
            self.rows = Some(self.scan(segment)?);
        }
    }

    fn next_segment(&mut self) -> Option<u64> {
        let (first, last) = self.segments;
        if first > last {
            return None;
        }
        match self.wanted.direction {
            Direction::Forward => {
                self.segments = (first + 1, last);
                Some(first)
            }
            Direction::Backward => {
                self.segments = last.checked_sub(1).map_or((1, 0), |before| (first, before));
                Some(last)
            }
        }
    }

    fn scan(&self, segment: u64) -> Result<Rows<'a>, StoreError> {
        let mut from = segment.to_be_bytes().to_vec();
        let mut to = from.clone();
        match &self.wanted.keys {
            Keys::One(key) => {
                from.extend_from_slice(key);
                from.extend_from_slice(&self.wanted.from_ms.to_be_bytes());
                to.extend_from_slice(key);
                to.extend_from_slice(&(self.wanted.to_ms.unsigned_abs() + 1).to_be_bytes());
            }
            // A row of a shorter key can lie above those of a longer one that is greater, so the segment is read to
            // its end.
            Keys::Range(first, _) => {
                from.extend_from_slice(first.as_deref().unwrap_or_default());
                to = (segment + 1).to_be_bytes().to_vec();
            }
        }
        self.space
            .scan_ordered(KeyRange::new(&from, Some(&to)), self.wanted.direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_live_for_the_retention() {
        let mut segments = Segments::new(10);
        assert!(
            segments.is_live(0) && !segments.is_live(-1),
            "nothing has expired yet, but before 1970"
        );
        segments.observe(100);
        segments.observe(50);
        assert_eq!(segments.live_from_ms(), 91);
        assert!(segments.is_live(91) && !segments.is_live(90));
    }

    #[test]
    fn segments_are_half_the_retention_wide_but_a_minute_at_least() {
        assert_eq!(Segments::new(10).segment_ms(), 60_000);
        assert_eq!(Segments::new(600_000).segment_ms(), 300_000);
        let mut segments = Segments::new(600_000);
        segments.observe(1_200_000);
        assert_eq!(segments.floor(), 2_u64.to_be_bytes());
    }

    #[test]
    fn extreme_retention_and_time_do_not_overflow() {
        let mut segments = Segments::new(i64::MAX);
        segments.observe(i64::MAX);
        assert!(segments.is_live(1));
        assert_eq!(Segments::new(-5).segment_ms(), SEGMENT_MS_MIN);
    }
}
