//! Stands in for librdkafka where the feature `kafka` is off.

use crate::{Settings, Transport, TransportError};

/// Without the feature `kafka` it is not there.
pub(crate) fn connect_librdkafka(_settings: &Settings) -> Result<Box<dyn Transport>, TransportError> {
    Err(TransportError::NotBuilt)
}
