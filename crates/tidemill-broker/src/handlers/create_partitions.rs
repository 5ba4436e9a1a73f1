//! CreatePartitions, API 37, v0-3.

use tidemill_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};

use crate::error_code;
use crate::handlers::create_topics::check_replicas;
use crate::shared::{Context, Shared};
use crate::topics::TopicError;

pub(crate) fn handle(context: Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let results = request.topics.into_iter().map(|asked| {
        let result = add(&context.shared, &asked, request.validate_only);
        let (error_code, error_message) = match result {
            Ok(()) => Default::default(),
            Err(error) => (error_code::of_topic(&error), Some(error.to_string().into())),
        };
        CreatePartitionsTopicResult {
            name: asked.name,
            error_code,
            error_message,
        }
    });
    CreatePartitionsResponse {
        results: results.collect(),
        ..Default::default()
    }
}

fn add(shared: &Shared, asked: &CreatePartitionsTopic, validate_only: bool) -> Result<(), TopicError> {
    let topic = shared.topics.check_partitions(&asked.name, asked.count)?;
    if let Some(assignments) = &asked.assignments {
        let added = usize::try_from(asked.count).unwrap_or(0) - topic.partitions.len();
        if assignments.len() != added {
            let given = assignments.len();
            return Err(TopicError::Assignment(format!(
                "Attempted to add {added} additional partition(s), but only {given} assignment(s) were specified."
            )));
        }
        assignments
            .iter()
            .try_for_each(|assignment| check_replicas(shared.node_id(), &assignment.broker_ids))?;
    }
    if !validate_only {
        shared.topics.add_partitions(&asked.name, asked.count)?;
    }
    Ok(())
}
