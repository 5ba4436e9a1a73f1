//! Lists of partitions, ours and librdkafka's.
#![allow(
    unsafe_code,
    reason = "reads librdkafka's lists; each block says why it is sound"
)]

use std::ffi::CStr;
use std::sync::Arc;

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::client::c_string;
use crate::{Committed, TopicPartition, TransportError};

/// "Where the group's committed offset says, else as `auto.offset.reset` says", and no offset at all.
pub(super) const NO_OFFSET: i64 = -1001;

/// A list of ours in librdkafka's form.
pub(super) struct PartitionList {
    list: *mut rd::rd_kafka_topic_partition_list_t,
}

impl PartitionList {
    pub(super) fn new<'a>(
        entries: impl Iterator<Item = (&'a TopicPartition, i64)>,
    ) -> Result<Self, TransportError> {
        // SAFETY: makes a list that `drop` destroys.
        let this = Self {
            list: unsafe { rd::rd_kafka_topic_partition_list_new(8) },
        };
        for (partition, offset) in entries {
            let topic = c_string(&partition.topic)?;
            // SAFETY: the list is live, and `add` returns a valid element of it.
            unsafe {
                let element =
                    rd::rd_kafka_topic_partition_list_add(this.list, topic.as_ptr(), partition.partition);
                (*element).offset = offset;
            }
        }
        Ok(this)
    }

    /// Offsets to commit, with their metadata.
    pub(super) fn committed(offsets: &[(TopicPartition, Committed)]) -> Result<Self, TransportError> {
        let list = Self::new(
            offsets
                .iter()
                .map(|(partition, committed)| (partition, committed.next)),
        )?;
        for (at, (_, committed)) in offsets.iter().enumerate() {
            let text = committed.metadata.as_bytes();
            if text.is_empty() {
                continue;
            }
            // SAFETY: the list has an element for each of `offsets`. Its metadata is memory of librdkafka's own
            // allocator, which destroying the list frees.
            unsafe {
                let element = (*list.list).elems.add(at);
                let memory = rd::rd_kafka_mem_malloc(std::ptr::null_mut(), text.len());
                assert!(!memory.is_null(), "there is memory for a few bytes");
                std::ptr::copy_nonoverlapping(text.as_ptr(), memory.cast::<u8>(), text.len());
                (*element).metadata = memory;
                (*element).metadata_size = text.len();
            }
        }
        Ok(list)
    }

    pub(super) fn ptr(&self) -> *mut rd::rd_kafka_topic_partition_list_t {
        self.list
    }

    /// Offsets and errors, in the order of the list.
    pub(super) fn results(&self) -> Vec<(Committed, Code)> {
        // SAFETY: the list is live.
        unsafe { elements(self.list) }
            .iter()
            .map(|e| (committed(e), e.err))
            .collect()
    }
}

fn committed(element: &rd::rd_kafka_topic_partition_t) -> Committed {
    let text = if element.metadata.is_null() {
        &[]
    } else {
        // SAFETY: metadata that is there has the size that is said.
        unsafe { std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size) }
    };
    Committed {
        next: element.offset,
        metadata: String::from_utf8_lossy(text).into(),
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: it was made by `new` and is not used again.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.list) }
    }
}

unsafe fn elements<'a>(
    list: *const rd::rd_kafka_topic_partition_list_t,
) -> &'a [rd::rd_kafka_topic_partition_t] {
    // SAFETY: the caller hands null or a live list, whose `elems` holds `cnt` elements.
    unsafe {
        match list.as_ref() {
            Some(list) if list.cnt > 0 => std::slice::from_raw_parts(list.elems, list.cnt as usize),
            _ => &[],
        }
    }
}

/// The partitions named in a list of librdkafka's.
///
/// # Safety
/// `list` is null or valid for the time of the call.
pub(super) unsafe fn names(list: *const rd::rd_kafka_topic_partition_list_t) -> Vec<TopicPartition> {
    let mut last: Option<Arc<str>> = None;
    // SAFETY: as promised by the caller.
    let elements = unsafe { elements(list) };
    let name = |element: &rd::rd_kafka_topic_partition_t| {
        // SAFETY: each element has a topic that ends in zero.
        let topic = unsafe { CStr::from_ptr(element.topic) }.to_string_lossy();
        let topic = match &last {
            Some(known) if **known == *topic => known.clone(),
            _ => Arc::from(topic.as_ref()),
        };
        last = Some(topic.clone());
        TopicPartition {
            topic,
            partition: element.partition,
        }
    };
    elements.iter().map(name).collect()
}
