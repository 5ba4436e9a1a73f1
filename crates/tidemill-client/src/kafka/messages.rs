//! Messages as librdkafka hands them out, and their way into records: one buffer for the bytes of a whole take.
#![allow(
    unsafe_code,
    reason = "reads librdkafka's messages; each block says why it is sound"
)]

use std::ffi::{CStr, c_void};

use bytes::{Bytes, BytesMut};
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use tidemill_data::{Header, Headers, Timestamp};

use super::client::describe;
use crate::{Record, TopicPartition};

type Message = *mut rd::rd_kafka_message_t;

/// A reusable buffer of messages. It is empty between takes.
#[derive(Default)]
pub(super) struct Messages {
    // Invariant: each is a message we own, destroyed when it leaves.
    taken: Vec<Message>,
}

// SAFETY: librdkafka's messages may be read and destroyed on any thread.
unsafe impl Send for Messages {}

/// What a take brought besides records.
pub(super) enum Remark {
    CaughtUp {
        end: i64,
    },
    OutOfRange {
        offset: i64,
    },
    Gone {
        partition: Option<TopicPartition>,
        reason: String,
    },
    Passing {
        reason: String,
    },
}

impl Messages {
    pub(super) fn fill(&mut self, max: usize, consume: impl FnOnce(*mut Message, usize) -> isize) {
        self.clear();
        self.taken.reserve(max);
        let count = consume(self.taken.as_mut_ptr(), max);
        // A negative count is an error of use; there is nothing to read then.
        let count = usize::try_from(count).unwrap_or(0).min(max);
        // SAFETY: librdkafka wrote `count` owned messages at the front of the reserved room.
        unsafe { self.taken.set_len(count) };
    }

    /// The records among the messages, their bytes copied once into one buffer; the rest become remarks.
    pub(super) fn drain(&mut self, remarks: &mut Vec<Remark>) -> Vec<Record> {
        let bytes: usize = self.taken.iter().map(|m| payload_len(*m)).sum();
        let mut buffer = BytesMut::with_capacity(bytes);
        let mut spans = Vec::with_capacity(self.taken.len());
        for message in &self.taken {
            // SAFETY: the message is ours until `clear`.
            let m = unsafe { &**message };
            if m.err != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                remarks.push(remark(m));
                continue;
            }
            let key = copy(&mut buffer, m.key, m.key_len);
            let value = copy(&mut buffer, m.payload, m.len);
            let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: the message is valid.
            let timestamp = unsafe { rd::rd_kafka_message_timestamp(m, &mut kind) };
            spans.push((m.offset, timestamp, key, value, headers(m)));
        }
        self.clear();
        let buffer = buffer.freeze();
        let record =
            |(offset, timestamp, key, value, headers): (i64, i64, Option<Span>, Option<Span>, Headers)| {
                let slice = |span: Option<Span>| span.map(|(from, to)| buffer.slice(from..to));
                Record {
                    offset,
                    timestamp: Timestamp::from_millis(timestamp),
                    key: slice(key),
                    value: slice(value),
                    headers,
                }
            };
        spans.into_iter().map(record).collect()
    }

    fn clear(&mut self) {
        for message in self.taken.drain(..) {
            // SAFETY: the message is ours, and leaves here.
            unsafe { rd::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.clear();
    }
}

type Span = (usize, usize);

fn payload_len(message: Message) -> usize {
    // SAFETY: the message is valid.
    let m = unsafe { &*message };
    if m.err == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
        m.len + m.key_len
    } else {
        0
    }
}

fn copy(buffer: &mut BytesMut, data: *const c_void, len: usize) -> Option<Span> {
    if data.is_null() {
        return None;
    }
    let from = buffer.len();
    // SAFETY: the message's fields say that `len` bytes are there.
    buffer.extend_from_slice(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) });
    Some((from, buffer.len()))
}

fn headers(message: &rd::rd_kafka_message_t) -> Headers {
    let mut list = std::ptr::null_mut();
    // SAFETY: the message is valid; it keeps the list, which is parsed on first use.
    let code = unsafe { rd::rd_kafka_message_headers(message, &mut list) };
    if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
        return Headers::default();
    }
    // SAFETY: the list is valid as long as the message.
    let count = unsafe { rd::rd_kafka_header_cnt(list) };
    let header = |index| {
        let (mut name, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0_usize);
        // SAFETY: the index is below the count; name and value stay valid as long as the message.
        unsafe {
            let code = rd::rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut len);
            (code == Code::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| Header {
                name: CStr::from_ptr(name).to_string_lossy().into_owned(),
                value: (!value.is_null())
                    .then(|| Bytes::copy_from_slice(std::slice::from_raw_parts(value.cast::<u8>(), len))),
            })
        }
    };
    (0..count).filter_map(header).collect()
}

fn remark(m: &rd::rd_kafka_message_t) -> Remark {
    match m.err {
        Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => Remark::CaughtUp { end: m.offset },
        Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET | Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE => {
            Remark::OutOfRange { offset: m.offset }
        }
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
        | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
        | Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
        | Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
        | Code::RD_KAFKA_RESP_ERR__FATAL => Remark::Gone {
            partition: partition_of(m),
            reason: text(m),
        },
        _ => Remark::Passing { reason: text(m) },
    }
}

fn partition_of(m: &rd::rd_kafka_message_t) -> Option<TopicPartition> {
    if m.rkt.is_null() {
        return None;
    }
    // SAFETY: the message keeps its topic, whose name ends in zero.
    let topic = unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(m.rkt)) }.to_string_lossy();
    Some(TopicPartition::new(topic.as_ref(), m.partition))
}

fn text(m: &rd::rd_kafka_message_t) -> String {
    if m.payload.is_null() {
        return describe(m.err);
    }
    // SAFETY: an error's payload is `len` bytes of text.
    let bytes = unsafe { std::slice::from_raw_parts(m.payload.cast::<u8>(), m.len) };
    format!("{}: {}", describe(m.err), String::from_utf8_lossy(bytes))
}
