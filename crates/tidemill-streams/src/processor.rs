//! Operators of the user's own: what they implement, what they see, where their results go.

mod bound;
mod child;
mod context;
mod due;
mod expiry;
mod fixed_key;
mod forward;
mod key_timers;
mod key_values;
mod read_only;
mod rows;
mod sessions;
mod stores;
mod versions;
mod windows;

use tidemill_data::{BoxError, Timestamp};

use crate::{Record, ScheduleId};

pub use child::Child;
pub(crate) use child::Children;
pub use context::{ProcessorContext, RecordMetadata, Timers};
pub(crate) use due::{BY_TIME, Due, DueStore, due_entries, time_bytes};
pub(crate) use fixed_key::Fixed;
pub use fixed_key::{FixedKeyProcessor, FixedKeyRecord, ForwardValues};
pub use forward::Forward;
pub use key_timers::KeyTimers;
pub use key_values::KeyValues;
pub use read_only::ReadOnlyKeyValues;
pub use rows::StoreRows;
pub use sessions::Sessions;
pub(crate) use stores::Connected;
pub use stores::Stores;
pub use versions::{Versioned, Versions};
pub use windows::Windows;

/// An operator of the user's own. Every task has one of its own, made by the closure given to
/// [`KStream::process`](crate::KStream::process).
///
/// What it keeps in its fields is lost when the task moves or restarts; what it keeps in stores is not: see
/// [`KStream::process_with`](crate::KStream::process_with).
pub trait Processor<K, V, L, W>: Send + 'static {
    /// Called once, when the task starts: the place to make schedules. State is not restored yet.
    fn start(&mut self, _timers: &mut Timers<'_>) {}

    /// Called with each record.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    fn process(&mut self, record: Record<K, V>, to: &mut Forward<'_, L, W>) -> Result<(), BoxError>;

    /// Called when a schedule is due: by stream time after a record, by the wall clock at any time.
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    fn punctuate(
        &mut self,
        _schedule: ScheduleId,
        _now: Timestamp,
        _to: &mut Forward<'_, L, W>,
    ) -> Result<(), BoxError> {
        Ok(())
    }

    /// Called when the timer of a key is due: see [`KeyTimers`].
    ///
    /// # Errors
    /// As user code says; the policy decides what follows.
    fn timer(&mut self, _key: K, _due: Timestamp, _to: &mut Forward<'_, L, W>) -> Result<(), BoxError> {
        Ok(())
    }
}
