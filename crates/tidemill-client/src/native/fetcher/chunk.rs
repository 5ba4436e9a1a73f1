//! What one Fetch answer brought for one partition, and its records, cut out when they are asked for. Pure.

use bytes::{Buf, Bytes};
use tidemill_data::{Header, Headers, Timestamp};
use tidemill_protocol::batch::{Batch, BatchError, BatchHeader, Headers as RawHeaders};

use super::aborted::Aborted;
use crate::Record;

/// The most a compressed batch may become. A batch that is larger is an error, not an allocation.
const DECOMPRESSED_BYTES_MAX: usize = 512 << 20;

/// Batches as they came, from the first record wanted on.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Bytes,
    aborted: Aborted,
    /// The next offset to hand out.
    next: i64,
    // The offset after the last batch that was cut.
    passed: i64,
    // Records of a batch that did not all fit into the last answer.
    left: std::vec::IntoIter<Record>,
}

/// Where the whole batches in fetched bytes end: the offset after them.
pub(super) fn end_of(bytes: &[u8]) -> Result<Option<i64>, BatchError> {
    let (mut rest, mut end) = (bytes, None);
    while let Ok(header) = BatchHeader::parse(rest) {
        let Some(behind) = rest.get(header.len..) else {
            break;
        };
        end = Some(header.next_offset());
        rest = behind;
    }
    match end {
        None if !bytes.is_empty() => Batch::parse(bytes).map(|batch| Some(batch.header().next_offset())),
        end => Ok(end),
    }
}

impl Chunk {
    pub(super) fn new(bytes: Bytes, aborted: Aborted, next: i64) -> Self {
        Self {
            bytes,
            aborted,
            next,
            passed: next,
            left: Vec::new().into_iter(),
        }
    }

    /// The bytes it holds; those of a batch count until its last record is out.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn next_offset(&self) -> i64 {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.len() == 0 && BatchHeader::parse(&self.bytes).map_or(true, |h| h.len > self.bytes.len())
    }

    /// Adds records, at most `max`. Everything but an error means that it may be asked again.
    pub(super) fn take(
        &mut self,
        max: usize,
        check_crcs: bool,
        out: &mut Vec<Record>,
    ) -> Result<(), BatchError> {
        out.extend(self.left.by_ref().take(max.saturating_sub(out.len())));
        while self.left.len() == 0 && out.len() < max && !self.is_empty() {
            self.take_batch(max, check_crcs, out)?;
        }
        if let Some(last) = out.last() {
            self.next = self.next.max(last.offset.saturating_add(1));
        }
        if self.left.len() == 0 {
            self.next = self.next.max(self.passed);
        }
        Ok(())
    }

    fn take_batch(&mut self, max: usize, check_crcs: bool, out: &mut Vec<Record>) -> Result<(), BatchError> {
        let batch = Batch::parse(&self.bytes)?;
        let header = *batch.header();
        if check_crcs {
            batch.check_crc()?;
        }
        let is_aborted = self.aborted.covers(&header);
        if !is_aborted && !header.attributes.is_control() && header.next_offset() > self.next {
            let payload = batch.shared_payload(&self.bytes, DECOMPRESSED_BYTES_MAX)?;
            let records = batch.records(&payload);
            let mut all = Vec::new();
            let fits = records.size_hint().0 + out.len() <= max;
            let into = if fits { &mut *out } else { &mut all };
            into.reserve(records.size_hint().0);
            for record in records {
                let record = record?;
                if record.offset >= self.next {
                    into.push(owned(&payload, &record));
                }
            }
            if !fits {
                self.left = all.into_iter();
                out.extend(self.left.by_ref().take(max.saturating_sub(out.len())));
            }
        }
        self.passed = header.next_offset();
        self.bytes.advance(header.len);
        Ok(())
    }
}

/// The record, sharing the payload's bytes.
#[inline]
fn owned(payload: &Bytes, record: &tidemill_protocol::batch::Record<'_>) -> Record {
    Record {
        offset: record.offset,
        timestamp: Timestamp::from_millis(record.timestamp),
        key: record.key.map(|key| payload.slice_ref(key)),
        value: record.value.map(|value| payload.slice_ref(value)),
        headers: headers(payload, record.headers),
    }
}

#[inline]
fn headers(payload: &Bytes, raw: RawHeaders<'_>) -> Headers {
    if raw.len() == 0 {
        return Headers::new();
    }
    raw.map(|header| Header {
        name: header.key_text().into_owned(),
        value: header.value.map(|value| payload.slice_ref(value)),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use tidemill_protocol::batch::{BatchBuilder, Header as RawHeader};
    use tidemill_protocol::compression::Compression;

    use super::*;

    fn batch(base: i64, values: &[&str], codec: Compression) -> Bytes {
        let mut builder = BatchBuilder::new(codec).assigned(base, 0);
        for value in values {
            builder.push(7, Some(b"k"), Some(value.as_bytes()), [RawHeader::new("h", b"1")]);
        }
        builder.build()
    }

    fn chunk(batches: &[Bytes], next: i64) -> Chunk {
        Chunk::new(batches.concat().into(), Aborted::default(), next)
    }

    fn values(records: &[Record]) -> Vec<String> {
        let text = |value: &Option<Bytes>| String::from_utf8(value.as_deref().unwrap().to_vec()).unwrap();
        records.iter().map(|record| text(&record.value)).collect()
    }

    #[test]
    fn records_come_in_pieces_of_any_size() {
        for codec in [Compression::None, Compression::Lz4] {
            for max in 1..6 {
                let mut chunk = chunk(
                    &[batch(0, &["a", "b", "c"], codec), batch(3, &["d", "e"], codec)],
                    1,
                );
                let mut all = Vec::new();
                while !chunk.is_empty() {
                    let mut some = Vec::new();
                    chunk.take(max, true, &mut some).unwrap();
                    assert!(some.len() <= max);
                    assert_eq!(chunk.next_offset(), some.last().unwrap().offset + 1);
                    all.append(&mut some);
                }
                assert_eq!(values(&all), ["b", "c", "d", "e"]);
                assert_eq!(
                    all[0].headers.last("h").unwrap().value.as_deref(),
                    Some(&b"1"[..])
                );
            }
        }
    }

    #[test]
    fn markers_move_the_position_and_give_no_records() {
        let mut marker = BatchBuilder::new(Compression::None)
            .assigned(1, 0)
            .transactional()
            .control();
        marker.push(0, Some(&[0, 0, 0, 1]), None, []);
        let mut chunk = chunk(&[batch(0, &["a"], Compression::None), marker.build()], 0);
        let mut records = Vec::new();
        chunk.take(10, true, &mut records).unwrap();
        assert_eq!((values(&records), chunk.next_offset()), (vec!["a".to_owned()], 2));
        assert!(chunk.is_empty());
    }

    #[test]
    fn a_cut_off_end_is_left_for_the_next_fetch() {
        let (first, second) = (
            batch(0, &["a"], Compression::None),
            batch(1, &["b"], Compression::None),
        );
        let bytes = [first.clone(), second.slice(..second.len() - 1)].concat();
        assert_eq!(end_of(&bytes), Ok(Some(1)));
        let mut chunk = Chunk::new(bytes.into(), Aborted::default(), 0);
        let mut records = Vec::new();
        chunk.take(10, true, &mut records).unwrap();
        assert_eq!(values(&records), ["a"]);
        assert!(chunk.is_empty());
    }

    #[test]
    fn bytes_that_are_no_batches_are_errors() {
        let mut broken = Vec::from(batch(0, &["a"], Compression::None));
        *broken.last_mut().unwrap() ^= 1;
        let mut chunk = Chunk::new(broken.into(), Aborted::default(), 0);
        assert!(matches!(
            chunk.take(10, true, &mut Vec::new()),
            Err(BatchError::Crc { .. })
        ));
        assert!(end_of(&[0; 100]).is_err());
    }
}
