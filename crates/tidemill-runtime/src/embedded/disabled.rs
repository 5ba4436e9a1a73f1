//! Stands in for the broker where the feature `broker` is off.

use tidemill_client::{Settings, Transport, TransportError};

use crate::error::StartError;

pub(crate) enum EmbeddedBroker {}

impl EmbeddedBroker {
    pub(crate) async fn start() -> Result<Self, StartError> {
        Err(StartError::NoCluster)
    }

    pub(crate) fn bootstrap(&self) -> String {
        match *self {}
    }

    pub(crate) fn connect(&self, _settings: &Settings) -> Result<Box<dyn Transport>, TransportError> {
        match *self {}
    }

    pub(crate) async fn shutdown(self) {
        match self {}
    }
}
