//! A broker that other people's clients talk to, and that ends and comes back while they do.

use std::path::Path;

use rdkafka::ClientConfig;
use tidemill_broker::{Broker, BrokerConfig};
use tokio::runtime::Runtime;

use crate::PATIENCE;

/// A broker that can be stopped and started again where its clients look for it.
pub(crate) struct Server {
    pub(crate) runtime: Runtime,
    broker: Option<Broker>,
    bootstrap: String,
    settings: Vec<(String, String)>,
    dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let runtime = Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings: Vec<_> = settings.iter().map(own).collect();
        let start = Broker::start(config("127.0.0.1:0", dir.path(), &settings));
        let broker = runtime.block_on(start).unwrap();
        let bootstrap = broker.bootstrap().to_owned();
        Self {
            runtime,
            broker: Some(broker),
            bootstrap,
            settings,
            dir,
        }
    }

    /// In good order.
    pub(crate) fn stop(&mut self) {
        let broker = self.broker.take().unwrap();
        self.runtime.block_on(broker.shutdown());
    }

    /// As a crash would: nothing is synced, nothing is closed, every task ends where it is.
    pub(crate) fn kill(&mut self) {
        let runtime = std::mem::replace(&mut self.runtime, Runtime::new().unwrap());
        drop(self.broker.take());
        runtime.shutdown_timeout(PATIENCE);
    }

    /// At the same address, with the same files and settings.
    pub(crate) fn start_again(&mut self) {
        let start = Broker::start(config(&self.bootstrap, self.dir.path(), &self.settings));
        self.broker = Some(self.runtime.block_on(start).unwrap());
    }

    /// What a client needs to find this broker, and to find it again soon.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap);
        client
            .set("reconnect.backoff.ms", "10")
            .set("reconnect.backoff.max.ms", "100");
        client
    }
}

fn config(listen: &str, dir: &Path, settings: &[(String, String)]) -> BrokerConfig {
    let config = BrokerConfig::embedded().with_data_dir(dir);
    let all = settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let listeners = format!("PLAINTEXT://{listen}");
    let all = all.chain([("listeners", listeners.as_str())]);
    all.fold(config, |config, (name, value)| config.set(name, value).unwrap())
}
