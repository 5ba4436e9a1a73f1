//! A broker in this process, for a program that was told of no cluster.

use std::sync::Arc;

use tidemill_broker::{Broker, BrokerConfig};
use tidemill_client::{Library, NativeTransport, Settings, Transport, TransportError, connect};

use crate::error::StartError;

pub(crate) struct EmbeddedBroker {
    broker: Broker,
}

impl EmbeddedBroker {
    pub(crate) async fn start() -> Result<Self, StartError> {
        let broker = Broker::start(BrokerConfig::embedded()).await;
        let broker = broker.map_err(|error| StartError::Broker(error.to_string()))?;
        tracing::info!(
            "no `bootstrap.servers`: started a broker in this process, at {}",
            broker.bootstrap()
        );
        Ok(Self { broker })
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.broker.bootstrap().to_owned()
    }

    /// A transport to it, without a socket unless librdkafka was asked for.
    pub(crate) fn connect(&self, settings: &Settings) -> Result<Box<dyn Transport>, TransportError> {
        match Library::of(settings)? {
            Library::Native => Ok(Box::new(NativeTransport::over(
                Arc::new(self.broker.local()),
                settings,
            )?)),
            Library::Librdkafka => connect(settings),
        }
    }

    pub(crate) async fn shutdown(self) {
        self.broker.shutdown().await;
    }
}
