//! IncrementalAlterConfigs, API 44, v0-1: settings of topics and of the broker, one by one.

use std::collections::BTreeSet;

use tidemill_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::handlers::config_resource::{self, Resource};
use crate::settings::{Layer, TopicValues, Values, broker_is_list, is_list, setting_value};
use crate::shared::{Context, Shared};
use crate::topics::TopicError;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) fn handle(
    context: Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let named = request
        .resources
        .iter()
        .map(|r| (r.resource_type, &r.resource_name));
    let twice = config_resource::named_twice(named);
    let responses = request.resources.into_iter().map(|resource| {
        let result = match twice.contains(&(resource.resource_type, resource.resource_name.clone())) {
            true => Err(TopicError::Request("The resource is named more than once.")),
            false => alter(&context.shared, &resource, request.validate_only),
        };
        let (error_code, error_message) = config_resource::outcome(result);
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
    let mut names = BTreeSet::new();
    if !resource.configs.iter().all(|config| names.insert(&config.name)) {
        return Err(TopicError::Request("Error due to duplicate config keys"));
    }
    match Resource::of(shared, resource.resource_type, &resource.resource_name)? {
        Resource::Topic(name) => {
            let broker = shared.values();
            shared.topics.alter(name, validate_only, |settings| {
                let mut configs = resource.configs.iter();
                configs.try_for_each(|config| change(settings, &broker, config))
            })
        }
        Resource::Broker(layer) => shared.topics.alter_broker(layer, validate_only, |values| {
            let mut configs = resource.configs.iter();
            configs.try_for_each(|config| change_broker(values, layer, config))
        }),
    }
}

fn change(settings: &mut TopicValues, broker: &Values, config: &AlterableConfig) -> Result<(), TopicError> {
    let name = &*config.name;
    if config.config_operation == DELETE {
        return Ok(settings.unset(name)?);
    }
    let value = changed(config, is_list(name)?, || setting_value(name, settings, broker))?;
    Ok(settings.set(name, &value)?)
}

fn change_broker(values: &mut Values, layer: Layer, config: &AlterableConfig) -> Result<(), TopicError> {
    let name = &*config.name;
    if config.config_operation == DELETE {
        return Ok(values.alter(layer, name, None)?);
    }
    let value = changed(config, broker_is_list(name)?, || values.shown(name))?;
    Ok(values.alter(layer, name, Some(&value))?)
}

/// The value that the operation makes of the one that holds now.
fn changed(
    config: &AlterableConfig,
    is_list: bool,
    now: impl FnOnce() -> String,
) -> Result<String, TopicError> {
    let value = config
        .value
        .as_ref()
        .ok_or(TopicError::Request("Null value not supported for configs"))?;
    match config.config_operation {
        SET => Ok(value.to_string()),
        APPEND | SUBTRACT if !is_list => Err(TopicError::Request(
            "Config value append and subtract are only allowed for lists.",
        )),
        APPEND | SUBTRACT => {
            let now = now();
            let (mut list, given) = (parts(&now), parts(value));
            list.retain(|part| !given.contains(part));
            if config.config_operation == APPEND {
                list.extend(given);
            }
            Ok(list.join(","))
        }
        _ => Err(TopicError::Request("Unknown config operation.")),
    }
}

fn parts(text: &str) -> Vec<&str> {
    let parts = text.split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).collect()
}
