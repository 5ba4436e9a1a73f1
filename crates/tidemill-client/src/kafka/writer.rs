//! The producer under the runtime: one call a record, no delivery report unless something is lost.
#![allow(
    unsafe_code,
    reason = "calls librdkafka's C interface; each block says why it is sound"
)]

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::bindings::rd_kafka_vtype_t as Kind;
use tidemill_data::Headers;

use super::client::{Client, Role, c_string, check, describe};
use super::producer::sent_time;
use crate::{Outgoing, Settings, TopicPartition, TransportError, Writer, WriterTopic};

/// How long one wait for room in the queue, or for the last acknowledgements, lasts before we look at losses again.
const STEP: Duration = Duration::from_millis(50);
/// Records between two looks at outcomes.
const RECORDS_PER_LOOK: usize = 10_000;

pub(super) struct KafkaWriter {
    topics: Vec<TopicHandle>,
    client: Client,
    since_look: usize,
}

struct TopicHandle {
    name: Arc<str>,
    topic: *mut rd::rd_kafka_topic_t,
}

// SAFETY: librdkafka's topic handles may be used from any thread.
unsafe impl Send for TopicHandle {}

impl KafkaWriter {
    pub(super) fn new(settings: &Settings) -> Result<Self, TransportError> {
        Ok(Self {
            topics: Vec::new(),
            client: Client::new(Role::Producer, settings)?,
            since_look: 0,
        })
    }

    pub(super) fn ptr(&self) -> *mut rd::rd_kafka_t {
        self.client.ptr()
    }

    /// Throws away what is queued or under way, and what is known of losses.
    pub(super) fn purge(&mut self) {
        const QUEUED: c_int = 0x1;
        const IN_FLIGHT: c_int = 0x2;
        // SAFETY: the client is live; callbacks run inside.
        unsafe {
            rd::rd_kafka_purge(self.client.ptr(), QUEUED | IN_FLIGHT);
            rd::rd_kafka_poll(self.client.ptr(), 0);
        }
        self.client.take_losses();
    }

    fn send_one(&mut self, record: &Outgoing<'_>) -> Result<(), TransportError> {
        let handle = self
            .topics
            .get(record.topic.0)
            .expect("topics come from this writer");
        let (topic, name) = (handle.topic, handle.name.clone());
        loop {
            match self.produce(topic, record)? {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => return Ok(()),
                Code::RD_KAFKA_RESP_ERR__QUEUE_FULL => self.serve(STEP)?,
                code => {
                    let partition = TopicPartition::new(name, record.partition);
                    return Err(TransportError::Delivery {
                        partition,
                        reason: describe(code),
                    });
                }
            }
        }
    }

    fn produce(
        &self,
        topic: *mut rd::rd_kafka_topic_t,
        record: &Outgoing<'_>,
    ) -> Result<Code, TransportError> {
        const COPY: c_int = 0x2;
        let headers = native_headers(record.headers)?;
        let values = [
            argument(Kind::RD_KAFKA_VTYPE_RKT, |u| u.rkt = topic),
            argument(Kind::RD_KAFKA_VTYPE_PARTITION, |u| u.i32_ = record.partition),
            argument(Kind::RD_KAFKA_VTYPE_MSGFLAGS, |u| u.i = COPY),
            argument(Kind::RD_KAFKA_VTYPE_TIMESTAMP, |u| {
                u.i64_ = sent_time(record.timestamp.millis())
            }),
            argument(Kind::RD_KAFKA_VTYPE_KEY, |u| u.mem = memory(record.key)),
            argument(Kind::RD_KAFKA_VTYPE_VALUE, |u| u.mem = memory(record.value)),
            argument(Kind::RD_KAFKA_VTYPE_HEADERS, |u| u.headers = headers),
        ];
        let used = if headers.is_null() {
            values.len() - 1
        } else {
            values.len()
        };
        // SAFETY: `values` holds at least `used` arguments, each with the field its type says; key and value live
        // through the call, which copies them. Headers become librdkafka's only if the call succeeds.
        unsafe {
            let error = rd::rd_kafka_produceva(self.client.ptr(), values.as_ptr(), used);
            if error.is_null() {
                return Ok(Code::RD_KAFKA_RESP_ERR_NO_ERROR);
            }
            if !headers.is_null() {
                rd::rd_kafka_headers_destroy(headers);
            }
            let code = rd::rd_kafka_error_code(error);
            rd::rd_kafka_error_destroy(error);
            Ok(code)
        }
    }

    fn serve(&mut self, wait: Duration) -> Result<(), TransportError> {
        // SAFETY: the client is live; callbacks run inside.
        unsafe { rd::rd_kafka_poll(self.client.ptr(), wait.as_millis() as c_int) };
        self.since_look = 0;
        let losses = self.client.take_losses();
        let count = losses.len();
        losses.into_iter().next().map_or(Ok(()), |loss| {
            let reason = format!("{} ({count} records)", loss.reason);
            Err(TransportError::Delivery {
                partition: loss.partition,
                reason,
            })
        })
    }
}

impl Writer for KafkaWriter {
    fn topic(&mut self, name: &str) -> Result<WriterTopic, TransportError> {
        if let Some(at) = self.topics.iter().position(|known| *known.name == *name) {
            return Ok(WriterTopic(at));
        }
        let c_name = c_string(name)?;
        // SAFETY: the client is live; a null configuration is the default one.
        let topic =
            unsafe { rd::rd_kafka_topic_new(self.client.ptr(), c_name.as_ptr(), std::ptr::null_mut()) };
        if topic.is_null() {
            return Err(TransportError::Settings(format!(
                "{name:?} is no name for a topic"
            )));
        }
        self.topics.push(TopicHandle {
            name: name.into(),
            topic,
        });
        Ok(WriterTopic(self.topics.len() - 1))
    }

    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<(), TransportError> {
        for record in records {
            self.send_one(record)?;
        }
        self.since_look += records.len();
        if self.since_look >= RECORDS_PER_LOOK {
            self.serve(Duration::ZERO)
        } else {
            Ok(())
        }
    }

    fn poll(&mut self) -> Result<(), TransportError> {
        self.serve(Duration::ZERO)
    }

    // Bounded by `delivery.timeout.ms`, after which librdkafka reports what is left as lost.
    fn flush(&mut self) -> Result<(), TransportError> {
        loop {
            // SAFETY: the client is live; callbacks run inside.
            let code = unsafe { rd::rd_kafka_flush(self.client.ptr(), STEP.as_millis() as c_int) };
            self.serve(Duration::ZERO)?;
            if code != Code::RD_KAFKA_RESP_ERR__TIMED_OUT {
                return check("flush", code);
            }
        }
    }
}

impl Drop for KafkaWriter {
    fn drop(&mut self) {
        for handle in self.topics.drain(..) {
            // SAFETY: each handle was made by `topic` and is not used again.
            unsafe { rd::rd_kafka_topic_destroy(handle.topic) };
        }
    }
}

fn argument(vtype: Kind, set: impl FnOnce(&mut rd::rd_kafka_vu_s__bindgen_ty_1)) -> rd::rd_kafka_vu_t {
    let mut u = rd::rd_kafka_vu_s__bindgen_ty_1 {
        ptr: std::ptr::null_mut(),
    };
    set(&mut u);
    rd::rd_kafka_vu_t { vtype, u }
}

fn memory(bytes: Option<&[u8]>) -> rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    let (ptr, size) = bytes.map_or((std::ptr::null(), 0), |b| (b.as_ptr(), b.len()));
    rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
        ptr: ptr.cast_mut().cast::<c_void>(),
        size,
    }
}

fn native_headers(headers: &Headers) -> Result<*mut rd::rd_kafka_headers_t, TransportError> {
    if headers.is_empty() {
        return Ok(std::ptr::null_mut());
    }
    // SAFETY: a new list; names and values are copied by `add`.
    unsafe {
        let list = rd::rd_kafka_headers_new(headers.len());
        for header in headers {
            let value = memory(header.value.as_deref());
            let name = header.name.as_bytes();
            let code = rd::rd_kafka_header_add(
                list,
                name.as_ptr().cast(),
                name.len() as isize,
                value.ptr,
                value.size as isize,
            );
            if let Err(error) = check("add a header", code) {
                rd::rd_kafka_headers_destroy(list);
                return Err(error);
            }
        }
        Ok(list)
    }
}
