//! Kafka's wire format: primitives, requests and responses, record batches, compression.
