//! Record batches, magic 2: what Produce and Fetch carry and logs store.
//!
//! ```text
//!  at  len
//!   0    8  base offset              assigned by the broker, outside the CRC
//!   8    4  length                   of what follows this field
//!  12    4  partition leader epoch   assigned by the broker, outside the CRC
//!  16    1  magic                    2
//!  17    4  CRC32C                   of everything from 21 on
//!  21    2  attributes               bits 0-2 codec, 3 log-append time, 4 transactional, 5 control, 6 delete horizon
//!  23    4  last offset delta
//!  27    8  base timestamp           the first record's; with a delete horizon, that horizon
//!  35    8  max timestamp
//!  43    8  producer id              -1 without idempotence, and then the next two
//!  51    2  producer epoch
//!  53    4  base sequence
//!  57    4  record count
//!  61       records, compressed together
//! ```
//! A record, all integers but the attributes as zigzag varints:
//! ```text
//! length of what follows, i8 attributes (0), timestamp delta, offset delta, key length (-1: null), key, value length, value,
//! header count, then per header: key length, key, value length (-1: null), value
//! ```
//!
//! ```
//! use tidemill_protocol::batch::{Batch, BatchBuilder, Batches, Header};
//! use tidemill_protocol::compression::Compression;
//!
//! let mut builder = BatchBuilder::new(Compression::Lz4);
//! builder.push(1_000, Some(b"k"), Some(b"v"), [Header::new("trace", b"7")]);
//! builder.push(1_001, None, Some(b"w"), []);
//! let bytes = builder.build();
//! for batch in Batches::new(&bytes) {
//!     let batch = batch?;
//!     batch.check_crc()?;
//!     let payload = batch.payload(1 << 20)?;
//!     let records: Vec<_> = batch.records(&payload).collect::<Result<_, _>>()?;
//!     assert_eq!(records[1].value, Some(&b"w"[..]));
//! }
//! # Ok::<(), tidemill_protocol::batch::BatchError>(())
//! ```

mod builder;
mod header;
mod patch;
mod record;
mod view;

pub use builder::{BatchBuilder, ProducerStamp};
pub use header::{Attributes, BatchError, BatchHeader, HEADER_LEN, TimestampType};
pub use patch::{assigned_prefix, patch_assigned, patch_log_append_time, patch_producer};
pub use record::{Header, Headers, Record, RecordIter, count_records};
pub use view::{Batch, Batches};

#[cfg(test)]
mod tests;
