//! Every API's schema, and both codecs' types for it behind one set of functions.

use bytes::{Bytes, BytesMut};
use tidemill_protocol::{ApiKey, DecodeError, Encode, Message, Reader, Writer, messages};

use crate::schema::{Api, Versions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// Decodes a message and encodes it again: once by us, once by the other codec.
pub(crate) struct Codecs {
    /// Our decoding alone.
    pub(crate) decode: fn(&Bytes, i16) -> Result<(), DecodeError>,
    pub(crate) ours: fn(&Bytes, i16) -> Result<Vec<u8>, DecodeError>,
    pub(crate) theirs: fn(&Bytes, i16) -> Vec<u8>,
    pub(crate) their_versions: Versions,
}

pub(crate) fn schema(key: ApiKey) -> Api {
    let module = snake(&format!("{key:?}"));
    let path = format!("{}/schemas/{module}.txt", env!("CARGO_MANIFEST_DIR"));
    Api::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

fn ours<M: Message>(bytes: &Bytes, version: i16) -> Result<Vec<u8>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let message = M::decode(&mut reader, version)?;
    assert_eq!(reader.remaining(), 0, "bytes left behind {:?} {version}", M::KEY);
    Ok(encoded(&message, version))
}

/// Decodes and drops.
pub(crate) fn decode_only(key: ApiKey, side: Side, bytes: &Bytes, version: i16) {
    drop((codecs(key, side).decode)(bytes, version));
}

fn decode<M: Message>(bytes: &Bytes, version: i16) -> Result<(), DecodeError> {
    M::decode(&mut Reader::new(bytes), version).map(drop)
}

fn encoded(message: &impl Encode, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    writer.finish().unwrap().into_bytes().to_vec()
}

fn theirs<M>(bytes: &Bytes, version: i16) -> Vec<u8>
where
    M: kafka_protocol::protocol::Decodable + kafka_protocol::protocol::Encodable,
{
    let mut rest = bytes.clone();
    let message = M::decode(&mut rest, version).expect("the other codec decodes what we consider valid");
    assert!(rest.is_empty(), "the other codec leaves {} bytes", rest.len());
    let mut encoded = BytesMut::new();
    message
        .encode(&mut encoded, version)
        .expect("the other codec encodes what it decoded");
    encoded.to_vec()
}

macro_rules! codecs {
    ($($api:ident $module:ident $request:ident $response:ident),* $(,)?) => {
        /// Both codecs for one side of an API.
        pub(crate) fn codecs(key: ApiKey, side: Side) -> Codecs {
            match (key, side) {
                $((ApiKey::$api, Side::Request) => Codecs {
                    decode: decode::<messages::$module::$request>,
                    ours: ours::<messages::$module::$request>,
                    theirs: theirs::<kafka_protocol::messages::$request>,
                    their_versions: versions::<kafka_protocol::messages::$request>(),
                },
                (ApiKey::$api, Side::Response) => Codecs {
                    decode: decode::<messages::$module::$response>,
                    ours: ours::<messages::$module::$response>,
                    theirs: theirs::<kafka_protocol::messages::$response>,
                    their_versions: versions::<kafka_protocol::messages::$response>(),
                },)*
            }
        }
    };
}

fn versions<M: kafka_protocol::protocol::Message>() -> Versions {
    M::VERSIONS.min..=M::VERSIONS.max
}

codecs! {
    Produce produce ProduceRequest ProduceResponse,
    Fetch fetch FetchRequest FetchResponse,
    ListOffsets list_offsets ListOffsetsRequest ListOffsetsResponse,
    Metadata metadata MetadataRequest MetadataResponse,
    OffsetCommit offset_commit OffsetCommitRequest OffsetCommitResponse,
    OffsetFetch offset_fetch OffsetFetchRequest OffsetFetchResponse,
    FindCoordinator find_coordinator FindCoordinatorRequest FindCoordinatorResponse,
    JoinGroup join_group JoinGroupRequest JoinGroupResponse,
    Heartbeat heartbeat HeartbeatRequest HeartbeatResponse,
    LeaveGroup leave_group LeaveGroupRequest LeaveGroupResponse,
    SyncGroup sync_group SyncGroupRequest SyncGroupResponse,
    DescribeGroups describe_groups DescribeGroupsRequest DescribeGroupsResponse,
    ListGroups list_groups ListGroupsRequest ListGroupsResponse,
    ApiVersions api_versions ApiVersionsRequest ApiVersionsResponse,
    CreateTopics create_topics CreateTopicsRequest CreateTopicsResponse,
    DeleteTopics delete_topics DeleteTopicsRequest DeleteTopicsResponse,
    DeleteRecords delete_records DeleteRecordsRequest DeleteRecordsResponse,
    InitProducerId init_producer_id InitProducerIdRequest InitProducerIdResponse,
    OffsetForLeaderEpoch offset_for_leader_epoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse,
    AddPartitionsToTxn add_partitions_to_txn AddPartitionsToTxnRequest AddPartitionsToTxnResponse,
    AddOffsetsToTxn add_offsets_to_txn AddOffsetsToTxnRequest AddOffsetsToTxnResponse,
    EndTxn end_txn EndTxnRequest EndTxnResponse,
    WriteTxnMarkers write_txn_markers WriteTxnMarkersRequest WriteTxnMarkersResponse,
    TxnOffsetCommit txn_offset_commit TxnOffsetCommitRequest TxnOffsetCommitResponse,
    DescribeConfigs describe_configs DescribeConfigsRequest DescribeConfigsResponse,
    AlterConfigs alter_configs AlterConfigsRequest AlterConfigsResponse,
    DescribeLogDirs describe_log_dirs DescribeLogDirsRequest DescribeLogDirsResponse,
    CreatePartitions create_partitions CreatePartitionsRequest CreatePartitionsResponse,
    DeleteGroups delete_groups DeleteGroupsRequest DeleteGroupsResponse,
    IncrementalAlterConfigs incremental_alter_configs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse,
    ListPartitionReassignments list_partition_reassignments ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse,
    OffsetDelete offset_delete OffsetDeleteRequest OffsetDeleteResponse,
    AlterReplicaLogDirs alter_replica_log_dirs AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse,
    DescribeQuorum describe_quorum DescribeQuorumRequest DescribeQuorumResponse,
    UpdateFeatures update_features UpdateFeaturesRequest UpdateFeaturesResponse,
    DescribeCluster describe_cluster DescribeClusterRequest DescribeClusterResponse,
    DescribeProducers describe_producers DescribeProducersRequest DescribeProducersResponse,
    DescribeTransactions describe_transactions DescribeTransactionsRequest DescribeTransactionsResponse,
    ListTransactions list_transactions ListTransactionsRequest ListTransactionsResponse,
    ConsumerGroupHeartbeat consumer_group_heartbeat ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse,
    ConsumerGroupDescribe consumer_group_describe ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse,
    ListConfigResources list_config_resources ListConfigResourcesRequest ListConfigResourcesResponse,
    DescribeTopicPartitions describe_topic_partitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse,
}

/// Every side and version of every API.
pub(crate) fn every_message() -> impl Iterator<Item = (ApiKey, Side, i16)> {
    ApiKey::ALL.into_iter().flat_map(|key| {
        let sides = [Side::Request, Side::Response];
        sides
            .into_iter()
            .flat_map(move |side| key.versions().map(move |version| (key, side, version)))
    })
}
