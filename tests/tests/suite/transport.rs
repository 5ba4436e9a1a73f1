//! What every `Transport` promises: in memory, and against our broker on librdkafka and on our own client, with a socket
//! and without.

#[path = "transport/clusters.rs"]
mod clusters;
#[path = "transport/groups.rs"]
mod groups;
#[path = "transport/records.rs"]
mod records;
#[path = "transport/transactions.rs"]
mod transactions;
