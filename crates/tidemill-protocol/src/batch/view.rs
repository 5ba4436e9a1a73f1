//! A batch as a slice: header parsed, records untouched until asked for.

use std::borrow::Cow;

use bytes::Bytes;

use super::header::{BatchError, BatchHeader, CRC_FROM, HEADER_LEN};
use super::record::{RecordIter, count_records};
use crate::compression::Compression;

/// One whole batch in received or stored bytes.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    header: BatchHeader,
    // Invariant: exactly header.len bytes.
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at the front of `bytes`; more may follow it.
    ///
    /// # Errors
    /// What [`BatchHeader::parse`] says, or the batch is cut off.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let truncated = BatchError::Truncated {
            needed: header.len,
            left: bytes.len(),
        };
        let bytes = bytes.get(..header.len).ok_or(truncated)?;
        Ok(Batch { header, bytes })
    }

    /// The parsed header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records as they are, compressed or not.
    pub fn stored_records(&self) -> &'a [u8] {
        self.bytes
            .get(HEADER_LEN..)
            .expect("a batch is at least a header")
    }

    /// Compares the CRC with the content.
    ///
    /// # Errors
    /// [`BatchError::Crc`] if they differ.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(self.bytes.get(CRC_FROM..).expect("a batch is at least a header"));
        match self.header.crc {
            stored if stored == computed => Ok(()),
            stored => Err(BatchError::Crc { stored, computed }),
        }
    }

    /// Walks the lengths of uncompressed records: each must end where the next begins, and there must be as many as the header says.
    /// Compressed records are taken as they are.
    ///
    /// # Errors
    /// The records contradict the header or themselves.
    pub fn check_lengths(&self) -> Result<(), BatchError> {
        if self.header.attributes.compression()? != Compression::None {
            return Ok(());
        }
        let (expected, found) = (
            i64::from(self.header.record_count),
            count_records(self.stored_records())? as i64,
        );
        if expected == found {
            Ok(())
        } else {
            Err(BatchError::Count {
                expected,
                found,
                by: "records",
            })
        }
    }

    /// The records uncompressed: borrowed if they are so already, else at most `limit` new bytes.
    ///
    /// # Errors
    /// An unknown codec, more than `limit` bytes, broken compressed data.
    pub fn payload(&self, limit: usize) -> Result<Cow<'a, [u8]>, BatchError> {
        match self.header.attributes.compression()? {
            Compression::None => Ok(Cow::Borrowed(self.stored_records())),
            codec => {
                let mut plain = Vec::new();
                codec.decompress(self.stored_records(), limit, &mut plain)?;
                Ok(Cow::Owned(plain))
            }
        }
    }

    /// As [`Batch::payload`], for who wants to keep slices of it: `whole` must be the bytes this batch was parsed from.
    ///
    /// # Errors
    /// As [`Batch::payload`].
    pub fn shared_payload(&self, whole: &Bytes, limit: usize) -> Result<Bytes, BatchError> {
        Ok(match self.payload(limit)? {
            Cow::Borrowed(plain) => whole.slice_ref(plain),
            Cow::Owned(plain) => Bytes::from(plain),
        })
    }

    /// The records in a payload of this batch.
    pub fn records<'p>(&self, payload: &'p [u8]) -> RecordIter<'p> {
        RecordIter::new(&self.header, payload)
    }
}

/// The batches in a buffer, one after the other. After an error it ends.
///
/// A fetch may end in the middle of a batch: that is [`BatchError::Truncated`] for the last one; see [`Batches::ignore_cut_off`].
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    rest: &'a [u8],
    cut_off_is_end: bool,
}

impl<'a> Batches<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Batches {
            rest: bytes,
            cut_off_is_end: false,
        }
    }

    /// A last batch that is cut off ends the iteration without an error, as a consumer reads a Fetch response.
    pub fn ignore_cut_off(self) -> Self {
        Batches {
            cut_off_is_end: true,
            ..self
        }
    }

    /// The bytes that have not been iterated yet; none after an error.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = Batch::parse(self.rest);
        if self.cut_off_is_end && is_cut_off(self.rest, &batch) {
            self.rest = &[];
            return None;
        }
        self.rest = match &batch {
            Ok(batch) => self
                .rest
                .get(batch.header.len..)
                .expect("the batch was cut from the rest"),
            Err(_) => &[],
        };
        Some(batch)
    }
}

fn is_cut_off(rest: &[u8], batch: &Result<Batch<'_>, BatchError>) -> bool {
    rest.len() < HEADER_LEN || matches!(batch, Err(BatchError::Truncated { .. }))
}
