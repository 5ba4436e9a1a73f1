//! In what form answers come: the rows alone, or together with the position they reflect.

use super::Position;

/// What was found, and how far the inputs are reflected in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer<T> {
    /// The row or rows.
    pub found: T,
    /// Of each input partition of the tasks that answered, the offset of the last record.
    pub position: Position,
}

impl<T> Answer<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer {
            found: change(self.found),
            position: self.position,
        }
    }
}

/// The form of a [`StoreQuery`](crate::StoreQuery)'s answers: [`Rows`] or [`RowsAndPosition`].
pub trait Form: sealed::Sealed + 'static {
    /// An answer in which `T` was found.
    type Of<T>;

    /// An answer in this form.
    fn of<T>(answer: Answer<T>) -> Self::Of<T>;
}

/// What was found, by itself.
#[derive(Clone, Copy, Debug)]
pub struct Rows;

/// What was found as an [`Answer`], with its position.
#[derive(Clone, Copy, Debug)]
pub struct RowsAndPosition;

impl Form for Rows {
    type Of<T> = T;

    fn of<T>(answer: Answer<T>) -> T {
        answer.found
    }
}

impl Form for RowsAndPosition {
    type Of<T> = Answer<T>;

    fn of<T>(answer: Answer<T>) -> Answer<T> {
        answer
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Rows {}
    impl Sealed for super::RowsAndPosition {}
}
