//! A broker whose answers are damaged at random, from a seed: the client may refuse, retry or give up, but nothing panics
//! and nothing hangs.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use tidemill_client::{
    Address, Dial, FrameSink, FrameSource, NativeTransport, Outgoing, Settings, Start, Subscription,
    TopicPartition, Transport, Wire,
};
use tidemill_data::{Headers, Timestamp};
use tidemill_protocol::batch::BatchBuilder;
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use tidemill_protocol::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use tidemill_protocol::messages::find_coordinator::{Coordinator, FindCoordinatorResponse};
use tidemill_protocol::messages::heartbeat::HeartbeatResponse;
use tidemill_protocol::messages::init_producer_id::InitProducerIdResponse;
use tidemill_protocol::messages::join_group::{JoinGroupResponse, JoinGroupResponseMember};
use tidemill_protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use tidemill_protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use tidemill_protocol::messages::offset_commit::OffsetCommitResponse;
use tidemill_protocol::messages::offset_fetch::OffsetFetchResponse;
use tidemill_protocol::messages::produce::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use tidemill_protocol::messages::sync_group::SyncGroupResponse;
use tidemill_protocol::{ApiKey, Frame, Message, Reader, RequestHeader, Uuid, response_frame};
use tokio::sync::mpsc;

const ID: Uuid = Uuid::from_bytes([7; 16]);

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below as u64).unwrap()
    }

    /// Every other answer stays whole, so that the client gets anywhere.
    fn damage(&mut self, answer: &Bytes) -> Bytes {
        let mut bytes = answer.to_vec();
        match self.roll(8) {
            0 => bytes.truncate(self.roll(bytes.len() + 1)),
            1 => bytes.extend((0..self.roll(20)).map(|n| n as u8)),
            2 | 3 => {
                for _ in 0..=self.roll(4) {
                    // The correlation id stays, or the connection would just end.
                    let place = 4 + self.roll(bytes.len().max(5) - 4);
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte = [0, 0x7f, 0x80, 0xff, *byte ^ 1, *byte ^ 0x10][self.roll(6)];
                    }
                }
            }
            _ => {}
        }
        bytes.into()
    }
}

/// Answers every request as a healthy broker of one partition would, then damages the answer.
struct Broker {
    dice: Arc<Mutex<Dice>>,
}

struct Source(mpsc::UnboundedReceiver<Bytes>);

struct Sink {
    dice: Arc<Mutex<Dice>>,
    answers: mpsc::UnboundedSender<Bytes>,
}

impl Dial for Broker {
    fn dial<'a>(&'a self, _address: &'a Address) -> BoxFuture<'a, io::Result<Wire>> {
        let (answers, receiver) = mpsc::unbounded_channel();
        let sink = Sink {
            dice: self.dice.clone(),
            answers,
        };
        let wire = Wire {
            source: Box::new(Source(receiver)),
            sink: Box::new(sink),
        };
        Box::pin(std::future::ready(Ok(wire)))
    }
}

impl FrameSource for Source {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>> {
        Box::pin(async move { Ok(self.0.recv().await) })
    }
}

impl FrameSink for Sink {
    fn send(&mut self, frame: Frame) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let mut request = frame.into_bytes();
            request.advance(4);
            let header = RequestHeader::decode(&mut Reader::new(&request)).map_err(io::Error::other)?;
            let mut answer = healthy(&header);
            answer.advance(4);
            if header.api_key == i16::from(ApiKey::Fetch) {
                // A broker that waits for records, so that damaged ones do not come without end.
                tokio::task::yield_now().await;
            }
            let damaged = self.dice.lock().unwrap().damage(&answer);
            self.answers.send(damaged).map_err(io::Error::other)
        })
    }
}

fn framed<M: Message>(header: &RequestHeader, response: &M) -> Bytes {
    response_frame(response, header.api_version, header.correlation_id)
        .unwrap()
        .into_bytes()
}

fn healthy(header: &RequestHeader) -> Bytes {
    match ApiKey::try_from(header.api_key).unwrap() {
        ApiKey::ApiVersions => framed(header, &versions()),
        ApiKey::Metadata => framed(header, &metadata()),
        ApiKey::Fetch => framed(header, &fetched()),
        ApiKey::ListOffsets => framed(header, &offsets()),
        ApiKey::Produce => framed(header, &produced()),
        ApiKey::InitProducerId => framed(
            header,
            &InitProducerIdResponse {
                producer_id: 1,
                ..Default::default()
            },
        ),
        ApiKey::FindCoordinator => framed(header, &coordinator()),
        ApiKey::JoinGroup => framed(header, &joined()),
        ApiKey::SyncGroup => framed(header, &synced()),
        ApiKey::Heartbeat => framed(header, &HeartbeatResponse::default()),
        ApiKey::OffsetFetch => framed(header, &OffsetFetchResponse::default()),
        ApiKey::OffsetCommit => framed(header, &OffsetCommitResponse::default()),
        other => panic!("{other:?} is not asked for here"),
    }
}

fn versions() -> ApiVersionsResponse {
    let api = |key: ApiKey| ApiVersion {
        api_key: key.into(),
        min_version: *key.versions().start(),
        max_version: *key.versions().end(),
    };
    ApiVersionsResponse {
        api_keys: ApiKey::ALL.into_iter().map(api).collect(),
        ..Default::default()
    }
}

fn metadata() -> MetadataResponse {
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 1,
            host: "h".into(),
            port: 1,
            ..Default::default()
        }],
        controller_id: 1,
        topics: vec![MetadataResponseTopic {
            name: Some("t".into()),
            topic_id: ID,
            partitions: vec![MetadataResponsePartition {
                leader_id: 1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetched() -> FetchResponse {
    let mut batch = BatchBuilder::new(Compression::Lz4);
    for value in [&b"a"[..], b"b", b"c"] {
        batch.push(1, Some(b"k"), Some(value), []);
    }
    FetchResponse {
        session_id: 3,
        responses: vec![FetchableTopicResponse {
            topic_id: ID,
            topic: "t".into(),
            partitions: vec![PartitionData {
                high_watermark: 3,
                last_stable_offset: 3,
                records: Some(batch.build().into()),
                ..Default::default()
            }],
        }],
        ..Default::default()
    }
}

fn offsets() -> ListOffsetsResponse {
    ListOffsetsResponse {
        topics: vec![ListOffsetsTopicResponse {
            name: "t".into(),
            partitions: vec![ListOffsetsPartitionResponse::default()],
        }],
        ..Default::default()
    }
}

fn produced() -> ProduceResponse {
    ProduceResponse {
        responses: vec![TopicProduceResponse {
            name: "t".into(),
            partition_responses: vec![PartitionProduceResponse::default()],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn coordinator() -> FindCoordinatorResponse {
    FindCoordinatorResponse {
        host: "h".into(),
        port: 1,
        coordinators: vec![Coordinator {
            host: "h".into(),
            port: 1,
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn joined() -> JoinGroupResponse {
    JoinGroupResponse {
        leader: "m".into(),
        member_id: "m".into(),
        members: vec![JoinGroupResponseMember {
            member_id: "m".into(),
            metadata: Bytes::from_static(&[0, 1, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn synced() -> SyncGroupResponse {
    let assignment = [
        0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
    ];
    SyncGroupResponse {
        assignment: Bytes::copy_from_slice(&assignment),
        ..Default::default()
    }
}

/// Reads, writes and takes part in a group. What fails, fails.
fn use_it(transport: &dyn Transport) {
    const WAIT: Duration = Duration::from_millis(2);
    let at = TopicPartition::new("t", 0);
    drop(transport.describe(&["t"]));
    drop(transport.end_offsets(std::slice::from_ref(&at)));
    let mut events = Vec::new();
    let mut reader = transport.reader("r").unwrap();
    reader.assign(&[(at.clone(), Start::Earliest)]).unwrap();
    for _ in 0..20 {
        drop(reader.poll(10, WAIT, &mut events));
    }
    let mut writer = transport.writer("w").unwrap();
    let headers = Headers::default();
    let record = Outgoing {
        topic: writer.topic("t").unwrap(),
        partition: 0,
        timestamp: Timestamp::from_millis(1),
        key: None,
        value: Some(b"v"),
        headers: &headers,
    };
    for _ in 0..3 {
        drop(writer.send(&[record]));
        drop(writer.flush());
    }
    let subscription = Subscription::new("g", "m", vec!["t".into()]);
    let mut member = transport.join(&subscription).unwrap();
    for _ in 0..20 {
        drop(member.poll(10, WAIT, &mut events));
        for event in events.drain(..) {
            match event {
                tidemill_client::Event::Assigned(partitions) => {
                    let from: Vec<_> = partitions.iter().map(|p| (p.clone(), Start::Earliest)).collect();
                    drop(member.accept(&from));
                    member.resume(&partitions);
                    drop(member.commit(&[(at.clone(), 1.into())]));
                }
                tidemill_client::Event::Revoking(_) | tidemill_client::Event::Lost(_) => {
                    drop(member.release())
                }
                _ => {}
            }
        }
    }
}

#[test]
fn damaged_answers_never_panic() {
    // Tasks of the client end without a word when they panic; the hook hears of all of them.
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        usual(panic);
    }));
    let settings = [
        ("bootstrap.servers", "h:1"),
        ("retry.backoff.ms", "1"),
        ("retry.backoff.max.ms", "5"),
        ("reconnect.backoff.ms", "1"),
        ("reconnect.backoff.max.ms", "5"),
        ("request.timeout.ms", "200"),
        ("delivery.timeout.ms", "300"),
        ("linger.ms", "0"),
    ];
    let settings: Settings = settings
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    for seed in 0..12 {
        let dice = Arc::new(Mutex::new(Dice(seed)));
        let transport = NativeTransport::over(Arc::new(Broker { dice }), &settings).unwrap();
        use_it(&transport);
        assert_eq!(PANICS.load(Ordering::SeqCst), 0, "seed {seed}");
    }
}
