//! DescribeConfigs, API 32, v1-4: every setting of a topic or of the broker, with its source and synonyms.

use tidemill_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::error_code;
use crate::handlers::config_resource::Resource;
use crate::settings::{Kind, Layer, Resolved, SETTINGS, Setting, Source, Values, resolve_all};
use crate::shared::{Context, Shared};
use crate::topics::TopicError;

/// What of the answer is optional.
#[derive(Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

pub(crate) async fn handle(context: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let detail = Detail {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let results = request.resources.into_iter().map(|resource| {
        let (error_code, error_message, configs) = match describe(&context.shared, &resource, detail) {
            Ok(configs) => (ErrorCode::None, None, configs),
            Err((code, message)) => (code, Some(message.into()), Vec::new()),
        };
        DescribeConfigsResult {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs,
        }
    });
    DescribeConfigsResponse {
        results: results.collect(),
        ..Default::default()
    }
}

fn describe(
    shared: &Shared,
    resource: &DescribeConfigsResource,
    detail: Detail,
) -> Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)> {
    let failed = |error: TopicError| (error_code::of_topic(&error), error.to_string());
    let name = &resource.resource_name;
    let values = shared.values();
    let broker = SETTINGS.iter().filter(|row| row.broker.is_some());
    let mut configs: Vec<_> = match Resource::of(shared, resource.resource_type, name).map_err(failed)? {
        Resource::Topic(name) => {
            let topic = shared.topics.find(name);
            let unknown = || {
                let message = format!("Topic '{name}' does not exist.");
                (ErrorCode::UnknownTopicOrPartition, message)
            };
            resolve_all(&topic.ok_or_else(unknown)?.settings, &values)
                .iter()
                .map(|resolved| topic_setting(resolved, detail))
                .collect()
        }
        Resource::Broker(Layer::Here) => broker.map(|row| broker_setting(&values, row, detail)).collect(),
        // What holds for all brokers is only what was set for all of them.
        Resource::Broker(Layer::Everywhere) => {
            let set: Vec<_> = values.altered(Layer::Everywhere).map(|(name, _)| name).collect();
            let set = broker.filter(|row| row.broker.is_some_and(|name| set.contains(&name)));
            let only = values.only_everywhere();
            set.map(|row| broker_setting(&only, row, detail)).collect()
        }
    };
    if let Some(keys) = &resource.configuration_keys {
        configs.retain(|config| keys.contains(&config.name));
    }
    Ok(configs)
}

fn topic_setting(resolved: &Resolved, detail: Detail) -> DescribeConfigsResourceResult {
    let setting = resolved.setting;
    let synonyms = resolved
        .synonyms
        .iter()
        .filter(|_| detail.synonyms)
        .map(|(name, value, source)| DescribeConfigsSynonym {
            name: (*name).into(),
            value: visible(setting, value),
            source: source_code(*source),
        });
    DescribeConfigsResourceResult {
        name: setting.topic.unwrap_or_default().into(),
        value: visible(setting, &resolved.value),
        config_source: source_code(resolved.source),
        is_sensitive: setting.kind == Kind::Password,
        synonyms: synonyms.collect(),
        config_type: type_code(setting.kind),
        documentation: detail
            .documentation
            .then(|| KString::from_static(setting.documentation)),
        ..Default::default()
    }
}

fn broker_setting(
    values: &Values,
    setting: &'static Setting,
    detail: Detail,
) -> DescribeConfigsResourceResult {
    let name = setting.broker.unwrap_or_default();
    let default = setting.default.map(|default| (default, Source::Default));
    let set = values.layers(name).map(|(source, value)| (value, source));
    let mut known = set.chain(default).peekable();
    let first = known.peek().copied();
    let synonyms = known
        .filter(|_| detail.synonyms)
        .map(|(value, source)| DescribeConfigsSynonym {
            name: name.into(),
            value: visible(setting, value),
            source: source_code(source),
        });
    DescribeConfigsResourceResult {
        name: name.into(),
        value: first.and_then(|(value, _)| visible(setting, value)),
        read_only: !setting.dynamic,
        config_source: source_code(first.map_or(Source::Default, |(_, source)| source)),
        is_sensitive: setting.kind == Kind::Password,
        synonyms: synonyms.collect(),
        config_type: type_code(setting.kind),
        documentation: detail
            .documentation
            .then(|| KString::from_static(setting.documentation)),
    }
}

/// A value as it may be shown: passwords may not.
pub(crate) fn visible(setting: &Setting, value: &str) -> Option<KString> {
    (setting.kind != Kind::Password).then(|| value.into())
}

/// Kafka's number of a setting's source.
pub(crate) fn source_code(source: Source) -> i8 {
    match source {
        Source::Topic => 1,
        Source::Here => 2,
        Source::Everywhere => 3,
        Source::Broker => 4,
        Source::Default => 5,
    }
}

fn type_code(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::Text => 2,
        Kind::Int => 3,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Password => 9,
    }
}
