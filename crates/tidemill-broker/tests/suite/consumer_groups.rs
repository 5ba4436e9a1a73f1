//! Groups of the consumer protocol (KIP-848), request by request over a socket.

use crate::support::{Client, pair};
use bytes::Bytes;
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::messages::{
    consumer_group_describe::ConsumerGroupDescribeRequest,
    consumer_group_heartbeat::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
    },
    describe_groups::DescribeGroupsRequest,
    heartbeat::HeartbeatRequest,
    join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse},
    list_groups::ListGroupsRequest,
    metadata::{MetadataRequest, MetadataRequestTopic},
    offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup},
    sync_group::{SyncGroupRequest, SyncGroupRequestAssignment},
};
use tidemill_protocol::{ErrorCode, Uuid};

fn joining(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["tides".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

fn at(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        ..Default::default()
    }
}

/// Epoch and partitions of `tides` in an answer that has them.
fn told(answer: &ConsumerGroupHeartbeatResponse) -> (i32, Option<Vec<i32>>) {
    assert_eq!(answer.error_code, ErrorCode::None, "{:?}", answer.error_message);
    let partitions = answer.assignment.as_ref().map(|told| {
        told.topic_partitions
            .iter()
            .flat_map(|topic| topic.partitions.clone())
            .collect()
    });
    (answer.member_epoch, partitions)
}

async fn topic_id(client: &mut Client, name: &str) -> Uuid {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(name.into()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    client.call(&request, 12).await.topics[0].topic_id
}

#[tokio::test]
async fn members_share_topics_and_are_described() {
    let (_broker, mut client) = pair().await;
    client.create("tides", 4, &[]).await;
    let id = topic_id(&mut client, "tides").await;
    let answer = client.call(&joining("a"), 1).await;
    assert_eq!(told(&answer), (1, Some(vec![0, 1, 2, 3])));
    assert_eq!(answer.heartbeat_interval_ms, 500);
    let made = client.call(&joining(""), 0).await;
    let second = made.member_id.clone().unwrap();
    assert_eq!(told(&made), (2, Some(vec![])), "version 0 is given an id");
    assert_eq!(told(&client.call(&at("a", 1), 1).await), (1, Some(vec![0, 1])));
    let holds = ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(vec![TopicPartitions {
            topic_id: id,
            partitions: vec![0, 1],
        }]),
        ..at("a", 1)
    };
    assert_eq!(told(&client.call(&holds, 1).await), (2, None));
    assert_eq!(
        told(&client.call(&at(&second, 2), 1).await),
        (2, Some(vec![2, 3]))
    );

    let request = ConsumerGroupDescribeRequest {
        group_ids: vec!["g".into(), "nobody".into()],
        ..Default::default()
    };
    let groups = client.call(&request, 1).await.groups;
    assert_eq!(
        (&*groups[0].group_state, &*groups[0].assignor_name),
        ("Stable", "uniform")
    );
    assert_eq!((groups[0].group_epoch, groups[0].assignment_epoch), (2, 2));
    let member = groups[0]
        .members
        .iter()
        .find(|member| &*member.member_id == "a")
        .unwrap();
    assert_eq!(
        (&*member.client_id, &*member.client_host, member.member_type),
        ("test", "/127.0.0.1", 1)
    );
    assert_eq!(&*member.assignment.topic_partitions[0].topic_name, "tides");
    assert_eq!(member.target_assignment.topic_partitions[0].partitions, [0, 1]);
    assert_eq!(groups[1].error_code, ErrorCode::GroupIdNotFound);

    let request = ListGroupsRequest {
        types_filter: vec!["consumer".into()],
        states_filter: vec!["Stable".into()],
    };
    let listed = client.call(&request, 5).await.groups;
    assert_eq!(
        (listed.len(), &*listed[0].group_type, &*listed[0].protocol_type),
        (1, "consumer", "consumer")
    );
    let request = DescribeGroupsRequest {
        groups: vec!["g".into()],
        ..Default::default()
    };
    let described = client.call(&request, 6).await.groups;
    assert_eq!(
        described[0].error_code,
        ErrorCode::GroupIdNotFound,
        "not of the classic protocol"
    );
}

#[tokio::test]
async fn heartbeats_that_say_too_little_or_too_much_are_refused() {
    let (_broker, mut client) = pair().await;
    client.create("tides", 1, &[]).await;
    let with = |change: fn(&mut ConsumerGroupHeartbeatRequest)| {
        let mut request = joining("a");
        change(&mut request);
        request
    };
    let invalid = [
        with(|request| request.group_id = "".into()),
        with(|request| request.member_id = "".into()),
        with(|request| request.member_epoch = -3),
        with(|request| request.rebalance_timeout_ms = -1),
        with(|request| request.subscribed_topic_names = None),
        with(|request| request.topic_partitions = None),
        with(|request| request.topic_partitions = Some(vec![TopicPartitions::default()])),
        with(|request| request.instance_id = Some("".into())),
        with(|request| request.rack_id = Some("".into())),
        with(|request| request.server_assignor = Some("".into())),
        with(|request| request.member_epoch = -2),
    ];
    for request in invalid {
        let answer = client.call(&request, 1).await;
        assert_eq!(answer.error_code, ErrorCode::InvalidRequest, "{request:?}");
    }
    let unsupported = with(|request| request.server_assignor = Some("random".into()));
    assert_eq!(
        client.call(&unsupported, 1).await.error_code,
        ErrorCode::UnsupportedAssignor
    );
    let broken = with(|request| request.subscribed_topic_regex = Some("(".into()));
    assert_eq!(
        client.call(&broken, 1).await.error_code,
        ErrorCode::InvalidRegularExpression
    );
    assert_eq!(
        client.call(&at("a", 5), 1).await.error_code,
        ErrorCode::GroupIdNotFound
    );
    client.call(&joining("a"), 1).await;
    assert_eq!(
        client.call(&at("a", 5), 1).await.error_code,
        ErrorCode::FencedMemberEpoch
    );
    assert_eq!(
        client.call(&at("b", 1), 1).await.error_code,
        ErrorCode::UnknownMemberId
    );
}

#[tokio::test]
async fn a_pattern_finds_topics_that_come_later_and_metadata_finds_them_by_id() {
    let (_broker, mut client) = pair().await;
    let request = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(Vec::new()),
        subscribed_topic_regex: Some("ti.*s".into()),
        ..joining("a")
    };
    assert_eq!(told(&client.call(&request, 1).await), (1, Some(vec![])));
    client.create("tides", 2, &[]).await;
    let answer = client.call(&at("a", 1), 1).await;
    assert_eq!(told(&answer), (2, Some(vec![0, 1])));
    let id = answer.assignment.unwrap().topic_partitions[0].topic_id;
    // As Java asks: an empty name beside the id.
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id: id,
            name: Some("".into()),
        }]),
        ..Default::default()
    };
    let found = client.call(&request, 13).await.topics;
    assert_eq!(
        (found[0].error_code, found[0].name.as_deref()),
        (ErrorCode::None, Some("tides"))
    );
}

#[tokio::test]
async fn offsets_know_the_members_epoch_and_the_group_survives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let start = async || {
        let config = BrokerConfig::embedded().with_data_dir(dir.path());
        let broker = Broker::start(config).await.unwrap();
        let client = Client::connect(&broker).await;
        (broker, client)
    };
    let (broker, mut client) = start().await;
    client.create("tides", 1, &[]).await;
    client.call(&joining("a"), 1).await;
    let commit = |epoch| OffsetCommitRequest {
        group_id: "g".into(),
        member_id: "a".into(),
        generation_id_or_member_epoch: epoch,
        topics: vec![OffsetCommitRequestTopic {
            name: "tides".into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 3,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    for (version, epoch, expected) in [
        (9, 1, ErrorCode::None),
        (9, 2, ErrorCode::StaleMemberEpoch),
        (8, 1, ErrorCode::UnsupportedVersion),
    ] {
        let answer = client.call(&commit(epoch), version).await;
        assert_eq!(
            answer.topics[0].partitions[0].error_code, expected,
            "version {version} epoch {epoch}"
        );
    }
    broker.abandon().await;

    let (_broker, mut client) = start().await;
    let fetch = |member: Option<&str>, epoch| OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_id: member.map(Into::into),
            member_epoch: epoch,
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = client.call(&fetch(Some("a"), 1), 9).await;
    assert_eq!(answer.groups[0].topics[0].partitions[0].committed_offset, 3);
    assert_eq!(
        client.call(&fetch(None, -1), 9).await.groups[0].error_code,
        ErrorCode::None
    );
    assert_eq!(
        client.call(&fetch(Some("a"), 7), 9).await.groups[0].error_code,
        ErrorCode::StaleMemberEpoch
    );
    assert_eq!(
        told(&client.call(&at("a", 1), 1).await),
        (1, None),
        "it goes on where it was"
    );
}

#[tokio::test]
async fn a_group_nobody_founded_makes_no_topic() {
    let (_broker, mut client) = pair().await;
    let beat = HeartbeatRequest {
        group_id: "nobody".into(),
        generation_id: 1,
        member_id: "a".into(),
        ..Default::default()
    };
    assert_eq!(client.call(&beat, 4).await.error_code, ErrorCode::UnknownMemberId);
    assert_eq!(
        client.call(&at("a", 1), 1).await.error_code,
        ErrorCode::GroupIdNotFound
    );
    let all = client.call(&MetadataRequest::default(), 12).await;
    assert!(all.topics.is_empty(), "{:?}", all.topics);
}

/// A consumer's subscription to `tides`, and the partitions it holds, as its library writes them (version 1).
fn subscription(held: &[i32]) -> Bytes {
    let mut bytes = b"\0\x01\0\0\0\x01\0\x05tides\xff\xff\xff\xff".to_vec();
    let topics = i32::from(!held.is_empty());
    bytes.extend_from_slice(&topics.to_be_bytes());
    if !held.is_empty() {
        bytes.extend_from_slice(b"\0\x05tides");
        bytes.extend_from_slice(&i32::try_from(held.len()).unwrap().to_be_bytes());
        held.iter()
            .for_each(|partition| bytes.extend_from_slice(&partition.to_be_bytes()));
    }
    bytes.into()
}

fn classic_join(member: &str, held: &[i32]) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: subscription(held),
        }],
        ..Default::default()
    }
}

fn classic_sync(joined: &JoinGroupResponse, assignment: Option<&[u8]>) -> SyncGroupRequest {
    let assigned = assignment.map(|bytes| SyncGroupRequestAssignment {
        member_id: joined.member_id.clone(),
        assignment: Bytes::copy_from_slice(bytes),
    });
    SyncGroupRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assigned.into_iter().collect(),
        ..Default::default()
    }
}

async fn type_of_group(client: &mut Client) -> String {
    let listed = client.call(&ListGroupsRequest::default(), 5).await.groups;
    assert_eq!(listed.len(), 1);
    listed[0].group_type.to_string()
}

#[tokio::test]
async fn a_group_goes_to_the_consumer_protocol_and_back_with_its_members() {
    let (_broker, mut client) = pair().await;
    client.create("tides", 4, &[]).await;
    let asked = client.call(&classic_join("", &[]), 9).await;
    assert_eq!(asked.error_code, ErrorCode::MemberIdRequired);
    let joined = client.call(&classic_join(&asked.member_id, &[]), 9).await;
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::None, 1));
    let all = b"\0\x01\0\0\0\x01\0\x05tides\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\xff\xff\xff\xff";
    let synced = client.call(&classic_sync(&joined, Some(all)), 5).await;
    assert_eq!(synced.error_code, ErrorCode::None);
    assert_eq!(type_of_group(&mut client).await, "classic");

    // The first member of the new protocol: the old one hears of it, and keeps its half.
    assert_eq!(told(&client.call(&joining("new"), 1).await), (2, Some(vec![])));
    assert_eq!(type_of_group(&mut client).await, "consumer");
    let beat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    let heard = client.call(&beat, 4).await.error_code;
    assert_eq!(heard, ErrorCode::RebalanceInProgress);
    let mut rejoined = client
        .call(&classic_join(&joined.member_id, &[0, 1, 2, 3]), 9)
        .await;
    assert_eq!(rejoined.error_code, ErrorCode::None);
    rejoined = client.call(&classic_join(&joined.member_id, &[0, 1]), 9).await;
    assert_eq!(
        (rejoined.error_code, rejoined.generation_id),
        (ErrorCode::None, 2)
    );
    let synced = client.call(&classic_sync(&rejoined, None), 5).await;
    assert_eq!(synced.error_code, ErrorCode::None);
    assert_eq!(told(&client.call(&at("new", 2), 1).await), (2, Some(vec![2, 3])));

    // And back, when the last of the new protocol leaves.
    let left = client.call(&at("new", -1), 1).await;
    assert_eq!((left.error_code, left.member_epoch), (ErrorCode::None, -1));
    assert_eq!(type_of_group(&mut client).await, "classic");
}
