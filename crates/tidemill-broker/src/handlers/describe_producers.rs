//! DescribeProducers, API 61, v0: what partitions know of their producers.

use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use crate::partition::Partition;
use crate::shared::Context;

pub(crate) async fn handle(context: Context, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = context.shared.topics.find(&asked.name);
        let partitions = asked.partition_indexes.iter().map(|index| {
            let partition = topic.as_ref().and_then(|topic| topic.partition(*index));
            match partition {
                Some(partition) => PartitionResponse {
                    partition_index: *index,
                    active_producers: producers(partition),
                    ..Default::default()
                },
                None => PartitionResponse {
                    partition_index: *index,
                    error_code: ErrorCode::UnknownTopicOrPartition,
                    ..Default::default()
                },
            }
        });
        let partitions = partitions.collect();
        TopicResponse {
            name: asked.name,
            partitions,
        }
    });
    DescribeProducersResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn producers(partition: &Partition) -> Vec<ProducerState> {
    let producers = partition.log.producers().into_iter().map(|known| ProducerState {
        producer_id: known.producer.0,
        producer_epoch: known.epoch.0.into(),
        last_sequence: known.last_sequence.map_or(-1, |sequence| sequence.0),
        last_timestamp: known.last_timestamp.0,
        coordinator_epoch: known.coordinator_epoch.unwrap_or(-1),
        current_txn_start_offset: known.transaction_start.map_or(-1, |offset| offset.0),
    });
    producers.collect()
}
