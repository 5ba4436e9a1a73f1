//! A question a file: see `examples/*.rs`.
