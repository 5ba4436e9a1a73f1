//! What is written into finished batches. A broker sets offset and leader epoch, which no CRC covers, and its own time,
//! which one does; a producer that has to begin anew sets another producer's stamp.

use super::builder::ProducerStamp;
use super::header::{Attributes, CRC_FROM, HEADER_LEN};

/// The first 16 bytes of a batch with the offset and epoch a leader assigns, its length as it was.
///
/// To be written instead of the first 16 of the received bytes, which stay untouched.
pub fn assigned_prefix(header: &[u8; HEADER_LEN], base_offset: i64, leader_epoch: i32) -> [u8; 16] {
    let mut prefix = *header.first_chunk().expect("a header has more than 16 bytes");
    assign(&mut prefix, base_offset, leader_epoch);
    prefix
}

/// Writes offset and leader epoch into the batch at the front of `batch`.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn patch_assigned(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    let prefix = batch.first_chunk_mut().expect("a batch is at least a header");
    assign(prefix, base_offset, leader_epoch);
}

fn assign(prefix: &mut [u8; 16], base_offset: i64, leader_epoch: i32) {
    let (offset, rest) = prefix.split_first_chunk_mut().expect("16 bytes hold an offset");
    *offset = base_offset.to_be_bytes();
    let epoch = rest.last_chunk_mut().expect("8 bytes hold an epoch");
    *epoch = leader_epoch.to_be_bytes();
}

/// Gives all records of the batch, which `batch` must hold exactly, the broker's time, and computes the CRC anew.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn patch_log_append_time(batch: &mut [u8], timestamp: i64) {
    let (head, body) = batch
        .split_at_mut_checked(CRC_FROM)
        .expect("a batch is at least a header");
    let (attributes, rest) = body
        .split_first_chunk_mut::<2>()
        .expect("a batch is at least a header");
    *attributes = (i16::from_be_bytes(*attributes) | Attributes::LOG_APPEND_TIME).to_be_bytes();
    // Between the attributes and the max timestamp: last offset delta and base timestamp.
    let max_timestamp = rest.get_mut(12..20).expect("a batch is at least a header");
    max_timestamp.copy_from_slice(&timestamp.to_be_bytes());
    let crc = crc32c::crc32c(body);
    *head.last_chunk_mut().expect("the CRC is the head's end") = crc.to_be_bytes();
}

/// Says that the batch, which `batch` must hold exactly, is from another producer, and computes the CRC anew.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn patch_producer(batch: &mut [u8], producer: ProducerStamp) {
    let stamp = batch
        .get_mut(43..HEADER_LEN - 4)
        .expect("a batch is at least a header");
    let (id, rest) = stamp.split_first_chunk_mut().expect("14 bytes hold the id");
    *id = producer.id.to_be_bytes();
    let (epoch, rest) = rest.split_first_chunk_mut().expect("6 bytes hold the epoch");
    *epoch = producer.epoch.to_be_bytes();
    *rest.first_chunk_mut().expect("4 bytes hold the sequence") = producer.base_sequence.to_be_bytes();
    let (head, body) = batch
        .split_at_mut_checked(CRC_FROM)
        .expect("a batch is at least a header");
    let crc = crc32c::crc32c(body);
    *head.last_chunk_mut().expect("the CRC is the head's end") = crc.to_be_bytes();
}
