//! What the examples share: a cluster to talk to.

use anyhow::Result;
use tidemill::broker::{Broker, BrokerConfig};

/// The cluster that `BOOTSTRAP_SERVERS` names, or a broker in this process.
pub struct Cluster {
    bootstrap: String,
    broker: Option<Broker>,
}

impl Cluster {
    /// Reads the environment, and starts a broker if it names no cluster.
    pub async fn from_env() -> Result<Self> {
        if let Ok(bootstrap) = std::env::var("BOOTSTRAP_SERVERS") {
            return Ok(Self {
                bootstrap,
                broker: None,
            });
        }
        let broker = Broker::start(BrokerConfig::embedded()).await?;
        Ok(Self {
            bootstrap: broker.bootstrap().to_owned(),
            broker: Some(broker),
        })
    }

    /// The address for clients.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Stops the broker in this process, if there is one.
    pub async fn shutdown(self) {
        if let Some(broker) = self.broker {
            broker.shutdown().await;
        }
    }
}
