//! A broker that speaks Kafka's protocol, in any tokio program.
