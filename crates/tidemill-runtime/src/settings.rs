//! The names of all settings, and the one most like a misspelt name.

/// Before a setting's name in the environment.
pub(crate) const ENVIRONMENT_PREFIX: &str = "TIDEMILL_";

/// Settings of the runtime itself.
pub(crate) const SETTINGS: &[&str] = &[
    "application.id",
    "application.server",
    "auto.offset.reset",
    "buffered.records.per.partition",
    "client.id",
    "commit.interval.ms",
    "delete.retention.ms",
    "group.instance.id",
    "headers.preserve",
    "input.buffer.max.bytes",
    "max.task.idle.ms",
    "num.stream.threads",
    "poll.ms",
    "processing.guarantee",
    "repartition.purge.interval.ms",
    "replication.factor",
    "state.dir",
    "state.memory.bytes",
    "statestore.cache.max.bytes",
    "task.memory.max.bytes",
    "topology.changes",
    "transaction.timeout.ms",
];

/// Settings that go to the client as they are.
pub(crate) const CLIENT_SETTINGS: &[&str] = &[
    "acks",
    "batch.size",
    "bootstrap.servers",
    "broker.address.family",
    "buffer.memory",
    "check.crcs",
    "client.dns.lookup",
    "client.library",
    "client.rack",
    "compression.type",
    "connections.max.idle.ms",
    "debug",
    "delivery.timeout.ms",
    "enable.idempotence",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.request.size",
    "message.max.bytes",
    "metadata.max.age.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "socket.timeout.ms",
    "statistics.interval.ms",
];

/// Settings with these beginnings go to the client too; `consumer.` and `producer.` to that one only.
pub(crate) const CLIENT_PREFIXES: &[&str] = &["consumer.", "producer.", "sasl.", "socket.", "ssl."];

/// The name most like `name`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a &'a str>) -> Option<&'a str> {
    let near_enough = name.len() / 3 + 1;
    names
        .map(|known| (distance(name, known), *known))
        .min()
        .filter(|(d, _)| *d <= near_enough)
        .map(|(_, known)| known)
}

/// Levenshtein's: insertions, deletions and replacements from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((j, to), above) in b.iter().enumerate().zip(row.windows(2)) {
            let &[diagonal, above] = above else { continue };
            let left = next.get(j).copied().unwrap_or(usize::MAX - 1);
            next.push((diagonal + usize::from(from != *to)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, d) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("poll.ms", "pol.ms", 1),
        ] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }
}
