//! DescribeConfigs, API 32, v1-4: every setting of a topic or of the broker, with its source and synonyms.

use tidemill_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::settings::{Kind, Resolved, SETTINGS, Setting, Source, resolve_all};
use crate::shared::{Context, Shared};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

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
    let name = &resource.resource_name;
    let mut configs = match resource.resource_type {
        TOPIC => {
            let topic = shared.topics.find(name);
            let topic = topic.ok_or_else(|| {
                (
                    ErrorCode::UnknownTopicOrPartition,
                    format!("Topic '{name}' does not exist."),
                )
            })?;
            let resolved = resolve_all(&topic.settings, &shared.values);
            resolved
                .iter()
                .map(|resolved| topic_setting(resolved, detail))
                .collect::<Vec<_>>()
        }
        // An empty name asks for settings that hold for all brokers and were changed at run time: there are none.
        BROKER if name.is_empty() => Vec::new(),
        BROKER if **name == *shared.node_id().to_string() => {
            let rows = SETTINGS.iter().filter(|row| row.broker.is_some());
            rows.map(|row| broker_setting(shared, row, detail)).collect()
        }
        BROKER => {
            let expected = shared.node_id();
            return Err((
                ErrorCode::InvalidRequest,
                format!("Unexpected broker id, expected {expected} but received {name}"),
            ));
        }
        other => {
            return Err((
                ErrorCode::InvalidRequest,
                format!("Unsupported resource type: {other}"),
            ));
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
    shared: &Shared,
    setting: &'static Setting,
    detail: Detail,
) -> DescribeConfigsResourceResult {
    let name = setting.broker.unwrap_or_default();
    let default = setting.default.map(|default| (default, Source::Default));
    let known = [
        shared.values.explicit(name).map(|value| (value, Source::Broker)),
        default,
    ];
    let mut known = known.into_iter().flatten().peekable();
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
        read_only: true,
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
