//! Fetch, API 1, v4-17: records from partitions. A Fetch that must wait is woken by the appends it waits for.

use std::sync::Arc;
use std::time::Duration;

use tidemill_log::{FetchPart, Fetched, FileRange, FirstBatch, Offset, ReadUpTo};
use tidemill_protocol::messages::fetch::{
    AbortedTransaction, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use tidemill_protocol::{ErrorCode, KString, Records, Uuid};

use crate::clock;
use crate::error_code;
use crate::fetch_sessions::{Membership, Plan, TopicKey, Wanted};
use crate::partition::{Partition, check_epoch};
use crate::settings::setting_value;
use crate::shared::{Context, Shared};
use crate::topics::Topic;
use crate::waiters::Waiter;

const READ_COMMITTED: i8 = 1;
/// The first version whose clients can read zstd.
const ZSTD_FROM: i16 = 10;

/// From this size on a range of a file goes by `sendfile`: below it, reading is cheaper than two more calls.
const SENDFILE_BYTES_MIN: usize = 16 * 1024;

/// The response, and the ranges of files that belong into the gaps of its records.
pub(crate) async fn handle(context: Context, mut request: FetchRequest) -> (FetchResponse, Vec<FileRange>) {
    let shared = &context.shared;
    let plan = match shared
        .fetch_sessions
        .plan(&mut request, context.version, clock::now())
    {
        Ok(plan) => plan,
        Err(error_code) => {
            let response = FetchResponse {
                error_code,
                ..Default::default()
            };
            return (response, Vec::new());
        }
    };
    let limits = Limits::of(&request, context.version, shared);
    let mut reads = read_all(shared, &plan, &limits);
    if !reads.suffice(limits.bytes_min) && !limits.wait.is_zero() && !plan.wanted.is_empty() {
        reads = wait(shared, &plan, &limits, reads).await;
    }
    answer(shared, &plan, reads)
}

/// What bounds one Fetch.
struct Limits {
    bytes_min: usize,
    bytes_max: usize,
    wait: Duration,
    up_to: ReadUpTo,
    reads_zstd: bool,
}

impl Limits {
    fn of(request: &FetchRequest, version: i16, shared: &Shared) -> Limits {
        let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
        let bytes_max = size(request.max_bytes).min(shared.settings.fetch_bytes_max);
        Limits {
            bytes_min: size(request.min_bytes).min(bytes_max),
            bytes_max,
            wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            up_to: if request.isolation_level == READ_COMMITTED {
                ReadUpTo::LastStable
            } else {
                ReadUpTo::HighWatermark
            },
            reads_zstd: version >= ZSTD_FROM,
        }
    }

    /// Why nothing of a topic may be given to this client. As with Kafka, the topic's setting decides: what producers
    /// compressed by their own choice is theirs to agree on with consumers, and costs nobody a look into each batch.
    fn refuse(&self, topic: &Topic, shared: &Shared) -> Result<(), ErrorCode> {
        let is_zstd = || setting_value("compression.type", &topic.settings, &shared.values()) == "zstd";
        if !self.reads_zstd && is_zstd() {
            return Err(ErrorCode::UnsupportedCompressionType);
        }
        Ok(())
    }
}

/// One partition and what was read from it. Ranges of files are not read yet, so a read that is thrown away cost little.
struct PartitionRead {
    partition: Option<Arc<Partition>>,
    result: Result<Fetched, ErrorCode>,
}

struct Reads {
    partitions: Vec<PartitionRead>,
    bytes: usize,
    failed: bool,
    goes_on: bool,
}

impl Reads {
    /// Whether the Fetch can be answered: it has enough, or something went wrong that the client must learn. Or there is
    /// more, but not in the segment that was read: waiting adds nothing to what that one has.
    fn suffice(&self, bytes_min: usize) -> bool {
        self.failed || self.goes_on || self.bytes >= bytes_min
    }
}

fn read_all(shared: &Shared, plan: &Plan, limits: &Limits) -> Reads {
    let mut reads = Reads {
        partitions: Vec::with_capacity(plan.wanted.len()),
        bytes: 0,
        failed: false,
        goes_on: false,
    };
    let mut topic: Option<(&TopicKey, Option<Arc<Topic>>)> = None;
    for wanted in &plan.wanted {
        // Partitions of one topic stand together, so the topic is looked up once.
        let found = match &topic {
            Some((key, found)) if **key == wanted.topic => found.clone(),
            _ => match &wanted.topic {
                TopicKey::Name(name) => shared.topics.find(name),
                TopicKey::Id(id) => shared.topics.find_id(*id),
            },
        };
        let partition = found
            .as_ref()
            .and_then(|found| found.partition(wanted.partition.partition))
            .cloned();
        let missing = match wanted.topic {
            TopicKey::Id(_) if found.is_none() => ErrorCode::UnknownTopicId,
            _ => ErrorCode::UnknownTopicOrPartition,
        };
        let allowed = found
            .as_ref()
            .map_or(Ok(()), |found| limits.refuse(found, shared));
        topic = Some((&wanted.topic, found));
        let result = partition
            .as_ref()
            .ok_or(missing)
            .and_then(|p| allowed.and_then(|()| read(p, wanted, limits, reads.bytes)));
        reads.failed |= result.is_err();
        reads.goes_on |= result.as_ref().is_ok_and(|fetched| fetched.goes_on);
        reads.bytes += result.as_ref().map_or(0, Fetched::len);
        reads.partitions.push(PartitionRead { partition, result });
    }
    reads
}

fn read(partition: &Partition, wanted: &Wanted, limits: &Limits, bytes: usize) -> Result<Fetched, ErrorCode> {
    check_epoch(wanted.partition.current_leader_epoch)?;
    let left = limits.bytes_max.saturating_sub(bytes);
    let most = usize::try_from(wanted.partition.partition_max_bytes)
        .unwrap_or(0)
        .min(left);
    // The first batch of an answer may be larger than every limit, or a consumer could never get past it.
    let first = if bytes == 0 {
        FirstBatch::Always
    } else {
        FirstBatch::OnlyIfItFits
    };
    let fetched = partition
        .log
        .read(Offset(wanted.partition.fetch_offset), limits.up_to, most, first);
    fetched.map_err(|error| {
        let code = error_code::of_read(&error);
        if code != ErrorCode::OffsetOutOfRange {
            tracing::error!(partition = %partition.log.topic_partition(), %error, "records could not be read");
        }
        code
    })
}

/// Stands in the partitions' lists while it lives.
struct Standing {
    waiter: Arc<Waiter>,
    partitions: Vec<Arc<Partition>>,
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.partitions
            .iter()
            .for_each(|partition| partition.waiters.remove(&self.waiter));
    }
}

async fn wait(shared: &Shared, plan: &Plan, limits: &Limits, before: Reads) -> Reads {
    let deadline = tokio::time::Instant::now() + limits.wait;
    let partitions: Vec<_> = before
        .partitions
        .into_iter()
        .filter_map(|read| read.partition)
        .collect();
    let mut bytes = before.bytes;
    loop {
        let missing = i64::try_from(limits.bytes_min.saturating_sub(bytes).max(1)).unwrap_or(i64::MAX);
        let standing = Standing {
            waiter: Waiter::new(missing),
            partitions: partitions.clone(),
        };
        partitions
            .iter()
            .for_each(|partition| partition.waiters.add(&standing.waiter));
        // What came between the read and the lists is seen here; what comes from here on wakes the waiter.
        let reads = read_all(shared, plan, limits);
        if reads.suffice(limits.bytes_min) {
            return reads;
        }
        if reads.bytes == bytes
            && tokio::time::timeout_at(deadline, standing.waiter.enough())
                .await
                .is_err()
        {
            return read_all(shared, plan, limits);
        }
        if tokio::time::Instant::now() >= deadline {
            return read_all(shared, plan, limits);
        }
        bytes = reads.bytes;
    }
}

fn answer(shared: &Shared, plan: &Plan, reads: Reads) -> (FetchResponse, Vec<FileRange>) {
    let mut files = Vec::new();
    let incremental = matches!(plan.session, Membership::Incremental(_));
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    let mut told = Vec::new();
    let mut last: Option<&TopicKey> = None;
    for (wanted, read) in plan.wanted.iter().zip(reads.partitions) {
        let data = partition_data(wanted, read.result, &mut files);
        let marks = (data.high_watermark, data.log_start_offset);
        let got_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let news = got_records || !data.error_code.is_ok() || wanted.told != Some(marks);
        if incremental && !news {
            continue;
        }
        if plan.session != Membership::None {
            // After an error the partition is told again, whatever its marks are.
            let marks = Some(marks).filter(|_| data.error_code.is_ok());
            told.push((
                Wanted {
                    told: marks,
                    ..wanted.clone()
                },
                got_records,
            ));
        }
        if last != Some(&wanted.topic) {
            let (topic, topic_id) = match &wanted.topic {
                TopicKey::Name(name) => (name.as_str().into(), Uuid::nil()),
                TopicKey::Id(id) => (KString::default(), *id),
            };
            responses.push(FetchableTopicResponse {
                topic,
                topic_id,
                partitions: Vec::new(),
            });
            last = Some(&wanted.topic);
        }
        responses
            .last_mut()
            .expect("a topic was just pushed")
            .partitions
            .push(data);
    }
    if !told.is_empty() {
        shared.fetch_sessions.answered(plan.session, &told);
    }
    let response = FetchResponse {
        session_id: plan.session.id(),
        responses,
        ..Default::default()
    };
    (response, files)
}

/// What is told of one partition. Records that lie in files are left out of it and added to `files`.
fn partition_data(
    wanted: &Wanted,
    result: Result<Fetched, ErrorCode>,
    files: &mut Vec<FileRange>,
) -> PartitionData {
    let partition_index = wanted.partition.partition;
    let bytes = |fetched: Fetched| {
        let marks = (
            fetched.high_watermark.0,
            fetched.last_stable_offset.0,
            fetched.log_start_offset.0,
        );
        let aborted = fetched.aborted.iter().map(|aborted| AbortedTransaction {
            producer_id: aborted.producer_id.0,
            first_offset: aborted.first_offset.0,
        });
        let aborted: Vec<_> = aborted.collect();
        let records = records_of(fetched.parts, files)?;
        Ok((marks, aborted, records))
    };
    match result.and_then(bytes) {
        Ok(((high_watermark, last_stable_offset, log_start_offset), aborted, records)) => PartitionData {
            partition_index,
            high_watermark,
            last_stable_offset,
            log_start_offset,
            aborted_transactions: Some(aborted).filter(|aborted| !aborted.is_empty()),
            preferred_read_replica: -1,
            records: Some(records),
            ..Default::default()
        },
        Err(error_code) => PartitionData {
            partition_index,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            preferred_read_replica: -1,
            records: Some(Records::new()),
            ..Default::default()
        },
    }
}

fn records_of(parts: Vec<FetchPart>, files: &mut Vec<FileRange>) -> Result<Records, ErrorCode> {
    let (mut records, mut ranges) = (Records::new(), Vec::new());
    for part in parts {
        match part {
            FetchPart::File(range) if range.file().is_some() && range.len() >= SENDFILE_BYTES_MIN => {
                records.push_gap(range.len());
                ranges.push(range);
            }
            part => records.push(part.into_bytes().map_err(|_| ErrorCode::KafkaStorageError)?),
        }
    }
    files.append(&mut ranges);
    Ok(records)
}
