//! The integration tests and what they share: the interpreter of the oracle's cases.

pub mod oracle;
