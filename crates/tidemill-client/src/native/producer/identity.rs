//! Whose batches they are: what an idempotent producer has to know before it sends, and when it has to ask again.
//!
//! ```text
//!  Unneeded (not idempotent)
//!  Wanted ──ask──▶ Asking ──answer──▶ Known ──a gap in sequences──▶ Renewing ──nothing under way──▶ Wanted
//!                    └──refused──▶ Refused
//! ```

/// A producer id and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerId {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The producer is not idempotent.
    Unneeded,
    /// To be asked for.
    Wanted,
    /// Asked for.
    Asking,
    Known(ProducerId),
    /// Sequence numbers have a gap. Once nothing is under way any more, all that is left begins anew under another id.
    Renewing,
    /// There is none to be had.
    Refused(String),
}
