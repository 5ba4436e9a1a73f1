//! Rows of a store, one after the other.

use tidemill_data::{BoxError, Headers};

use super::context::stop;
use crate::failure::Halt;

/// Rows of a store, one after the other. While they are read the processor can do nothing else; to forward or write for
/// each, collect them first.
pub struct StoreRows<'a, R> {
    next: Box<dyn FnMut() -> Next<R> + 'a>,
    // Of the row that came last.
    pub(super) headers: Headers,
    halted: &'a mut Option<Halt>,
    ended: bool,
}

/// A row and its headers, if there is one more.
pub(crate) type Next<R> = Result<Option<(R, Headers)>, Halt>;

impl<'a, R> StoreRows<'a, R> {
    pub(crate) fn new(halted: &'a mut Option<Halt>, next: impl FnMut() -> Next<R> + 'a) -> Self {
        Self {
            next: Box::new(next),
            headers: Headers::new(),
            halted,
            ended: false,
        }
    }
}

impl<R> Iterator for StoreRows<'_, R> {
    type Item = Result<R, BoxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match (self.next)() {
            Ok(Some((row, headers))) => {
                self.headers = headers;
                Some(Ok(row))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(halt) => {
                self.ended = true;
                Some(Err(stop(self.halted, halt)))
            }
        }
    }
}
