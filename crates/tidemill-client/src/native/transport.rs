//! The native client as the runtime's `Transport`.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::Cluster;
use super::connection::{Dial, Pool, Tcp};
use super::engine::Engine;
use super::fetcher::NativeReader;
use super::group::NativeMember;
use super::producer::{NativeTransactionalWriter, NativeWriter};
use super::settings::{Common, FetchSettings, GroupSettings, Layer, OffsetReset, ProducerSettings};
use super::{delete_records, offsets, topics};
use crate::{
    Isolation, Member, Reader, Settings, Start, Subscription, TopicDescription, TopicPartition, TopicSpec,
    TransactionError, TransactionSettings, TransactionalWriter, Transport, TransportError, Writer,
};

/// How long questions about a cluster may take.
const WITHIN: Duration = Duration::from_secs(30);
/// What a reader, which restores stores, keeps of records.
const READER_BYTES: usize = 16 << 20;

/// A cluster through our own client. Nothing is sent before the first call.
pub struct NativeTransport {
    settings: Settings,
    engine: Arc<Engine>,
    cluster: Arc<Cluster>,
}

impl NativeTransport {
    /// Over TCP, to `bootstrap.servers`. Errors: a setting is missing, unknown or does not fit.
    pub fn connect(settings: &Settings) -> Result<Self, TransportError> {
        let common = Common::new(&Layer::new(settings, "")?)?;
        let dial = Tcp {
            setup_timeout: common.setup_timeout,
            response_bytes_max: common.response_bytes_max,
        };
        Self::over(Arc::new(dial), settings)
    }

    /// Over connections that `dial` opens, as to a broker in this process. Errors: as [`connect`](Self::connect).
    pub fn over(dial: Arc<dyn Dial>, settings: &Settings) -> Result<Self, TransportError> {
        // Wrong settings of any role are told now, not when it is first needed.
        ProducerSettings::new(&Layer::new(settings, "producer.")?)?;
        let consumer = Layer::new(settings, "consumer.")?;
        FetchSettings::new(&consumer, 0)?;
        GroupSettings::new(&consumer)?;
        let common = Common::new(&Layer::new(settings, "")?)?;
        let pool = Pool::new(dial, common.connection);
        Ok(Self {
            settings: settings.clone(),
            engine: Engine::start()?,
            cluster: Cluster::new(common.bootstrap, pool, common.retry_backoff),
        })
    }

    fn offsets(
        &self,
        partitions: &[TopicPartition],
        start: Start,
        isolation: Isolation,
    ) -> Result<Vec<i64>, TransportError> {
        let (cluster, partitions) = (self.cluster.clone(), partitions.to_vec());
        self.engine.run(
            "list offsets",
            offsets::list_all(cluster, partitions, start, isolation, WITHIN),
        )
    }
}

impl Transport for NativeTransport {
    fn join(&self, subscription: &Subscription) -> Result<Box<dyn Member>, TransportError> {
        let layer = Layer::new(&self.settings, "consumer.")?;
        let mut fetch = FetchSettings::new(&layer, subscription.queued_bytes_max)?;
        if subscription.isolation == Isolation::ReadCommitted {
            fetch.isolation = Isolation::ReadCommitted;
        }
        let mut group = GroupSettings::new(&layer)?;
        if subscription.instance.is_some() {
            group.instance_id = subscription.instance.clone();
        }
        let cluster = self.cluster.named(&subscription.client);
        let member = NativeMember::join(self.engine.clone(), cluster, subscription, group, fetch);
        Ok(Box::new(member))
    }

    fn reader(&self, name: &str) -> Result<Box<dyn Reader>, TransportError> {
        let layer = Layer::new(&self.settings, "consumer.")?;
        let settings = FetchSettings {
            isolation: Isolation::ReadCommitted,
            reset: OffsetReset::Refuse,
            ..FetchSettings::new(&layer, READER_BYTES)?
        };
        let cluster = self.cluster.named(name);
        Ok(Box::new(NativeReader::new(
            self.engine.clone(),
            cluster,
            settings,
        )))
    }

    fn writer(&self, name: &str) -> Result<Box<dyn Writer>, TransportError> {
        let settings = ProducerSettings::new(&Layer::new(&self.settings, "producer.")?)?;
        let cluster = self.cluster.named(name);
        Ok(Box::new(NativeWriter::new(
            self.engine.clone(),
            cluster,
            settings,
        )))
    }

    fn transactional_writer(
        &self,
        name: &str,
        transactions: &TransactionSettings,
    ) -> Result<Box<dyn TransactionalWriter>, TransactionError> {
        let layer = Layer::new(&self.settings, "producer.")?;
        let settings = ProducerSettings::new(&layer)?;
        let cluster = self.cluster.named(name);
        let writer = NativeTransactionalWriter::new(self.engine.clone(), cluster, settings, transactions)?;
        Ok(Box::new(writer))
    }

    fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicDescription>>, TransportError> {
        let names = topics.iter().map(|name| (*name).to_owned()).collect();
        self.engine.run(
            "describe topics",
            topics::describe(self.cluster.clone(), names, WITHIN),
        )
    }

    fn topics(&self) -> Result<Vec<String>, TransportError> {
        self.engine
            .run("list topics", topics::list(self.cluster.clone(), WITHIN))
    }

    fn create(&self, topics: &[TopicSpec]) -> Result<(), TransportError> {
        self.engine.run(
            "create topics",
            topics::create(self.cluster.clone(), topics.to_vec(), WITHIN),
        )
    }

    fn end_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError> {
        self.offsets(partitions, Start::Latest, Isolation::ReadCommitted)
    }

    fn start_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError> {
        self.offsets(partitions, Start::Earliest, Isolation::ReadCommitted)
    }

    fn high_watermarks(&self, partitions: &[TopicPartition]) -> Result<Vec<i64>, TransportError> {
        self.offsets(partitions, Start::Latest, Isolation::ReadUncommitted)
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<(), TransportError> {
        let (cluster, before) = (self.cluster.clone(), before.to_vec());
        self.engine
            .run("delete records", delete_records::delete(cluster, before, WITHIN))
    }
}
