//! Group metadata, ours and librdkafka's.
#![allow(
    unsafe_code,
    reason = "reads and makes librdkafka's group metadata; each block says why it is sound"
)]

use std::ffi::{CStr, CString, c_char};

use rdkafka::bindings as rd;

use super::client::{Client, c_string};
use crate::{GroupMetadata, TransportError};

/// What a consumer is to its group now.
pub(super) fn metadata(client: &Client) -> GroupMetadata {
    // SAFETY: the client is a live consumer; the metadata is ours and destroyed below, after its strings were copied.
    unsafe {
        let native = rd::rd_kafka_consumer_group_metadata(client.ptr());
        if native.is_null() {
            return GroupMetadata::default();
        }
        let metadata = GroupMetadata {
            group: text(rd::rd_kafka_consumer_group_metadata_group_id(native)).unwrap_or_default(),
            generation: rd::rd_kafka_consumer_group_metadata_generation_id(native),
            member: text(rd::rd_kafka_consumer_group_metadata_member_id(native)).unwrap_or_default(),
            instance: text(rd::rd_kafka_consumer_group_metadata_group_instance_id(native)),
        };
        rd::rd_kafka_consumer_group_metadata_destroy(native);
        metadata
    }
}

unsafe fn text(of: *const c_char) -> Option<String> {
    // SAFETY: the caller hands null or a string that ends in zero.
    (!of.is_null()).then(|| unsafe { CStr::from_ptr(of) }.to_string_lossy().into_owned())
}

/// Group metadata in librdkafka's form.
pub(super) struct NativeMetadata {
    metadata: *mut rd::rd_kafka_consumer_group_metadata_t,
}

impl NativeMetadata {
    pub(super) fn new(of: &GroupMetadata) -> Result<Self, TransportError> {
        let (group, member) = (c_string(&of.group)?, c_string(&of.member)?);
        let instance = of.instance.as_deref().map(c_string).transpose()?;
        let instance: *const c_char = instance
            .as_ref()
            .map_or(std::ptr::null(), |id: &CString| id.as_ptr());
        // SAFETY: the strings live through the call, which copies them.
        let metadata = unsafe {
            rd::rd_kafka_consumer_group_metadata_new_with_genid(
                group.as_ptr(),
                of.generation,
                member.as_ptr(),
                instance,
            )
        };
        Ok(Self { metadata })
    }

    pub(super) fn ptr(&self) -> *const rd::rd_kafka_consumer_group_metadata_t {
        self.metadata
    }
}

impl Drop for NativeMetadata {
    fn drop(&mut self) {
        // SAFETY: it was made by `new` and is not used again.
        unsafe { rd::rd_kafka_consumer_group_metadata_destroy(self.metadata) }
    }
}
