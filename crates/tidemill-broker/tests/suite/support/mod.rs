//! A client of raw requests, and the records it sends.

pub(crate) mod faulty_disk;

use std::net::SocketAddr;

use bytes::Bytes;
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::batch::BatchBuilder;
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use tidemill_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use tidemill_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use tidemill_protocol::{Decode, ErrorCode, Reader, Records, Request, ResponseHeader, request_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub(crate) async fn connect(broker: &Broker) -> Client {
        Client::connect_to(broker.address()).await
    }

    pub(crate) async fn connect_to(address: SocketAddr) -> Client {
        Client {
            stream: TcpStream::connect(address).await.unwrap(),
            correlation_id: 0,
        }
    }

    pub(crate) async fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version).await;
        self.receive::<R>(version).await
    }

    pub(crate) async fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.correlation_id += 1;
        let mut frame = request_frame(request, version, self.correlation_id, Some("test".into())).unwrap();
        self.stream.write_all_buf(&mut frame).await.unwrap();
    }

    /// Sends a request so many times before any answer is read; the numbers of the answers.
    pub(crate) async fn send_all<R: Request>(&mut self, request: &R, version: i16, count: usize) -> Vec<i32> {
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            self.send(request, version).await;
            numbers.push(self.correlation_id);
        }
        numbers
    }

    /// Whether the broker answers at all: beyond its limits it closes a connection without a word.
    pub(crate) async fn is_served(&mut self) -> bool {
        let request = tidemill_protocol::messages::metadata::MetadataRequest::default();
        let mut frame = request_frame(&request, 9, 1, Some("test".into())).unwrap();
        self.stream.write_all_buf(&mut frame).await.is_ok() && self.frame().await.is_some()
    }

    /// The answer to the last request.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        self.receive_for::<R>(self.correlation_id, version).await
    }

    pub(crate) async fn receive_for<R: Request>(&mut self, correlation_id: i32, version: i16) -> R::Response {
        let frame = self.frame().await.expect("the connection was closed");
        let mut reader = Reader::new(&frame);
        let header = ResponseHeader::decode(&mut reader, R::KEY, version).unwrap();
        assert_eq!(header.correlation_id, correlation_id);
        R::Response::decode(&mut reader, version).unwrap()
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next frame; none when the broker closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let length = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame.into())
    }

    pub(crate) async fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let response = self.call(&create_request(name, partitions, configs), 5).await;
        assert_eq!(
            response.topics[0].error_code,
            ErrorCode::None,
            "{:?}",
            response.topics[0].error_message
        );
    }

    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> PartitionProduceResponse {
        self.produce_as(topic, partition, records, 9).await
    }

    pub(crate) async fn produce_as(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
        version: i16,
    ) -> PartitionProduceResponse {
        let response = self
            .call(&produce_request(topic, partition, records, 1), version)
            .await;
        response.responses[0].partition_responses[0].clone()
    }

    pub(crate) async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let response = self.call(&fetch_request(topic, partition, offset), 11).await;
        assert_eq!(response.error_code, ErrorCode::None);
        response.responses[0].partitions[0].clone()
    }
}

pub(crate) async fn broker() -> Broker {
    Broker::start(BrokerConfig::embedded()).await.unwrap()
}

/// A broker and a client of it.
pub(crate) async fn pair() -> (Broker, Client) {
    let broker = broker().await;
    let client = Client::connect(&broker).await;
    (broker, client)
}

pub(crate) fn create_request(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreateTopicsRequest {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
    });
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 1000,
        ..Default::default()
    }
}

pub(crate) fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData {
        index: partition,
        records: Some(records.into()),
    };
    let topic = TopicProduceData {
        name: topic.into(),
        partition_data: vec![data],
        ..Default::default()
    };
    ProduceRequest {
        acks,
        timeout_ms: 1000,
        topic_data: vec![topic],
        ..Default::default()
    }
}

pub(crate) fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        fetch_offset: offset,
        current_leader_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        session_epoch: -1,
        replica_id: -1,
        max_bytes: 1 << 20,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A batch of keyed records with these values, at times 1000, 1001, …
pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_with(Compression::None, values)
}

pub(crate) fn batch_with(compression: Compression, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(compression);
    for (at, value) in (1000..).zip(values) {
        builder.push(at, Some(b"key"), Some(value.as_bytes()), []);
    }
    builder.build()
}

/// Offsets and values of all records in what was fetched.
pub(crate) fn values(records: &Option<Records>) -> Vec<(i64, String)> {
    let bytes = records.clone().unwrap_or_default().into_bytes();
    let mut found = Vec::new();
    for batch in tidemill_protocol::batch::Batches::new(&bytes) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        let payload = batch.payload(1 << 20).unwrap();
        for record in batch.records(&payload) {
            let record = record.unwrap();
            found.push((
                record.offset,
                String::from_utf8(record.value.unwrap().to_vec()).unwrap(),
            ));
        }
    }
    found
}
