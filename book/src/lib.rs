//! The book. Each chapter is a module here, so that `cargo test --doc` compiles and runs every code block. The pages in
//! `examples/` quote the programs of tidemill-examples, whose tests hold them to it.

#[doc = include_str!("five_minutes.md")]
pub mod five_minutes {}

#[doc = include_str!("word_count_grows_up.md")]
pub mod word_count_grows_up {}

#[doc = include_str!("operators.md")]
pub mod operators {}

#[doc = include_str!("windows.md")]
pub mod windows {}

#[doc = include_str!("joins.md")]
pub mod joins {}

#[doc = include_str!("processors.md")]
pub mod processors {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("async.md")]
pub mod async_calls {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("queries.md")]
pub mod queries {}

#[doc = include_str!("exactly_once.md")]
pub mod exactly_once {}

#[doc = include_str!("upgrading.md")]
pub mod upgrading {}

#[doc = include_str!("broker.md")]
pub mod broker {}

#[doc = include_str!("moving_from_kafka_streams.md")]
pub mod moving_from_kafka_streams {}

#[doc = include_str!("../../README.md")]
pub mod readme {}
