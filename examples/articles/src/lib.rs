//! The article pipeline: feeds in, recommendations out, on Tidemill.
//!
//! ```text
//! feeds ─ fetch ─ parse ─▶ raw-items ─ clean ─ exact and near duplicates ─▶ articles ─┐
//! clicks ──────────────────────────────▶ reader profiles ──────── match ◀────────────┘
//!                                                                   └──▶ recommendations
//! ```
//!
//! Every stage keeps sets, keyed by article and by click, never counts: a record that is delivered twice changes
//! nothing, and the final recommendations are a function of what was read, not of when.

pub mod api;
pub mod canonical_url;
pub mod charset;
pub mod clean;
pub mod corpus;
pub mod cursors;
pub mod evaluation;
pub mod feed;
pub mod feed_server;
pub mod feed_sources;
pub mod fetch;
pub mod intake;
pub mod library;
pub mod matcher;
pub mod matching;
pub mod model;
pub mod near_duplicate;
pub mod options;
pub mod pipeline;
pub mod progress;
pub mod quiet;
pub mod report;
pub mod sample;
pub mod standing;
pub mod text_index;
pub mod topics;
pub mod topology;
