//! librdkafka's queues: one per partition, so that a batch is of one partition without sorting, and a partition that
//! is not asked stops its own fetching when its queue is full. A paused partition costs nothing and loses nothing.
#![allow(
    unsafe_code,
    reason = "handles librdkafka's queues; each block says why it is sound"
)]

use std::ffi::c_void;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rdkafka::bindings as rd;

use super::client::{Client, c_string};
use super::messages::Messages;
use crate::{TopicPartition, TransportError};

/// Woken when any queue of a client has something.
#[derive(Default)]
pub(super) struct Waker {
    // True when something came since the last wait.
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Waker {
    pub(super) fn wake(&self) {
        if let Ok(mut woken) = self.woken.lock() {
            *woken = true;
            self.changed.notify_one();
        }
    }

    /// Waits until something comes, or came since the last call.
    pub(super) fn wait(&self, at_most: Duration) {
        let woken = self.woken.lock().expect("no section that holds this lock panics");
        let (mut woken, _timeout) = self
            .changed
            .wait_timeout_while(woken, at_most, |woken| !*woken)
            .expect("no section that holds this lock panics");
        *woken = false;
    }
}

unsafe extern "C" fn on_event(_rk: *mut rd::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `opaque` is the waker of the client that owns the queue.
    unsafe { &*opaque.cast::<Waker>() }.wake();
}

/// A queue and the client that keeps it alive.
pub(super) struct Queue {
    queue: *mut rd::rd_kafka_queue_t,
    _client: Arc<Client>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}

impl Queue {
    /// The queue of events and errors; callbacks run while it is read.
    pub(super) fn main(client: &Arc<Client>) -> Result<Self, TransportError> {
        // SAFETY: the client is a live consumer.
        let queue = unsafe {
            rd::rd_kafka_poll_set_consumer(client.ptr());
            rd::rd_kafka_queue_get_consumer(client.ptr())
        };
        Self::watched(queue, client, "open the consumer's queue")
    }

    /// The queue of one partition, taken out of the main one. Call it before assigning.
    pub(super) fn partition(
        client: &Arc<Client>,
        partition: &TopicPartition,
    ) -> Result<Self, TransportError> {
        let topic = c_string(&partition.topic)?;
        // SAFETY: the client is a live consumer; forwarding to null ends forwarding to the main queue.
        let queue = unsafe {
            let queue = rd::rd_kafka_queue_get_partition(client.ptr(), topic.as_ptr(), partition.partition);
            if !queue.is_null() {
                rd::rd_kafka_queue_forward(queue, std::ptr::null_mut());
            }
            queue
        };
        Self::watched(queue, client, "open a partition's queue")
    }

    fn watched(
        queue: *mut rd::rd_kafka_queue_t,
        client: &Arc<Client>,
        operation: &'static str,
    ) -> Result<Self, TransportError> {
        if queue.is_null() {
            return Err(TransportError::Cluster {
                operation,
                reason: "librdkafka has none".into(),
            });
        }
        let waker: *const Waker = client.waker();
        // SAFETY: the waker lives in the client, which this queue keeps alive; `drop` ends the callback.
        unsafe { rd::rd_kafka_queue_cb_event_enable(queue, Some(on_event), waker.cast_mut().cast()) };
        Ok(Self {
            queue,
            _client: client.clone(),
        })
    }

    /// Takes what is there, up to `max` messages, without waiting.
    pub(super) fn take(&self, max: usize, into: &mut Messages) {
        into.fill(max, |buffer, len| {
            // SAFETY: `buffer` has room for `len` pointers, and the queue is live.
            unsafe { rd::rd_kafka_consume_batch_queue(self.queue, 0, buffer, len) }
        });
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue is ours, and not used again.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue, None, std::ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.queue);
        }
    }
}
