//! WriteTxnMarkers, API 27, v1-2: the end of a transaction, by another broker or by an administrator who aborts one that
//! nobody ends.

use std::sync::Arc;

use tidemill_coordinator::{Outcome, Producer};
use tidemill_log::{ProducerEpoch, ProducerId};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use crate::error_code;
use crate::markers::Marker;
use crate::partition::Partition;
use crate::shared::{Context, Shared};

/// `transaction.version` from which on a marker's epoch lies above that of its transaction's records (KIP-890).
const HIGHER_EPOCH_FROM: i8 = 2;

pub(crate) async fn handle(context: Context, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut markers = Vec::with_capacity(request.markers.len());
    for marker in &request.markers {
        let mut topics = Vec::with_capacity(marker.topics.len());
        for topic in &marker.topics {
            let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
            for index in &topic.partition_indexes {
                let written = match context.shared.partition(&topic.name, *index) {
                    Some(partition) => write(&context.shared, marker, &partition).await,
                    None => Err(ErrorCode::UnknownTopicOrPartition),
                };
                partitions.push(WritableTxnMarkerPartitionResult {
                    partition_index: *index,
                    error_code: written.err().unwrap_or(ErrorCode::None),
                });
            }
            topics.push(WritableTxnMarkerTopicResult {
                name: topic.name.clone(),
                partitions,
            });
        }
        markers.push(WritableTxnMarkerResult {
            producer_id: marker.producer_id,
            topics,
        });
    }
    WriteTxnMarkersResponse { markers }
}

async fn write(
    shared: &Arc<Shared>,
    asked: &WritableTxnMarker,
    partition: &Arc<Partition>,
) -> Result<(), ErrorCode> {
    if asked.producer_id < 0 || asked.producer_epoch < 0 {
        return Err(ErrorCode::InvalidRequest);
    }
    let open_now = partition
        .log
        .transaction_guard(ProducerId(asked.producer_id))
        .is_open(ProducerEpoch(asked.producer_epoch));
    if asked.transaction_version >= HIGHER_EPOCH_FROM && open_now {
        return Err(ErrorCode::InvalidProducerEpoch);
    }
    let marker = Marker {
        producer: Producer::new(asked.producer_id, asked.producer_epoch),
        outcome: if asked.transaction_result {
            Outcome::Commit
        } else {
            Outcome::Abort
        },
        coordinator_epoch: asked.coordinator_epoch,
    };
    tracing::info!(partition = %partition.log.topic_partition(), producer = %marker.producer, outcome = %marker.outcome,
        "a transaction is ended by request");
    let written = marker.write(shared, partition).await;
    written.map_err(|error| error_code::of_append(&error))
}
