//! From a request's header to its handler and back to a frame.

use std::future::Future;

use tidemill_log::FileRange;
use tidemill_protocol::messages::api_versions::ApiVersionsRequest;
use tidemill_protocol::messages::fetch::FetchRequest;
use tidemill_protocol::messages::produce::ProduceRequest;
use tidemill_protocol::{
    ApiKey, DecodeError, EncodeError, ErrorCode, Reader, Request, RequestHeader, response_frame,
};

use crate::blocking;
use crate::handlers;
use crate::reply::Reply;
use crate::shared::Context;

/// What answers a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Send(Reply),
    /// A Produce with acks=0.
    Nothing,
}

/// A request that closes its connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("a request header: {0}")]
    Header(DecodeError),
    #[error("{api:?} version {version} is not served")]
    NotServed { api: ApiKey, version: i16 },
    #[error("a {api:?} request of version {version}: {error}")]
    Body {
        api: ApiKey,
        version: i16,
        error: DecodeError,
    },
    #[error("a {api:?} response of version {version}: {error}")]
    Response {
        api: ApiKey,
        version: i16,
        error: EncodeError,
    },
    #[error("a Produce with acks=0 failed: {0:?}")]
    Unacknowledged(ErrorCode),
}

/// Answers one request.
pub(crate) async fn dispatch(
    context: Context,
    header: &RequestHeader,
    reader: Reader<'_>,
) -> Result<Answer, RequestError> {
    let api = ApiKey::try_from(header.api_key).map_err(RequestError::Header)?;
    let version = header.api_version;
    if api.check_version(version).is_err() {
        return unserved(api, header);
    }
    let call = Call {
        context,
        correlation_id: header.correlation_id,
        reader,
    };
    match api {
        ApiKey::Produce => produce(call).await,
        ApiKey::Fetch => fetch(call).await,
        ApiKey::ListOffsets => call.answer(handlers::list_offsets::handle).await,
        ApiKey::Metadata => call.answer(handlers::metadata::handle).await,
        ApiKey::OffsetCommit => call.answer(handlers::offset_commit::handle).await,
        ApiKey::OffsetFetch => call.answer(handlers::offset_fetch::handle).await,
        ApiKey::FindCoordinator => call.answer(handlers::find_coordinator::handle).await,
        ApiKey::JoinGroup => call.answer(handlers::join_group::handle).await,
        ApiKey::Heartbeat => call.answer(handlers::heartbeat::handle).await,
        ApiKey::LeaveGroup => call.answer(handlers::leave_group::handle).await,
        ApiKey::SyncGroup => call.answer(handlers::sync_group::handle).await,
        ApiKey::DescribeGroups => call.answer(handlers::describe_groups::handle).await,
        ApiKey::ListGroups => call.answer(handlers::list_groups::handle).await,
        ApiKey::ApiVersions => call.answer(handlers::api_versions::handle).await,
        ApiKey::CreateTopics => call.answer_blocking(handlers::create_topics::handle).await,
        ApiKey::DeleteTopics => call.answer(handlers::delete_topics::handle).await,
        ApiKey::DeleteRecords => call.answer_blocking(handlers::delete_records::handle).await,
        ApiKey::InitProducerId => call.answer(handlers::init_producer_id::handle).await,
        ApiKey::OffsetForLeaderEpoch => call.answer(handlers::offset_for_leader_epoch::handle).await,
        ApiKey::DescribeConfigs => call.answer(handlers::describe_configs::handle).await,
        ApiKey::CreatePartitions => call.answer_blocking(handlers::create_partitions::handle).await,
        ApiKey::AlterReplicaLogDirs => {
            call.answer_blocking(handlers::alter_replica_log_dirs::handle)
                .await
        }
        ApiKey::DescribeLogDirs => call.answer(handlers::describe_log_dirs::handle).await,
        ApiKey::IncrementalAlterConfigs => {
            call.answer_blocking(handlers::incremental_alter_configs::handle)
                .await
        }
        ApiKey::AlterConfigs => call.answer_blocking(handlers::alter_configs::handle).await,
        ApiKey::ListConfigResources => call.answer(handlers::list_config_resources::handle).await,
        ApiKey::ListPartitionReassignments => {
            call.answer(handlers::list_partition_reassignments::handle).await
        }
        ApiKey::DescribeTopicPartitions => call.answer(handlers::describe_topic_partitions::handle).await,
        ApiKey::DeleteGroups => call.answer(handlers::delete_groups::handle).await,
        ApiKey::OffsetDelete => call.answer(handlers::offset_delete::handle).await,
        ApiKey::DescribeQuorum => call.answer_blocking(handlers::describe_quorum::handle).await,
        ApiKey::UpdateFeatures => call.answer_blocking(handlers::update_features::handle).await,
        ApiKey::DescribeCluster => call.answer(handlers::describe_cluster::handle).await,
        ApiKey::AddPartitionsToTxn => call.answer(handlers::add_partitions_to_txn::handle).await,
        ApiKey::AddOffsetsToTxn => call.answer(handlers::add_offsets_to_txn::handle).await,
        ApiKey::EndTxn => call.answer(handlers::end_txn::handle).await,
        ApiKey::WriteTxnMarkers => call.answer(handlers::write_txn_markers::handle).await,
        ApiKey::TxnOffsetCommit => call.answer(handlers::txn_offset_commit::handle).await,
        ApiKey::DescribeProducers => call.answer(handlers::describe_producers::handle).await,
        ApiKey::DescribeTransactions => call.answer(handlers::describe_transactions::handle).await,
        ApiKey::ListTransactions => call.answer(handlers::list_transactions::handle).await,
        ApiKey::ConsumerGroupHeartbeat => call.answer(handlers::consumer_group_heartbeat::handle).await,
        ApiKey::ConsumerGroupDescribe => call.answer(handlers::consumer_group_describe::handle).await,
    }
}

/// What becomes of a request that no handler takes.
fn unserved(api: ApiKey, header: &RequestHeader) -> Result<Answer, RequestError> {
    if api == ApiKey::ApiVersions {
        // KIP-511: a client newer than we are learns in version 0 what it may ask.
        let response = handlers::api_versions::unsupported();
        return encode::<ApiVersionsRequest>(&response, 0, header.correlation_id, Vec::new());
    }
    let version = header.api_version;
    Err(RequestError::NotServed { api, version })
}

/// A request on its way to its handler.
struct Call<'a> {
    context: Context,
    correlation_id: i32,
    reader: Reader<'a>,
}

impl Call<'_> {
    fn decode<R: Request>(&mut self) -> Result<R, RequestError> {
        let version = self.context.version;
        R::decode(&mut self.reader, version).map_err(|error| RequestError::Body {
            api: R::KEY,
            version,
            error,
        })
    }

    /// As `answer`, for a handler that may wait for the disk: it runs where it holds up no connection.
    async fn answer_blocking<R>(
        mut self,
        handle: impl FnOnce(Context, R) -> R::Response + Send + 'static,
    ) -> Result<Answer, RequestError>
    where
        R: Request + Send + 'static,
        R::Response: Send + 'static,
    {
        let request = self.decode::<R>()?;
        let version = self.context.version;
        let context = self.context;
        let response = blocking::run(move || handle(context, request)).await;
        encode::<R>(&response, version, self.correlation_id, Vec::new())
    }

    async fn answer<R, F>(mut self, handle: impl FnOnce(Context, R) -> F) -> Result<Answer, RequestError>
    where
        R: Request,
        F: Future<Output = R::Response>,
    {
        let request = self.decode::<R>()?;
        let version = self.context.version;
        let response = handle(self.context, request).await;
        encode::<R>(&response, version, self.correlation_id, Vec::new())
    }
}

async fn produce(mut call: Call<'_>) -> Result<Answer, RequestError> {
    let request = call.decode::<ProduceRequest>()?;
    let (version, acks) = (call.context.version, request.acks);
    let response = handlers::produce::handle(call.context, request).await;
    if acks != 0 {
        return encode::<ProduceRequest>(&response, version, call.correlation_id, Vec::new());
    }
    // Nobody waits for this answer, so a closed connection is the only way to say that something went wrong.
    let mut codes = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .map(|p| p.error_code);
    match codes.find(|code| !code.is_ok()) {
        Some(code) => Err(RequestError::Unacknowledged(code)),
        None => Ok(Answer::Nothing),
    }
}

async fn fetch(mut call: Call<'_>) -> Result<Answer, RequestError> {
    let request = call.decode::<FetchRequest>()?;
    let version = call.context.version;
    let (response, files) = handlers::fetch::handle(call.context, request).await;
    encode::<FetchRequest>(&response, version, call.correlation_id, files)
}

/// The response as it goes on the wire, with `files` in the gaps of its records.
fn encode<R: Request>(
    response: &R::Response,
    version: i16,
    correlation_id: i32,
    files: Vec<FileRange>,
) -> Result<Answer, RequestError> {
    match response_frame(response, version, correlation_id) {
        Ok(frame) => Ok(Answer::Send(Reply::new(frame, files))),
        Err(error) => Err(RequestError::Response {
            api: R::KEY,
            version,
            error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architecture_says_what_is_served() {
        let text = include_str!("../../../ARCHITECTURE.md");
        let (_, after) = text.split_once("## The APIs").expect("a section of its own");
        let (section, _) = after.split_once("\n## ").expect("another section behind it");
        let told: Vec<String> = section
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| key"))
            .map(|line| {
                line.split('|')
                    .skip(1)
                    .take(3)
                    .map(str::trim)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        let served = ApiKey::ALL.iter().map(|api| {
            let versions = api.advertised();
            let range = match (versions.start(), versions.end()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            format!("{} {api:?} {range}", i16::from(*api))
        });
        assert_eq!(told, served.collect::<Vec<_>>());
    }
}
