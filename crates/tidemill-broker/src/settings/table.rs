//! The one table of settings: Kafka's names, types, defaults and meaning, for the broker and for topics.
//!
//! A row is one fact that can be set. `broker` is its name in `server.properties`, `topic` its name in a topic's
//! configuration; a row with both is a topic setting whose default the broker gives. Rows that share a topic name
//! differ in their unit and stand finest first, which is also the order in which they win.

use super::{Kind, Setting, Support};

use Kind::{Boolean, Double, Int, List, Long, Password, Text};

const MAX: &str = "9223372036854775807";
const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const INT_MAX: i64 = i32::MAX as i64;

/// Every setting, in the order in which documentation lists them.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    // Who the broker is and where it listens.
    broker("node.id", Int, "-1").range(-1, INT_MAX).doc("The id of this broker. `broker.id` is its older name."),
    broker("broker.id", Int, "-1").range(-1, INT_MAX).doc("The id of this broker, used where `node.id` is not set."),
    broker("listeners", List, "PLAINTEXT://:9092").doc("Where the broker listens, as NAME://host:port; an empty host means every interface."),
    broker("advertised.listeners", List, "").doc("What clients are told to connect to, when it differs from `listeners`."),
    broker("listener.security.protocol.map", List, "PLAINTEXT:PLAINTEXT").doc("Which security protocol each listener name stands for."),
    broker("inter.broker.listener.name", Text, "").doc("The listener that brokers use among themselves; it must be one of `listeners`."),
    broker("tidemill.http.listener", Text, "").doc("Where `/metrics` and `/health` are served over HTTP, as host:port; empty is nowhere. Kafka has no such setting."),
    broker("controller.listener.names", List, "").doc("Listeners meant for controllers. The broker does not open them: it is its own controller."),

    // Data.
    broker("log.dirs", List, "").doc("The directories that hold partitions; a new partition goes to the one with the fewest."),
    broker("log.dir", Text, "/tmp/kafka-logs").doc("The directory that holds partitions, where `log.dirs` is not set."),
    broker("num.partitions", Int, "1").range(1, INT_MAX).doc("How many partitions a topic gets that is created without a number."),
    broker("default.replication.factor", Int, "1").range(1, INT_MAX).doc("How many replicas an automatically created topic asks for."),
    broker("auto.create.topics.enable", Boolean, "true").doc("Whether asking for the metadata of an unknown topic creates it."),
    broker("delete.topic.enable", Boolean, "true").doc("Whether topics may be deleted."),
    broker("log.retention.check.interval.ms", Long, "300000").range(1, i64::MAX).doc("How often segments past their retention are looked for."),
    broker("log.flush.scheduler.interval.ms", Long, MAX).range(1, i64::MAX).doc("How often logs whose `flush.ms` has passed are looked for, where that is sooner than half of it."),
    broker("log.initial.task.delay.ms", Long, "30000").range(0, i64::MAX).doc("How long after the start the first retention check comes."),

    // The threads that compact.
    broker("log.cleaner.enable", Boolean, "true").doc("Whether compacted topics are compacted."),
    broker("log.cleaner.threads", Int, "1").range(1, 64).doc("How many logs are compacted at once."),
    broker("log.cleaner.dedupe.buffer.size", Long, "134217728").range(1, i64::MAX).dynamic().doc("What all compactions together may take to remember keys, 32 bytes each; a log with more keys is compacted in several passes."),
    broker("log.cleaner.backoff.ms", Long, "15000").range(0, i64::MAX).dynamic().doc("How long to wait before looking again when there is nothing to compact."),
    broker("replica.alter.log.dirs.io.max.bytes.per.second", Long, MAX).range(1, i64::MAX).dynamic().doc("What a move to another log directory may copy a second."),
    broker("log.cleaner.io.max.bytes.per.second", Double, "1.7976931348623157E308").range(1, i64::MAX).dynamic().doc("What all compactions together may read and write a second."),

    // Settings of topics, with the broker's default for each.
    both("cleanup.policy", "log.cleanup.policy", List, "delete").one_of(&["delete", "compact"]).doc("What happens to old segments: `delete` them, `compact` them by key, or both."),
    both("compression.type", "compression.type", Text, "producer").one_of(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]).doc("The compression of stored batches; `producer` keeps what arrived, and it is what this broker always does."),
    both("compression.gzip.level", "compression.gzip.level", Int, "-1").range(-1, 9).doc("The level of gzip where the broker compresses."),
    both("compression.lz4.level", "compression.lz4.level", Int, "9").range(1, 17).doc("The level of lz4 where the broker compresses."),
    both("compression.zstd.level", "compression.zstd.level", Int, "3").range(-131_072, 22).doc("The level of zstd where the broker compresses."),
    both("delete.retention.ms", "log.cleaner.delete.retention.ms", Long, "86400000").range(0, i64::MAX).doc("How long a compacted topic keeps the mark of a deleted key."),
    both("file.delete.delay.ms", "log.segment.delete.delay.ms", Long, "60000").range(0, i64::MAX).doc("How long a deleted segment's file stays, for readers that still have it open."),
    both("flush.messages", "log.flush.interval.messages", Long, MAX).range(1, i64::MAX).doc("After how many records a log is synced to disk."),
    both("flush.ms", "log.flush.interval.ms", Long, MAX).range(0, i64::MAX).doc("After how long an unsynced record is synced to disk."),
    topic("follower.replication.throttled.replicas", List, "").doc("Followers whose replication is throttled."),
    topic("leader.replication.throttled.replicas", List, "").doc("Leaders whose replication is throttled."),
    both("index.interval.bytes", "log.index.interval.bytes", Int, "4096").range(0, INT_MAX).doc("After how many bytes of log the index gets an entry."),
    topic("local.retention.bytes", Long, "-2").range(-2, i64::MAX).doc("How many bytes stay on local disk where tiers are in use; -2 is `retention.bytes`."),
    topic("local.retention.ms", Long, "-2").range(-2, i64::MAX).doc("How long segments stay on local disk where tiers are in use; -2 is `retention.ms`."),
    both("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", Long, MAX).range(1, i64::MAX).doc("The longest a record may stay uncompacted."),
    both("max.message.bytes", "message.max.bytes", Int, "1048588").range(0, INT_MAX).doc("The largest batch of records that is accepted, as it arrives."),
    both("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", Long, "3600000").range(0, i64::MAX).doc("How far a record's timestamp may lie after the broker's clock."),
    both("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms", Long, MAX).range(0, i64::MAX).doc("How far a record's timestamp may lie before the broker's clock."),
    both("message.timestamp.type", "log.message.timestamp.type", Text, "CreateTime").one_of(&["CreateTime", "LogAppendTime"]).doc("Whether a record carries its producer's time or the time of its append."),
    both("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", Double, "0.5").range(0, 1).doc("The share of uncleaned bytes from which a log is compacted."),
    both("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", Long, "0").range(0, i64::MAX).doc("The shortest a record stays uncompacted."),
    both("min.insync.replicas", "min.insync.replicas", Int, "1").range(1, INT_MAX).doc("How many replicas must have a record before `acks=all` is answered."),
    both("preallocate", "log.preallocate", Boolean, "false").doc("Whether a new segment's file is allocated at once."),
    topic("remote.log.copy.disable", Boolean, "false").doc("Whether segments are no longer copied to a remote tier."),
    topic("remote.log.delete.on.disable", Boolean, "false").doc("Whether remote data goes when the remote tier is disabled."),
    topic("remote.storage.enable", Boolean, "false").doc("Whether segments are copied to a remote tier."),
    both("retention.bytes", "log.retention.bytes", Long, "-1").range(-1, i64::MAX).doc("How many bytes a partition keeps before its oldest segments go; -1 is no limit."),
    both("retention.ms", "log.retention.ms", Long, "604800000").range(-1, i64::MAX).doc("How long a segment is kept after its newest record; -1 is for ever."),
    coarser("retention.ms", "log.retention.minutes", Int, MINUTE_MS).range(-1, INT_MAX).doc("`log.retention.ms` in minutes, where that is not set."),
    coarser("retention.ms", "log.retention.hours", Int, HOUR_MS).range(-1, INT_MAX).doc("`log.retention.ms` in hours, where neither that nor the minutes are set."),
    both("segment.bytes", "log.segment.bytes", Int, "1073741824").range(14, INT_MAX).doc("The size at which a log rolls to a new segment."),
    both("segment.index.bytes", "log.index.size.max.bytes", Int, "10485760").range(4, INT_MAX).doc("The size of an index at which its segment rolls."),
    both("segment.jitter.ms", "log.roll.jitter.ms", Long, "0").range(0, i64::MAX).doc("How much `segment.ms` varies, so that not every log rolls at once."),
    coarser("segment.jitter.ms", "log.roll.jitter.hours", Int, HOUR_MS).range(0, INT_MAX).doc("`log.roll.jitter.ms` in hours, where that is not set."),
    both("segment.ms", "log.roll.ms", Long, "604800000").range(1, i64::MAX).doc("The age at which a log rolls to a new segment."),
    coarser("segment.ms", "log.roll.hours", Int, HOUR_MS).range(1, INT_MAX).doc("`log.roll.ms` in hours, where that is not set."),
    both("unclean.leader.election.enable", "unclean.leader.election.enable", Boolean, "false").doc("Whether a replica that lacks acknowledged records may lead."),

    // Requests and connections.
    broker("socket.request.max.bytes", Int, "104857600").range(1, INT_MAX).doc("The largest request that is read; a larger one closes its connection."),
    broker("max.connections", Int, "2147483647").range(0, INT_MAX).dynamic().doc("How many connections may be open at once."),
    broker("max.connections.per.ip", Int, "2147483647").range(0, INT_MAX).dynamic().doc("How many connections may be open from one address."),
    broker("max.connections.per.ip.overrides", List, "").dynamic().doc("Addresses with another `max.connections.per.ip`, as address:count."),
    broker("queued.max.request.bytes", Long, "536870912").range(-1, i64::MAX).doc("What all requests in work may take in memory together; -1 is no limit. Further large requests wait."),
    broker("connections.max.idle.ms", Long, "600000").range(-1, i64::MAX).doc("How long a connection may be idle before it is closed; -1 is for ever."),
    broker("fetch.max.bytes", Int, "57671680").range(1024, INT_MAX).doc("The most a Fetch answers, whatever it asks for."),
    broker("max.incremental.fetch.session.cache.slots", Int, "1000").range(0, INT_MAX).doc("How many incremental fetch sessions are kept."),
    broker("max.request.partition.size.limit", Int, "2000").range(1, INT_MAX).doc("How many partitions one DescribeTopicPartitions answers."),
    broker("producer.id.expiration.ms", Int, "86400000").range(1, INT_MAX).dynamic().doc("How long after its last record a partition forgets a producer id."),

    // Groups.
    broker("group.initial.rebalance.delay.ms", Int, "3000").range(0, INT_MAX).doc("How long an empty group waits for more members before its first rebalance."),
    broker("group.min.session.timeout.ms", Int, "6000").range(0, INT_MAX).doc("The shortest session timeout a member may ask for."),
    broker("group.max.session.timeout.ms", Int, "1800000").range(0, INT_MAX).doc("The longest session timeout a member may ask for."),
    broker("group.max.size", Int, "10000").range(1, INT_MAX).doc("How many members a group may have."),
    broker("group.consumer.session.timeout.ms", Int, "45000").range(1, INT_MAX).doc("How long a member of the consumer protocol may be silent."),
    broker("group.consumer.heartbeat.interval.ms", Int, "5000").range(1, INT_MAX).doc("How often a member of the consumer protocol comes."),
    broker("group.consumer.max.size", Int, "10000").range(1, INT_MAX).doc("How many members a group of the consumer protocol may have."),
    broker("group.consumer.assignors", List, "uniform,range").one_of(&["uniform", "range"]).doc("How the work of a group of the consumer protocol may be divided, the default first."),
    broker("offset.metadata.max.bytes", Int, "4096").range(0, INT_MAX).doc("The longest text a committed offset may carry."),
    broker("offsets.retention.minutes", Int, "10080").range(1, INT_MAX).doc("How long an empty group's offsets are kept."),
    broker("offsets.retention.check.interval.ms", Long, "600000").range(1, i64::MAX).doc("How often expired offsets are looked for."),
    broker("offsets.topic.num.partitions", Int, "50").range(1, INT_MAX).doc("How many partitions `__consumer_offsets` has."),
    broker("offsets.topic.replication.factor", Int, "3").range(1, INT_MAX).doc("How many replicas `__consumer_offsets` asks for; this broker gives it one."),
    broker("offsets.topic.segment.bytes", Int, "104857600").range(1, INT_MAX).doc("The segment size of `__consumer_offsets`."),

    // Transactions.
    broker("transaction.max.timeout.ms", Int, "900000").range(1, INT_MAX).doc("The longest `transaction.timeout.ms` a producer may ask for."),
    broker("transactional.id.expiration.ms", Int, "604800000").range(1, INT_MAX).doc("How long a transactional id without a transaction is remembered."),
    broker("transaction.state.log.num.partitions", Int, "50").range(1, INT_MAX).doc("How many partitions `__transaction_state` has."),
    broker("transaction.state.log.segment.bytes", Int, "104857600").range(1, INT_MAX).doc("The segment size of `__transaction_state`."),

    // Known, and without a counterpart here: Kafka's own files must start.
    absent("num.network.threads", Int, "3").doc("The runtime's worker threads serve the network."),
    absent("num.io.threads", Int, "8").doc("The runtime's worker threads handle requests."),
    absent("num.replica.fetchers", Int, "1").doc("There are no followers."),
    absent("num.recovery.threads.per.data.dir", Int, "2").doc("Only logs that need it are recovered."),
    absent("background.threads", Int, "10").doc("Background work runs as tasks."),
    absent("queued.max.requests", Int, "500").doc("Each connection has its own bound."),
    absent("socket.send.buffer.bytes", Int, "102400").doc("The system chooses."),
    absent("socket.receive.buffer.bytes", Int, "102400").doc("The system chooses."),
    absent("socket.listen.backlog.size", Int, "50").doc("The runtime chooses."),
    absent("transaction.state.log.replication.factor", Int, "3").doc("There is one broker."),
    absent("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, "10000").doc("A transaction is aborted when its time is up, not at the next look."),
    absent("transaction.remove.expired.transaction.cleanup.interval.ms", Int, "3600000").doc("A transactional id expires when its time is up, not at the next look."),
    absent("transaction.partition.verification.enable", Boolean, "true").doc("Partitions are always verified."),
    absent("transaction.state.log.min.isr", Int, "2").doc("There is one broker."),
    absent("share.coordinator.state.topic.replication.factor", Int, "3").doc("There are no share groups."),
    absent("share.coordinator.state.topic.min.isr", Int, "2").doc("There are no share groups."),
    absent("log.cleaner.io.buffer.size", Int, "524288").doc("Each compaction has a buffer of its own, and one as large as the largest batch."),
    absent("log.cleaner.io.buffer.load.factor", Double, "0.9").doc("Three quarters of the room for keys are used."),
    absent("log.flush.offset.checkpoint.interval.ms", Int, "60000").doc("Checkpoints follow flushes."),
    absent("log.flush.start.offset.checkpoint.interval.ms", Int, "60000").doc("Checkpoints follow deletions."),
    absent("auto.leader.rebalance.enable", Boolean, "true").doc("There is one broker."),
    absent("leader.imbalance.check.interval.seconds", Long, "300").doc("There is one broker."),
    absent("leader.imbalance.per.broker.percentage", Int, "10").doc("There is one broker."),
    absent("controlled.shutdown.enable", Boolean, "true").doc("There is one broker."),
    absent("replica.lag.time.max.ms", Long, "30000").doc("There are no followers."),
    absent("replica.fetch.max.bytes", Int, "1048576").doc("There are no followers."),
    absent("replica.fetch.wait.max.ms", Int, "500").doc("There are no followers."),
    absent("replica.socket.timeout.ms", Int, "30000").doc("There are no followers."),
    absent("replica.selector.class", Text, "").doc("There are no followers."),
    absent("broker.rack", Text, "").doc("There is one broker."),
    absent("broker.id.generation.enable", Boolean, "true").doc("The id is 0 where none is set."),
    absent("reserved.broker.max.id", Int, "1000").doc("Ids are not generated."),
    absent("inter.broker.protocol.version", Text, "").doc("There is one broker."),
    absent("security.inter.broker.protocol", Text, "PLAINTEXT").doc("There is one broker."),
    absent("log.message.format.version", Text, "").doc("Only the current format is stored."),
    absent("log.message.downconversion.enable", Boolean, "true").doc("Only the current format is served."),
    absent("process.roles", List, "").doc("The broker is its own controller."),
    absent("controller.quorum.voters", List, "").doc("The broker is its own controller."),
    absent("controller.quorum.bootstrap.servers", List, "").doc("The broker is its own controller."),
    absent("metadata.log.dir", Text, "").doc("Metadata lies in the first of `log.dirs`."),
    absent("zookeeper.connect", Text, "").doc("There is no ZooKeeper."),
    absent("zookeeper.connection.timeout.ms", Int, "18000").doc("There is no ZooKeeper."),
    absent("zookeeper.session.timeout.ms", Int, "18000").doc("There is no ZooKeeper."),
    absent("authorizer.class.name", Text, "").doc("There is no authorizer yet."),
    absent("super.users", Text, "").doc("There is no authorizer yet."),
    absent("allow.everyone.if.no.acl.found", Boolean, "true").doc("There is no authorizer yet."),
    absent("sasl.enabled.mechanisms", List, "GSSAPI").doc("There is no authentication yet."),
    absent("sasl.mechanism.inter.broker.protocol", Text, "GSSAPI").doc("There is no authentication yet."),
    absent("ssl.keystore.location", Text, "").doc("There is no TLS yet."),
    absent("ssl.keystore.password", Password, "").doc("There is no TLS yet."),
    absent("ssl.key.password", Password, "").doc("There is no TLS yet."),
    absent("ssl.truststore.location", Text, "").doc("There is no TLS yet."),
    absent("ssl.truststore.password", Password, "").doc("There is no TLS yet."),
    absent("ssl.client.auth", Text, "none").doc("There is no TLS yet."),
    absent("metric.reporters", List, "").doc("There are no Java classes."),
    absent("compression.level", Int, "-1").doc("The broker does not compress."),
    absent("request.timeout.ms", Int, "30000").doc("There is one broker."),
    absent("group.coordinator.rebalance.protocols", List, "classic,consumer,streams").doc("Groups are of the classic or the consumer protocol, as their members are."),
    absent("group.consumer.migration.policy", Text, "bidirectional").doc("Groups move to the consumer protocol and back as their members do."),
    absent("remote.log.storage.system.enable", Boolean, "false").doc("There are no tiers."),
];

const fn row(
    broker: Option<&'static str>,
    topic: Option<&'static str>,
    kind: Kind,
    default: Option<&'static str>,
) -> Setting {
    Setting {
        broker,
        topic,
        kind,
        default,
        unit: 1,
        range: None,
        choices: &[],
        support: Support::Effective,
        dynamic: false,
        documentation: "",
    }
}

const fn broker(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    row(Some(name), None, kind, Some(default))
}

const fn topic(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    row(None, Some(name), kind, Some(default))
}

const fn both(topic: &'static str, broker: &'static str, kind: Kind, default: &'static str) -> Setting {
    row(Some(broker), Some(topic), kind, Some(default)).dynamic()
}

const fn coarser(topic: &'static str, broker: &'static str, kind: Kind, unit_ms: i64) -> Setting {
    let mut setting = row(Some(broker), Some(topic), kind, None);
    setting.unit = unit_ms;
    setting
}

const fn absent(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    let mut setting = broker(name, kind, default);
    setting.support = Support::WithoutCounterpart;
    setting
}

impl Setting {
    const fn range(mut self, least: i64, most: i64) -> Setting {
        self.range = Some((least, most));
        self
    }

    const fn one_of(mut self, choices: &'static [&'static str]) -> Setting {
        self.choices = choices;
        self
    }

    const fn dynamic(mut self) -> Setting {
        self.dynamic = true;
        self
    }

    const fn doc(mut self, documentation: &'static str) -> Setting {
        self.documentation = documentation;
        self
    }
}
