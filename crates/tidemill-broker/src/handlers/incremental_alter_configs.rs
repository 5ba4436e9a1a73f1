//! IncrementalAlterConfigs, API 44, v0-1: settings of topics, one by one. Differs from Kafka: the broker's own settings
//! are those of its file.

use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::error_code;
use crate::settings::{TopicValues, Values, is_list, setting_value};
use crate::shared::{Context, Shared};
use crate::topics::TopicError;

const TOPIC: i8 = 2;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn handle(
    context: Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.into_iter().map(|resource| {
        let (error_code, error_message) = match alter(&context.shared, &resource, request.validate_only) {
            Ok(()) => (ErrorCode::None, None),
            Err(error) => (error_code::of_topic(&error), Some(error.to_string().into())),
        };
        AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        }
    });
    IncrementalAlterConfigsResponse {
        responses: responses.collect(),
        ..Default::default()
    }
}

fn alter(shared: &Shared, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), TopicError> {
    if resource.resource_type != TOPIC {
        return Err(TopicError::Request("Only the settings of topics can be altered."));
    }
    shared
        .topics
        .alter(&resource.resource_name, validate_only, |settings| {
            resource
                .configs
                .iter()
                .try_for_each(|config| change(settings, &shared.values, config))
        })
}

fn change(settings: &mut TopicValues, broker: &Values, config: &AlterableConfig) -> Result<(), TopicError> {
    let name = &*config.name;
    if config.config_operation == DELETE {
        return Ok(settings.unset(name)?);
    }
    let value = config
        .value
        .as_ref()
        .ok_or(TopicError::Request("Null value not supported for topic configs"))?;
    match config.config_operation {
        SET => Ok(settings.set(name, value)?),
        APPEND | SUBTRACT => {
            if !is_list(name)? {
                return Err(TopicError::Request(
                    "Config value append and subtract are only allowed for lists.",
                ));
            }
            let now = setting_value(name, settings, broker);
            let parts = |text: &str| {
                text.split(',')
                    .map(|part| part.trim().to_string())
                    .filter(|p| !p.is_empty())
                    .collect::<Vec<_>>()
            };
            let (mut list, given) = (parts(&now), parts(value));
            list.retain(|part| !given.contains(part));
            if config.config_operation == APPEND {
                list.extend(given);
            }
            Ok(settings.set(name, &list.join(","))?)
        }
        _ => Err(TopicError::Request("Unknown config operation.")),
    }
}
