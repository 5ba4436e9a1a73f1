//! Which stores a processor is connected to.

use std::sync::Arc;

use super::DueStore;
use crate::graph::{NodeId, StoreIndex};

/// Handles of the stores a processor is connected to: one handle, or a tuple of several.
///
/// A store that is given to several processors is shared by them, which then run in one task.
pub trait Stores: Clone + Send + Sync + 'static + Sealed {}

/// Keeps the set of handles to those of this crate, and connects them.
pub trait Sealed {
    /// Adds the stores.
    fn connect(&self, to: &mut Connected);
}

/// The stores of one processor.
#[derive(Default)]
pub struct Connected {
    pub(crate) stores: Vec<StoreIndex>,
    pub(crate) due: Vec<Arc<dyn DueStore>>,
    // Sources of the stores that are filled straight from a topic.
    pub(crate) sources: Vec<NodeId>,
}

impl Stores for () {}

impl Sealed for () {
    fn connect(&self, _: &mut Connected) {}
}

macro_rules! tuples {
    ($($($name:ident)+;)+) => {$(
        impl<$($name: Stores),+> Stores for ($($name,)+) {}

        impl<$($name: Stores),+> Sealed for ($($name,)+) {
            fn connect(&self, to: &mut Connected) {
                #[allow(non_snake_case, reason = "one name for a type and its value")]
                let ($($name,)+) = self;
                $($name.connect(to);)+
            }
        }
    )+};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}

/// The handle of a store by itself.
macro_rules! handle {
    ($name:ident<$($of:ident),+>) => {
        impl<$($of: 'static),+> $crate::Stores for $name<$($of),+> {}

        impl<$($of: 'static),+> $crate::processor::stores::Sealed for $name<$($of),+> {
            fn connect(&self, to: &mut $crate::processor::Connected) {
                to.stores.push(self.bound.place.index);
            }
        }
    };
}

pub(super) use handle;
