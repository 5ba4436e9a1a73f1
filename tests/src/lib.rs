//! The integration tests and what they share.
