//! `#[derive(Data)]`.
