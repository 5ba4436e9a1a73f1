//! UpdateFeatures, API 57, v0-2: all levels of a request, or none. v2 answers without a line for each feature.

use tidemill_protocol::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use tidemill_protocol::{ErrorCode, KString};

use crate::error_code;
use crate::features::{Direction, Update};
use crate::shared::Context;
use crate::topics::FeatureError;

/// The last version that answers feature by feature.
const RESULTS_UNTIL: i16 = 1;

pub(crate) fn handle(context: Context, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    let updates = request.feature_updates.iter();
    let updates: Option<Vec<Update>> = updates.map(|update| parsed(update, context.version)).collect();
    let Some(updates) = updates else {
        let message = "An upgrade type is 1 (upgrade), 2 (safe downgrade) or 3 (unsafe downgrade).";
        return failed(ErrorCode::InvalidUpdateVersion, message.into());
    };
    match context
        .shared
        .topics
        .update_features(&updates, request.validate_only)
    {
        Ok(()) => done(&request, context.version),
        Err(error) => {
            let code = match &error {
                FeatureError::Level(_) => ErrorCode::InvalidUpdateVersion,
                FeatureError::Twice(_) => ErrorCode::InvalidRequest,
                FeatureError::Topic(error) => error_code::of_topic(error),
            };
            failed(code, error.to_string().into())
        }
    }
}

fn parsed(update: &FeatureUpdateKey, version: i16) -> Option<Update> {
    let direction = match (version, update.upgrade_type) {
        (0, _) if update.allow_downgrade => Direction::Down,
        (0, _) | (_, 1) => Direction::Up,
        // What one broker lowers loses nothing that it could not read later, so both kinds are safe.
        (_, 2 | 3) => Direction::Down,
        _ => return None,
    };
    Some(Update {
        feature: update.feature.to_string(),
        level: update.max_version_level,
        direction,
    })
}

fn done(request: &UpdateFeaturesRequest, version: i16) -> UpdateFeaturesResponse {
    let result = |update: &FeatureUpdateKey| UpdatableFeatureResult {
        feature: update.feature.clone(),
        ..Default::default()
    };
    let results = match version {
        ..=RESULTS_UNTIL => request.feature_updates.iter().map(result).collect(),
        _ => Vec::new(),
    };
    UpdateFeaturesResponse {
        results,
        ..Default::default()
    }
}

fn failed(error_code: ErrorCode, message: KString) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse {
        error_code,
        error_message: Some(message),
        ..Default::default()
    }
}
