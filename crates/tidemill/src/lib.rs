//! Stream processing over partitioned logs: broker, streams and clients in one crate.
