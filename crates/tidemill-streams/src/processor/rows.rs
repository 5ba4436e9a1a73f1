//! Rows of a store, one after the other.

use tidemill_data::BoxError;

use super::context::stop;
use crate::failure::Halt;

/// Rows of a store, one after the other. While they are read the processor can do nothing else; to forward or write for
/// each, collect them first.
pub struct StoreRows<'a, R> {
    next: Box<dyn FnMut() -> Result<Option<R>, Halt> + 'a>,
    halted: &'a mut Option<Halt>,
    ended: bool,
}

impl<'a, R> StoreRows<'a, R> {
    pub(crate) fn new(
        halted: &'a mut Option<Halt>,
        next: impl FnMut() -> Result<Option<R>, Halt> + 'a,
    ) -> Self {
        Self {
            next: Box::new(next),
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
            Ok(Some(row)) => Some(Ok(row)),
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
