//! The producer of transactions under the runtime.
#![allow(
    unsafe_code,
    reason = "calls librdkafka's C interface; each block says why it is sound"
)]

use std::ffi::{CStr, c_int};

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::client::REQUEST_TIMEOUT;
use super::group::NativeMetadata;
use super::list::PartitionList;
use super::writer::KafkaWriter;
use crate::{
    Committed, GroupMetadata, Outgoing, Settings, TopicPartition, TransactionError, TransactionalWriter,
    TransportError, Writer, WriterTopic,
};

/// How often a step that failed for a passing reason is repeated. Each attempt waits for the broker by itself.
const ATTEMPTS_MAX: u32 = 10;

pub(super) struct KafkaTransactionalWriter {
    writer: KafkaWriter,
    id: String,
}

impl KafkaTransactionalWriter {
    /// `settings` name the id.
    pub(super) fn new(settings: &Settings, id: &str) -> Result<Self, TransactionError> {
        let this = Self {
            writer: KafkaWriter::new(settings)?,
            id: id.to_owned(),
        };
        // SAFETY: the client is a live producer.
        this.step("begin with a transactional id", |rk| unsafe {
            rd::rd_kafka_init_transactions(rk, timeout())
        })?;
        Ok(this)
    }

    /// Calls until it is done or failed for good.
    fn step(
        &self,
        operation: &'static str,
        call: impl Fn(*mut rd::rd_kafka_t) -> *mut rd::rd_kafka_error_t,
    ) -> Result<(), TransactionError> {
        let mut attempt = 1;
        loop {
            let error = call(self.writer.ptr());
            if error.is_null() {
                return Ok(());
            }
            // SAFETY: the error is ours, and destroyed when it has been read.
            let failure = unsafe {
                let failure = Failure {
                    code: rd::rd_kafka_error_code(error),
                    text: CStr::from_ptr(rd::rd_kafka_error_string(error))
                        .to_string_lossy()
                        .into_owned(),
                    fatal: rd::rd_kafka_error_is_fatal(error) != 0,
                    passing: rd::rd_kafka_error_is_retriable(error) != 0,
                    abort: rd::rd_kafka_error_txn_requires_abort(error) != 0,
                };
                rd::rd_kafka_error_destroy(error);
                failure
            };
            if !failure.passing || attempt == ATTEMPTS_MAX {
                return Err(failure.into_error(operation, &self.id));
            }
            tracing::debug!("{operation}: {}; trying again", failure.text);
            attempt += 1;
        }
    }
}

/// What librdkafka says of a step that failed.
struct Failure {
    code: Code,
    text: String,
    fatal: bool,
    passing: bool,
    abort: bool,
}

impl Failure {
    fn into_error(self, operation: &'static str, id: &str) -> TransactionError {
        match self.code {
            Code::RD_KAFKA_RESP_ERR__FENCED
            | Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED
            | Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH => TransactionError::Fenced {
                id: id.to_owned(),
                reason: self.text,
            },
            _ if self.abort && !self.fatal => TransactionError::Abortable(self.text),
            _ => TransactionError::Fatal(TransportError::Cluster {
                operation,
                reason: self.text,
            }),
        }
    }
}

fn timeout() -> c_int {
    REQUEST_TIMEOUT.as_millis() as c_int
}

impl Writer for KafkaTransactionalWriter {
    fn topic(&mut self, name: &str) -> Result<WriterTopic, TransportError> {
        self.writer.topic(name)
    }

    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<(), TransportError> {
        self.writer.send(records)
    }

    fn poll(&mut self) -> Result<(), TransportError> {
        self.writer.poll()
    }

    fn flush(&mut self) -> Result<(), TransportError> {
        self.writer.flush()
    }
}

impl TransactionalWriter for KafkaTransactionalWriter {
    fn begin(&mut self) -> Result<(), TransactionError> {
        // SAFETY: the client is a live producer.
        self.step("begin a transaction", |rk| unsafe {
            rd::rd_kafka_begin_transaction(rk)
        })
    }

    fn send_offsets(
        &mut self,
        offsets: &[(TopicPartition, Committed)],
        group: &GroupMetadata,
    ) -> Result<(), TransactionError> {
        let list = PartitionList::committed(offsets)?;
        let group = NativeMetadata::new(group)?;
        // SAFETY: the client is a live producer; list and metadata live through the call.
        self.step("add offsets to a transaction", |rk| unsafe {
            rd::rd_kafka_send_offsets_to_transaction(rk, list.ptr(), group.ptr(), timeout())
        })
    }

    fn commit(&mut self) -> Result<(), TransactionError> {
        // librdkafka's own flush inside the commit would wait for delivery reports that only this thread serves.
        self.writer
            .flush()
            .map_err(|lost| TransactionError::Abortable(lost.to_string()))?;
        // SAFETY: the client is a live producer.
        self.step("commit a transaction", |rk| unsafe {
            rd::rd_kafka_commit_transaction(rk, timeout())
        })
    }

    fn abort(&mut self) -> Result<(), TransactionError> {
        self.writer.purge();
        // SAFETY: the client is a live producer.
        let outcome = self.step("abort a transaction", |rk| unsafe {
            rd::rd_kafka_abort_transaction(rk, timeout())
        });
        self.writer.purge();
        match outcome {
            // Librdkafka's word for "none is open".
            Err(TransactionError::Fatal(TransportError::Cluster { reason, .. }))
                if reason.contains("no transaction in progress")
                    || reason.contains("not valid in state Ready") =>
            {
                Ok(())
            }
            outcome => outcome,
        }
    }
}
