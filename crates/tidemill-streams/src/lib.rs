//! The DSL, the topology graph and tasks.
