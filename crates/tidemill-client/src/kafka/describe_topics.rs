//! Topics' partition counts and ids.
#![allow(
    unsafe_code,
    reason = "calls librdkafka's C interface; each block says why it is sound"
)]

use std::ffi::{CStr, c_char, c_int};

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::client::{Client, REQUEST_TIMEOUT, c_string, check, describe as error_text};
use crate::{TopicDescription, TransportError};

const OPERATION: &str = "describe topics";

/// One answer a topic, in the order asked; `None` where there is none.
pub(super) fn describe(
    client: &Client,
    topics: &[&str],
) -> Result<Vec<Option<TopicDescription>>, TransportError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let names = topics
        .iter()
        .map(|t| c_string(t))
        .collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: names and pointers live through the calls; everything made here is destroyed here, the event last of
    // what is read, because the result lies within it.
    unsafe {
        let queue = rd::rd_kafka_queue_new(client.ptr());
        let wanted = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        rd::rd_kafka_DescribeTopics(client.ptr(), wanted, std::ptr::null(), queue);
        let event = rd::rd_kafka_queue_poll(queue, REQUEST_TIMEOUT.as_millis() as c_int);
        let answer = read(event, topics);
        if !event.is_null() {
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_TopicCollection_destroy(wanted);
        rd::rd_kafka_queue_destroy(queue);
        answer
    }
}

unsafe fn read(
    event: *mut rd::rd_kafka_event_t,
    topics: &[&str],
) -> Result<Vec<Option<TopicDescription>>, TransportError> {
    if event.is_null() {
        return Err(TransportError::Cluster {
            operation: OPERATION,
            reason: "no answer in time".into(),
        });
    }
    // SAFETY: the caller hands a live event of DescribeTopics; the result and the descriptions lie within it.
    let described = unsafe {
        check(OPERATION, rd::rd_kafka_event_error(event))?;
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let list = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if count == 0 {
            &[][..]
        } else {
            std::slice::from_raw_parts(list.cast_const(), count)
        }
    };
    let mut found = std::collections::BTreeMap::new();
    for topic in described {
        // SAFETY: as above.
        let (name, description) = unsafe { read_one(*topic) };
        found.insert(name, description?);
    }
    Ok(topics.iter().map(|name| found.remove(*name).flatten()).collect())
}

unsafe fn read_one(
    topic: *const rd::rd_kafka_TopicDescription_t,
) -> (String, Result<Option<TopicDescription>, TransportError>) {
    // SAFETY: the caller hands a live description; what it returns lies within it.
    unsafe {
        let name = CStr::from_ptr(rd::rd_kafka_TopicDescription_name(topic))
            .to_string_lossy()
            .into_owned();
        match rd::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(topic)) {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => return (name, Ok(None)),
            code => {
                let reason = format!("{name}: {}", error_text(code));
                return (
                    name,
                    Err(TransportError::Cluster {
                        operation: OPERATION,
                        reason,
                    }),
                );
            }
        }
        let mut partitions = 0_usize;
        rd::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let id = rd::rd_kafka_TopicDescription_topic_id(topic).as_ref();
        let id = id.map(|id| {
            let most = rd::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
            let least = rd::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
            (u128::from(most) << 64 | u128::from(least)).to_be_bytes()
        });
        let description = TopicDescription {
            partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
            id,
        };
        (name, Ok(Some(description)))
    }
}
