//! What tools ask of groups, request by request over a socket: the answers no client library shows as they are.

use bytes::Bytes;
use tidemill_broker::{Broker, BrokerConfig};
use tidemill_protocol::messages::{
    delete_groups::DeleteGroupsRequest,
    delete_topics::DeleteTopicsRequest,
    describe_groups::DescribeGroupsRequest,
    find_coordinator::FindCoordinatorRequest,
    join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse},
    leave_group::{LeaveGroupRequest, MemberIdentity},
    list_groups::ListGroupsRequest,
    metadata::{MetadataRequest, MetadataRequestTopic},
    offset_commit::{
        OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    },
    offset_delete::{OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch::{
        OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    },
    sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse},
};
use tidemill_protocol::{ErrorCode, Uuid};

use crate::support::Client;

mod expiry;

async fn start() -> (Broker, Client) {
    let broker = Broker::start(BrokerConfig::embedded()).await.unwrap();
    let mut client = Client::connect(&broker).await;
    client.create("tides", 2, &[]).await;
    client.create("waves", 2, &[]).await;
    (broker, client)
}

/// A consumer's subscription to `tides`.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x05tides\xff\xff\xff\xff";

fn join(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 600_000,
        rebalance_timeout_ms: 10_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(SUBSCRIPTION),
        }],
        ..JoinGroupRequest::default()
    }
}

fn sync(joined: &JoinGroupResponse, group: &str, assignment: &'static [u8]) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(assignment),
        }],
        ..SyncGroupRequest::default()
    }
}

/// A stable group of one.
async fn form(client: &mut Client, group: &str) -> (JoinGroupResponse, SyncGroupResponse) {
    let refused = client.call(&join(group, ""), 9).await;
    assert_eq!(refused.error_code, ErrorCode::MemberIdRequired);
    assert!(refused.member_id.starts_with("test-"), "{}", &*refused.member_id);
    let joined = client.call(&join(group, &refused.member_id), 9).await;
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::None, 1));
    let synced = client.call(&sync(&joined, group, b"all of it"), 5).await;
    (joined, synced)
}

fn commit(group: &str, topic: &str, offset: i64, by: Option<&JoinGroupResponse>) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: by.map_or(-1, |joined| joined.generation_id),
        member_id: by.map(|joined| joined.member_id.clone()).unwrap_or_default(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: offset,
                committed_leader_epoch: 0,
                committed_metadata: Some("note".into()),
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

#[tokio::test]
async fn a_member_joins_syncs_and_is_described() {
    let (broker, mut client) = start().await;
    let (joined, synced) = form(&mut client, "g").await;
    assert_eq!(&synced.assignment[..], b"all of it");
    assert_eq!(synced.protocol_name.as_deref(), Some("range"));
    assert_eq!((joined.members.len(), &joined.leader), (1, &joined.member_id));

    let groups = vec!["g".into(), "nobody".into()];
    let described = client
        .call(
            &DescribeGroupsRequest {
                groups: groups.clone(),
                ..Default::default()
            },
            6,
        )
        .await
        .groups;
    assert_eq!(
        (&*described[0].group_state, &*described[0].protocol_data),
        ("Stable", "range")
    );
    let member = &described[0].members[0];
    assert_eq!((&*member.client_id, &*member.client_host), ("test", "/127.0.0.1"));
    assert_eq!(
        (&member.member_metadata[..], &member.member_assignment[..]),
        (SUBSCRIPTION, &b"all of it"[..])
    );
    assert_eq!(described[1].error_code, ErrorCode::GroupIdNotFound);
    // Before version 6 a group nobody knows is no error.
    let described = client
        .call(
            &DescribeGroupsRequest {
                groups,
                ..Default::default()
            },
            5,
        )
        .await
        .groups;
    assert_eq!(
        (&*described[1].group_state, described[1].error_code),
        ("Dead", ErrorCode::None)
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() {
    let (broker, mut client) = start().await;
    assert!(
        client
            .call(&ListGroupsRequest::default(), 5)
            .await
            .groups
            .is_empty()
    );
    form(&mut client, "busy").await;
    client.call(&commit("idle", "tides", 1, None), 9).await;
    let mut names = async |states: &[&str], types: &[&str]| {
        let states_filter = states.iter().map(|name| (*name).into()).collect();
        let types_filter = types.iter().map(|name| (*name).into()).collect();
        let listed = client
            .call(
                &ListGroupsRequest {
                    states_filter,
                    types_filter,
                },
                5,
            )
            .await;
        listed
            .groups
            .iter()
            .map(|group| format!("{} {}", &*group.group_id, &*group.group_state))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&[], &[]).await, ["busy Stable", "idle Empty"]);
    assert_eq!(names(&["stable"], &["Classic"]).await, ["busy Stable"]);
    assert!(names(&["Dead"], &[]).await.is_empty());
    assert!(names(&[], &["consumer"]).await.is_empty());
    broker.shutdown().await;
}

#[tokio::test]
async fn commits_are_checked_one_by_one() {
    let (broker, mut client) = start().await;
    let (joined, _) = form(&mut client, "g").await;
    let code = |answer: OffsetCommitResponse| answer.topics[0].partitions[0].error_code;
    assert_eq!(
        code(client.call(&commit("g", "tides", 5, Some(&joined)), 9).await),
        ErrorCode::None
    );
    assert_eq!(
        code(client.call(&commit("g", "waves", 6, Some(&joined)), 2).await),
        ErrorCode::None
    );
    assert_eq!(
        code(client.call(&commit("g", "nowhere", 6, Some(&joined)), 9).await),
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(
        code(client.call(&commit("g", "tides", 6, None), 9).await),
        ErrorCode::UnknownMemberId
    );
    let stale = JoinGroupResponse {
        generation_id: 0,
        ..joined.clone()
    };
    assert_eq!(
        code(client.call(&commit("g", "tides", 6, Some(&stale)), 9).await),
        ErrorCode::IllegalGeneration
    );
    let mut long = commit("g", "tides", 6, Some(&joined));
    long.topics[0].partitions[0].committed_metadata = Some("x".repeat(4_097).into());
    assert_eq!(
        code(client.call(&long, 9).await),
        ErrorCode::OffsetMetadataTooLarge
    );
    broker.shutdown().await;
}

/// A stable group with an offset in each topic.
async fn form_with_offsets(client: &mut Client) {
    let (joined, _) = form(client, "g").await;
    client.call(&commit("g", "tides", 5, Some(&joined)), 9).await;
    client.call(&commit("g", "waves", 6, Some(&joined)), 9).await;
}

#[tokio::test]
async fn offsets_are_fetched_for_several_groups_or_one() {
    let (broker, mut client) = start().await;
    form_with_offsets(&mut client).await;
    // Several groups, some partitions or all of them.
    let some = OffsetFetchRequestTopics {
        name: "tides".into(),
        partition_indexes: vec![0, 1],
        ..Default::default()
    };
    let groups = vec![
        OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: Some(vec![some]),
            ..Default::default()
        },
        OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: None,
            ..Default::default()
        },
        OffsetFetchRequestGroup {
            group_id: "nobody".into(),
            topics: None,
            ..Default::default()
        },
    ];
    let fetched = client
        .call(
            &OffsetFetchRequest {
                groups,
                require_stable: true,
                ..Default::default()
            },
            9,
        )
        .await
        .groups;
    let partitions = &fetched[0].topics[0].partitions;
    assert_eq!(
        (partitions[0].committed_offset, partitions[0].metadata.as_deref()),
        (5, Some("note"))
    );
    assert_eq!(
        (partitions[1].committed_offset, partitions[1].error_code),
        (-1, ErrorCode::None)
    );
    let all: Vec<_> = fetched[1]
        .topics
        .iter()
        .map(|topic| (&*topic.name, topic.partitions.len()))
        .collect();
    assert_eq!(all, [("tides", 1), ("waves", 1)]);
    assert!(fetched[2].topics.is_empty() && fetched[2].error_code.is_ok());
    // One group, as old clients ask.
    let topics = Some(vec![OffsetFetchRequestTopic {
        name: "waves".into(),
        partition_indexes: vec![0],
    }]);
    let old = client
        .call(
            &OffsetFetchRequest {
                group_id: "g".into(),
                topics,
                ..Default::default()
            },
            1,
        )
        .await;
    assert_eq!(old.topics[0].partitions[0].committed_offset, 6);
    broker.shutdown().await;
}

#[tokio::test]
async fn offsets_by_topic_id_are_those_of_the_topic_and_not_of_its_name() {
    let (broker, mut client) = start().await;
    let (first, tides) = (
        topic_id(&mut client, "waves").await,
        topic_id(&mut client, "tides").await,
    );
    let by_ids = |ids: &[(Uuid, i64)]| OffsetCommitRequest {
        topics: ids
            .iter()
            .map(|(id, offset)| OffsetCommitRequestTopic {
                topic_id: *id,
                ..commit("g", "", *offset, None).topics.remove(0)
            })
            .collect(),
        ..commit("g", "", 0, None)
    };
    let asked = by_ids(&[(first, 7), (Uuid::from_u128(1), 8), (tides, 9), (Uuid::nil(), 10)]);
    let (known, unknown) = (ErrorCode::None, ErrorCode::UnknownTopicId);
    let answered = client.call(&asked, 10).await;
    assert_eq!(codes(&answered), [known, unknown, known, unknown]);
    let ids: Vec<_> = answered.topics.iter().map(|topic| topic.topic_id).collect();
    assert_eq!(ids, [first, Uuid::from_u128(1), tides, Uuid::nil()]);
    let mut found = fetch_by_ids(&mut client, Some(&[first, Uuid::from_u128(1), tides])).await;
    found.sort_by_key(|(id, ..)| *id);
    let mut expected = vec![
        (first, known, 7),
        (Uuid::from_u128(1), unknown, -1),
        (tides, known, 9),
    ];
    expected.sort_by_key(|(id, ..)| *id);
    assert_eq!(found, expected);

    // Another topic of the same name: what was said of the first is not said of it.
    let delete = DeleteTopicsRequest {
        topic_names: vec!["waves".into()],
        timeout_ms: 1000,
        ..Default::default()
    };
    client.call(&delete, 5).await;
    client.create("waves", 1, &[]).await;
    let second = topic_id(&mut client, "waves").await;
    assert_ne!(first, second);
    let late = client.call(&by_ids(&[(first, 70)]), 10).await;
    assert_eq!(codes(&late), [unknown]);
    let found = fetch_by_ids(&mut client, Some(&[first])).await;
    assert_eq!(found, [(first, unknown, -1)]);
    assert_eq!(
        fetch_by_ids(&mut client, Some(&[second])).await,
        [(second, known, -1)]
    );
    assert_eq!(codes(&client.call(&by_ids(&[(second, 3)]), 10).await), [known]);
    let mut all = fetch_by_ids(&mut client, None).await;
    all.sort_by_key(|(id, ..)| *id);
    let mut expected = vec![(second, known, 3), (tides, known, 9)];
    expected.sort_by_key(|(id, ..)| *id);
    assert_eq!(all, expected);
    broker.shutdown().await;
}

async fn topic_id(client: &mut Client, name: &str) -> Uuid {
    let topics = Some(vec![MetadataRequestTopic {
        name: Some(name.into()),
        ..Default::default()
    }]);
    let request = MetadataRequest {
        topics,
        ..Default::default()
    };
    client.call(&request, 12).await.topics[0].topic_id
}

/// Id, error and offset of each topic's first partition, in version 10.
async fn fetch_by_ids(client: &mut Client, ids: Option<&[Uuid]>) -> Vec<(Uuid, ErrorCode, i64)> {
    let topic = |id: &Uuid| OffsetFetchRequestTopics {
        topic_id: *id,
        partition_indexes: vec![0],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: ids.map(|ids| ids.iter().map(topic).collect()),
        ..Default::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group],
        ..Default::default()
    };
    let answer = client.call(&request, 10).await.groups.remove(0);
    assert_eq!(answer.error_code, ErrorCode::None);
    let topics = answer.topics.iter().map(|topic| {
        let partition = &topic.partitions[0];
        (topic.topic_id, partition.error_code, partition.committed_offset)
    });
    topics.collect()
}

#[tokio::test]
async fn offsets_nobody_reads_are_deleted() {
    let (broker, mut client) = start().await;
    form_with_offsets(&mut client).await;
    let topic = |name: &str| OffsetDeleteRequestTopic {
        name: name.into(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
    };
    let topics = vec![topic("tides"), topic("nowhere"), topic("waves")];
    let deleted = client
        .call(
            &OffsetDeleteRequest {
                group_id: "g".into(),
                topics,
            },
            0,
        )
        .await
        .topics;
    let codes: Vec<_> = deleted
        .iter()
        .map(|topic| topic.partitions[0].error_code)
        .collect();
    assert_eq!(
        codes,
        [
            ErrorCode::GroupSubscribedToTopic,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::None
        ]
    );
    let unknown = OffsetDeleteRequest {
        group_id: "nobody".into(),
        topics: vec![topic("tides")],
    };
    assert_eq!(
        client.call(&unknown, 0).await.error_code,
        ErrorCode::GroupIdNotFound
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn only_groups_without_members_are_deleted() {
    let (broker, mut client) = start().await;
    let (joined, _) = form(&mut client, "g").await;
    client.call(&commit("g", "tides", 5, Some(&joined)), 9).await;
    let delete = async |client: &mut Client| {
        let groups_names = vec!["g".into(), "nobody".into()];
        let results = client
            .call(&DeleteGroupsRequest { groups_names }, 2)
            .await
            .results;
        results.iter().map(|result| result.error_code).collect::<Vec<_>>()
    };
    assert_eq!(
        delete(&mut client).await,
        [ErrorCode::NonEmptyGroup, ErrorCode::GroupIdNotFound]
    );
    let members = ["stranger", &*joined.member_id].map(|id| MemberIdentity {
        member_id: id.into(),
        ..Default::default()
    });
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        members: members.into(),
        ..Default::default()
    };
    let left = client.call(&leave, 5).await;
    let codes: Vec<_> = left.members.iter().map(|member| member.error_code).collect();
    assert_eq!(
        (left.error_code, &codes[..]),
        (
            ErrorCode::None,
            &[ErrorCode::UnknownMemberId, ErrorCode::None][..]
        )
    );
    // Old versions have one error for their one member.
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        member_id: "stranger".into(),
        ..Default::default()
    };
    assert_eq!(
        client.call(&leave, 2).await.error_code,
        ErrorCode::UnknownMemberId
    );
    assert_eq!(
        delete(&mut client).await,
        [ErrorCode::None, ErrorCode::GroupIdNotFound]
    );
    assert!(
        client
            .call(&ListGroupsRequest::default(), 5)
            .await
            .groups
            .is_empty()
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn every_version_of_the_coordinator_is_this_broker() {
    let (broker, mut client) = start().await;
    let port = i32::from(broker.address().port());
    for version in 0..=6 {
        let request = FindCoordinatorRequest {
            key: "g".into(),
            key_type: 0,
            coordinator_keys: if version >= 4 {
                vec!["g".into(), "h".into()]
            } else {
                Vec::new()
            },
        };
        let found = client.call(&request, version).await;
        let ports: Vec<i32> = match version {
            4.. => found.coordinators.iter().map(|each| each.port).collect(),
            _ => vec![found.port],
        };
        assert_eq!(
            ports,
            if version >= 4 { vec![port; 2] } else { vec![port] },
            "version {version}"
        );
        assert!(found.error_code.is_ok());
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn a_deleted_topic_takes_its_offsets_along() {
    let (broker, mut client) = start().await;
    client.call(&commit("g", "tides", 5, None), 9).await;
    client.call(&commit("g", "waves", 6, None), 9).await;
    let request = tidemill_protocol::messages::delete_topics::DeleteTopicsRequest {
        topic_names: vec!["tides".into()],
        timeout_ms: 1_000,
        ..Default::default()
    };
    assert!(client.call(&request, 4).await.responses[0].error_code.is_ok());
    let groups = vec![OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: None,
        ..Default::default()
    }];
    let fetched = client
        .call(
            &OffsetFetchRequest {
                groups,
                ..Default::default()
            },
            8,
        )
        .await
        .groups;
    let names: Vec<_> = fetched[0].topics.iter().map(|topic| &*topic.name).collect();
    assert_eq!(names, ["waves"]);
    broker.shutdown().await;
}

/// Error codes in the order of topics and partitions.
fn codes(answer: &OffsetCommitResponse) -> Vec<ErrorCode> {
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}
