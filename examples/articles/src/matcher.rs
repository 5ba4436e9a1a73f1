//! The catalogue as the topology sees it: one snapshot at a time, exchanged as a whole.

use std::sync::{Arc, Mutex};

use crate::matching::Catalogue;
use crate::model::{Profile, Recommendations};

/// Matches against the latest catalogue.
///
/// It is empty after a start. Rounds left over from before a crash then recommend nothing, and the start's own
/// first round, which follows when the stores have been read, replaces them all.
#[derive(Default)]
pub struct Matcher {
    // Guards the exchange of the snapshot; matching itself runs outside of it.
    current: Mutex<Option<Arc<Catalogue>>>,
}

impl Matcher {
    /// Exchanges the catalogue.
    pub fn replace(&self, catalogue: Arc<Catalogue>) {
        *self.current.lock().expect("exchanging does not panic") = Some(catalogue);
    }

    /// The catalogue in use, if there has been one.
    pub fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.current.lock().expect("exchanging does not panic").clone()
    }

    /// What a reader should see next; `None` before there is a catalogue.
    pub fn recommend(&self, profile: &Profile) -> Option<Recommendations> {
        Some(self.catalogue()?.recommend(profile))
    }
}
