//! A client that knows frames and nothing else: it sends what was encoded beforehand, so that it costs little beside
//! the broker that is measured. It speaks versions that every broker since Kafka 2.3 answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use tidemill_protocol::batch::{Batch, BatchBuilder, Batches};
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use tidemill_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use tidemill_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use tidemill_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use tidemill_protocol::{Decode, Reader, Records, Request, ResponseHeader, request_frame};

const PRODUCE_VERSION: i16 = 7;
const FETCH_VERSION: i16 = 11;
const CREATE_VERSION: i16 = 4;
const LIST_OFFSETS_VERSION: i16 = 5;
/// ListOffsets: the end of the log.
const LATEST: i64 = -1;
const READ_COMMITTED: i8 = 1;
const LEADER_WAIT_MAX: Duration = Duration::from_secs(20);

/// One connection, one answer at a time or several in flight.
pub(crate) struct Connection {
    stream: TcpStream,
    // Reused for every answer, so that large ones allocate nothing.
    answer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::new(),
        })
    }

    /// Sends bytes that were encoded before.
    pub(crate) fn send(&mut self, frame: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(frame)?)
    }

    /// The next answer, without its length.
    pub(crate) fn receive(&mut self) -> Result<&[u8]> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        self.answer
            .resize(usize::try_from(i32::from_be_bytes(length))?, 0);
        self.stream.read_exact(&mut self.answer)?;
        Ok(&self.answer)
    }

    pub(crate) fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.send(&encoded(request, version)?)?;
        let answer = Bytes::copy_from_slice(self.receive()?);
        decoded::<R>(&answer, version)
    }

    /// Creates a topic; one that is there already is fine.
    pub(crate) fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<()> {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 60_000,
            ..Default::default()
        };
        let response = self.call(&request, CREATE_VERSION)?;
        for topic in response.topics {
            if !topic.error_code.is_ok()
                && topic.error_code != tidemill_protocol::ErrorCode::TopicAlreadyExists
            {
                bail!("{name} was not created: {:?}", topic.error_code);
            }
        }
        self.await_leader(name)
    }

    /// Apache Kafka answers that a topic is created before anybody leads it.
    fn await_leader(&mut self, topic: &str) -> Result<()> {
        let begin = Instant::now();
        loop {
            match self.ends::<1>(topic) {
                Ok(_) => return Ok(()),
                Err(error) if begin.elapsed() > LEADER_WAIT_MAX => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Takes the answer to a Produce.
    pub(crate) fn produced(&mut self) -> Result<()> {
        let answer = Bytes::copy_from_slice(self.receive()?);
        let response = decoded::<ProduceRequest>(&answer, PRODUCE_VERSION)?;
        for partition in response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
        {
            if !partition.error_code.is_ok() {
                bail!("records were refused: {:?}", partition.error_code);
            }
        }
        Ok(())
    }

    /// Fetches from the offsets of partitions 0, 1, … and moves them on; how many bytes of records came.
    pub(crate) fn fetch(&mut self, topic: &str, offsets: &mut [i64], bytes_max: i32) -> Result<usize> {
        self.fetch_each(topic, offsets, bytes_max, |_| Ok(()))
    }

    /// As [`fetch`](Self::fetch), and shows each batch.
    pub(crate) fn fetch_each(
        &mut self,
        topic: &str,
        offsets: &mut [i64],
        bytes_max: i32,
        mut show: impl FnMut(&Batch<'_>) -> Result<()>,
    ) -> Result<usize> {
        self.send(&encoded(
            &fetch_request(topic, offsets, bytes_max),
            FETCH_VERSION,
        )?)?;
        self.receive()?;
        // The answer's bytes become the message's, and are taken back afterwards.
        let answer = Bytes::from(std::mem::take(&mut self.answer));
        let response = decoded::<FetchRequest>(&answer, FETCH_VERSION)?;
        let mut bytes = 0;
        for partition in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            if !partition.error_code.is_ok() {
                bail!("records were not given: {:?}", partition.error_code);
            }
            let records = partition.records.map(Records::into_bytes).unwrap_or_default();
            bytes += records.len();
            let offset = offsets.get_mut(usize::try_from(partition.partition_index)?);
            let offset = offset.context("a partition nobody asked for")?;
            for batch in Batches::new(&records).ignore_cut_off() {
                let batch = batch?;
                *offset = batch.header().next_offset();
                show(&batch)?;
            }
        }
        self.answer = answer.try_into_mut().map(Vec::from).unwrap_or_default();
        Ok(bytes)
    }
}

impl Connection {
    /// The offsets that the next records of partitions 0, 1, … get.
    pub(crate) fn ends<const N: usize>(&mut self, topic: &str) -> Result<[i64; N]> {
        let partitions = (0..N).map(|partition| ListOffsetsPartition {
            partition_index: i32::try_from(partition).unwrap_or(i32::MAX),
            current_leader_epoch: -1,
            timestamp: LATEST,
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.into(),
                partitions: partitions.collect(),
            }],
            ..Default::default()
        };
        let response = self.call(&request, LIST_OFFSETS_VERSION)?;
        let mut ends = [0; N];
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            if !partition.error_code.is_ok() {
                bail!("{topic} has no end: {:?}", partition.error_code);
            }
            if let Some(end) = ends.get_mut(usize::try_from(partition.partition_index)?) {
                *end = partition.offset;
            }
        }
        Ok(ends)
    }
}

fn fetch_request(topic: &str, offsets: &[i64], bytes_max: i32) -> FetchRequest {
    let partitions = (0..).zip(offsets).map(|(partition, offset)| FetchPartition {
        partition,
        fetch_offset: *offset,
        current_leader_epoch: -1,
        partition_max_bytes: bytes_max,
        ..Default::default()
    });
    FetchRequest {
        session_epoch: -1,
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: i32::MAX,
        isolation_level: READ_COMMITTED,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: partitions.collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A Produce of one batch to each of the partitions from 0 on; of an empty one nothing is sent.
pub(crate) fn produce_frame(topic: &str, batches: &[Bytes], acks: i16) -> Result<Vec<u8>> {
    let given = (0..).zip(batches).filter(|(_, batch)| !batch.is_empty());
    let data = given.map(|(index, batch)| PartitionProduceData {
        index,
        records: Some(batch.clone().into()),
    });
    let request = ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: data.collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    encoded(&request, PRODUCE_VERSION)
}

/// An uncompressed batch of keyless records.
pub(crate) fn batch(values: &[&[u8]], timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(timestamp, None, Some(value), []);
    }
    builder.build()
}

/// An uncompressed batch of records with these keys.
pub(crate) fn keyed_batch(keys: &[String], value: &[u8], timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for key in keys {
        builder.push(timestamp, Some(key.as_bytes()), Some(value), []);
    }
    builder.build()
}

fn encoded<R: Request>(request: &R, version: i16) -> Result<Vec<u8>> {
    let mut frame = request_frame(request, version, 1, Some("bench".into()))?;
    let mut bytes = vec![0; frame.remaining()];
    frame.copy_to_slice(&mut bytes);
    Ok(bytes)
}

fn decoded<R: Request>(answer: &Bytes, version: i16) -> Result<R::Response> {
    let mut reader = Reader::new(answer);
    ResponseHeader::decode(&mut reader, R::KEY, version)?;
    Ok(R::Response::decode(&mut reader, version)?)
}

/// Wall-clock milliseconds, as records are stamped with.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
