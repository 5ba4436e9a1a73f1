//! Stands in for librdkafka where the feature `kafka` is off.

use crate::{Settings, Transport, TransportError};

/// Connects to a cluster. Without the feature `kafka` there is no client to do it with.
pub fn connect(_settings: &Settings) -> Result<Box<dyn Transport>, TransportError> {
    Err(TransportError::NotBuilt)
}
