//! A librdkafka instance: its settings, its log, its callbacks, its end.
//!
//! librdkafka is called directly where the safe wrapper would cost a call per record or would answer a rebalance
//! before the runtime has committed. Everything unsafe is in this file, `list`, `messages`, `queue` and `writer`.
#![allow(
    unsafe_code,
    reason = "calls librdkafka's C interface; each block says why it is sound"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::list::{self, PartitionList};
use super::queue::Waker;
use tidemill_data::Timestamp;

use crate::{Settings, TopicPartition, TransportError};

/// How long a request may take before it is an error. Kafka's `default.api.timeout.ms` is the same.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

const ERROR_TEXT_BYTES: usize = 512;

/// An instance. Dropping it ends its threads; a consumer does not leave its group thereby.
pub(super) struct Client {
    rk: *mut rd::rd_kafka_t,
    // What callbacks leave for their owner. librdkafka holds a pointer to it, so it is boxed and outlives `rk`.
    seen: Box<Seen>,
}

// SAFETY: librdkafka's handles may be used from any thread, and `Seen` is `Sync`.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

/// What callbacks have seen.
#[derive(Default)]
pub(super) struct Seen {
    // Guards short pushes by callbacks and takes by the owner.
    rebalances: Mutex<Vec<Rebalance>>,
    losses: Mutex<Vec<Loss>>,
    closing: std::sync::atomic::AtomicBool,
    pub(super) waker: Waker,
}

pub(super) enum Rebalance {
    Assigned(Vec<TopicPartition>),
    Revoking(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
}

pub(super) struct Loss {
    pub(super) partition: TopicPartition,
    pub(super) reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Producer,
    Consumer,
}

impl Client {
    pub(super) fn new(role: Role, settings: &Settings) -> Result<Self, TransportError> {
        let seen = Box::<Seen>::default();
        let mut text = [0 as c_char; ERROR_TEXT_BYTES];
        // SAFETY: the configuration is ours until `rd_kafka_new` takes it, or destroyed here when anything fails. The
        // opaque points into a box that lives as long as the instance.
        let rk = unsafe {
            let conf = rd::rd_kafka_conf_new();
            if let Err(error) = set_all(conf, settings) {
                rd::rd_kafka_conf_destroy(conf);
                return Err(error);
            }
            rd::rd_kafka_conf_set_opaque(conf, std::ptr::from_ref(&*seen).cast_mut().cast());
            rd::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            rd::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            let kind = match role {
                Role::Producer => {
                    rd::rd_kafka_conf_set_dr_msg_cb(conf, Some(on_delivery));
                    rd::rd_kafka_type_t::RD_KAFKA_PRODUCER
                }
                Role::Consumer => {
                    rd::rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance));
                    rd::rd_kafka_type_t::RD_KAFKA_CONSUMER
                }
            };
            let rk = rd::rd_kafka_new(kind, conf, text.as_mut_ptr(), text.len());
            if rk.is_null() {
                rd::rd_kafka_conf_destroy(conf);
                return Err(TransportError::Settings(read_text(&text)));
            }
            rk
        };
        Ok(Self { rk, seen })
    }

    pub(super) fn ptr(&self) -> *mut rd::rd_kafka_t {
        self.rk
    }

    pub(super) fn waker(&self) -> &Waker {
        &self.seen.waker
    }

    pub(super) fn take_rebalances(&self) -> Vec<Rebalance> {
        std::mem::take(&mut *self.seen.rebalances.lock().expect("callbacks do not panic"))
    }

    pub(super) fn take_losses(&self) -> Vec<Loss> {
        std::mem::take(&mut *self.seen.losses.lock().expect("callbacks do not panic"))
    }

    /// Leaves the consumer group and waits until it is done.
    pub(super) fn close(&self) -> Result<(), TransportError> {
        self.seen.closing.store(true, std::sync::atomic::Ordering::SeqCst);
        // SAFETY: `rk` is a live consumer.
        check("leave the group", unsafe { rd::rd_kafka_consumer_close(self.rk) })
    }

    /// Where a partition that is being read ended when its last fetch was answered.
    pub(super) fn known_end(&self, of: &TopicPartition) -> Option<i64> {
        let topic = c_string(&of.topic).ok()?;
        let (mut low, mut high) = (-1_i64, -1_i64);
        // SAFETY: all pointers are valid for the call, which asks nobody.
        let code = unsafe {
            rd::rd_kafka_get_watermark_offsets(self.rk, topic.as_ptr(), of.partition, &mut low, &mut high)
        };
        (code == Code::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// The offset of the first record of this time or later, if there is one.
    pub(super) fn first_since(
        &self,
        of: &TopicPartition,
        time: Timestamp,
    ) -> Result<Option<i64>, TransportError> {
        let list = PartitionList::new(std::iter::once((of, time.millis().max(0))))?;
        let timeout = REQUEST_TIMEOUT.as_millis() as c_int;
        // SAFETY: `rk` is live, the list valid for the call, which replaces its time by an offset.
        let code = unsafe { rd::rd_kafka_offsets_for_times(self.rk, list.ptr(), timeout) };
        check("look up a time", code)?;
        let mut found = None;
        for (offset, code) in list.results() {
            check("look up a time", code)?;
            found = Some(offset.next).filter(|offset| *offset >= 0);
        }
        Ok(found)
    }

    /// The first offset and the one after the last record a reader may see.
    pub(super) fn watermarks(&self, of: &TopicPartition) -> Result<(i64, i64), TransportError> {
        let topic = c_string(&of.topic)?;
        let (mut low, mut high) = (0_i64, 0_i64);
        let timeout = REQUEST_TIMEOUT.as_millis() as c_int;
        // SAFETY: all pointers are valid for the call.
        let code = unsafe {
            rd::rd_kafka_query_watermark_offsets(
                self.rk,
                topic.as_ptr(),
                of.partition,
                &mut low,
                &mut high,
                timeout,
            )
        };
        match code {
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC => Err(TransportError::UnknownPartition(of.clone())),
            code => check("offsets", code).map(|()| (low, high)),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        const NO_CONSUMER_CLOSE: c_int = 0x8;
        // SAFETY: queues and messages borrow the client, so none is left; `rk` is not used again.
        unsafe { rd::rd_kafka_destroy_flags(self.rk, NO_CONSUMER_CLOSE) }
    }
}

unsafe fn set_all(conf: *mut rd::rd_kafka_conf_t, settings: &Settings) -> Result<(), TransportError> {
    for (name, value) in settings {
        let (c_name, c_value) = (c_string(name)?, c_string(value)?);
        let mut text = [0 as c_char; ERROR_TEXT_BYTES];
        // SAFETY: the caller hands a live configuration; the strings live through the call.
        let outcome = unsafe {
            rd::rd_kafka_conf_set(
                conf,
                c_name.as_ptr(),
                c_value.as_ptr(),
                text.as_mut_ptr(),
                text.len(),
            )
        };
        if outcome != rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
            return Err(TransportError::Settings(read_text(&text)));
        }
    }
    Ok(())
}

pub(super) fn c_string(text: &str) -> Result<CString, TransportError> {
    CString::new(text).map_err(|_| TransportError::Settings(format!("{text:?} contains a zero byte")))
}

pub(super) fn check(operation: &'static str, code: Code) -> Result<(), TransportError> {
    if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    Err(TransportError::Cluster {
        operation,
        reason: describe(code),
    })
}

pub(super) fn describe(code: Code) -> String {
    // SAFETY: librdkafka returns a static string for every code.
    unsafe { CStr::from_ptr(rd::rd_kafka_err2str(code)) }
        .to_string_lossy()
        .into_owned()
}

fn read_text(text: &[c_char]) -> String {
    text.iter()
        .take_while(|c| **c != 0)
        .map(|c| char::from(*c as u8))
        .collect()
}

unsafe extern "C" fn on_log(
    _rk: *const rd::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: both strings are valid and end in zero for the time of the call.
    let (facility, line) = unsafe {
        (
            CStr::from_ptr(facility).to_string_lossy(),
            CStr::from_ptr(line).to_string_lossy(),
        )
    };
    match level {
        // One set of settings serves producers and consumers; librdkafka remarks on those of the other kind.
        _ if facility == "CONFWARN" => tracing::trace!(target: "librdkafka", "{line}"),
        0..=3 => tracing::error!(target: "librdkafka", "{facility}: {line}"),
        4 => tracing::warn!(target: "librdkafka", "{facility}: {line}"),
        5 | 6 => tracing::info!(target: "librdkafka", "{facility}: {line}"),
        _ => tracing::debug!(target: "librdkafka", "{facility}: {line}"),
    }
}

unsafe extern "C" fn on_error(
    _rk: *mut rd::rd_kafka_t,
    _err: c_int,
    reason: *const c_char,
    _opaque: *mut c_void,
) {
    // SAFETY: the reason is valid and ends in zero for the time of the call.
    let reason = unsafe { CStr::from_ptr(reason).to_string_lossy() };
    tracing::warn!(target: "librdkafka", "{reason}");
}

// Only records what happened. The partitions stay ours until the runtime has committed and answers with `assign`.
unsafe extern "C" fn on_rebalance(
    rk: *mut rd::rd_kafka_t,
    code: Code,
    partitions: *mut rd::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: `opaque` is the boxed `Seen` of this instance, `partitions` a valid list for the time of the call.
    unsafe {
        let seen = &*opaque.cast::<Seen>();
        if seen.closing.load(std::sync::atomic::Ordering::SeqCst) {
            rd::rd_kafka_assign(rk, std::ptr::null());
            return;
        }
        let partitions = list::names(partitions);
        let rebalance = match code {
            Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assigned(partitions),
            _ if rd::rd_kafka_assignment_lost(rk) != 0 => Rebalance::Lost(partitions),
            Code::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => Rebalance::Revoking(partitions),
            other => {
                tracing::warn!("rebalance: {}", describe(other));
                Rebalance::Lost(partitions)
            }
        };
        if let Ok(mut rebalances) = seen.rebalances.lock() {
            rebalances.push(rebalance);
        }
    }
}

// Set to report failures only (`delivery.report.only.error`), so it is quiet while all is well.
unsafe extern "C" fn on_delivery(
    _rk: *mut rd::rd_kafka_t,
    message: *const rd::rd_kafka_message_t,
    opaque: *mut c_void,
) {
    // SAFETY: `opaque` is the boxed `Seen` of this instance, `message` valid for the time of the call.
    unsafe {
        if (*message).err == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        let topic = CStr::from_ptr(rd::rd_kafka_topic_name((*message).rkt)).to_string_lossy();
        let partition = TopicPartition::new(topic.as_ref(), (*message).partition);
        let seen = &*opaque.cast::<Seen>();
        if let Ok(mut losses) = seen.losses.lock() {
            losses.push(Loss {
                partition,
                reason: describe((*message).err),
            });
        }
    }
}
