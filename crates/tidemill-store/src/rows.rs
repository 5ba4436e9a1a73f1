//! A scan of the database and the overlay as one.

use std::cmp::Ordering;

use tidemill_data::Headers;

use crate::{
    Cursor, Direction, StoreError,
    overlay::OverlayCursor,
    stored_headers::{self, NO_HEADERS},
};

/// A place in a scan over a store: what is committed, with what was written since on top.
///
/// ```
/// # use std::sync::Arc;
/// # use tidemill_data::Timestamp;
/// # use tidemill_store::{Direction, MemoryByteStore, StateStores, StoreId, StoreKind, StoreOptions, StoreSpec};
/// # let base = Arc::new(MemoryByteStore::new(&["s"]));
/// # let specs = [StoreSpec::new("s", StoreKind::KeyValue)];
/// # let mut stores = StateStores::open(base, &specs, &StoreOptions::default())?;
/// # let store = stores.key_value(StoreId::new(0));
/// store.put(b"a", b"1", Timestamp::MIN);
/// store.put(b"b", b"2", Timestamp::MIN);
/// let mut rows = store.all(Direction::Backward)?;
/// let mut keys = Vec::new();
/// while let Some((key, _value)) = rows.entry() {
///     keys.push(key.to_vec());
///     rows.advance()?;
/// }
/// assert_eq!(keys, [b"b", b"a"]);
/// # Ok::<(), tidemill_store::StoreError>(())
/// ```
pub struct Rows<'a> {
    base: Box<dyn Cursor + 'a>,
    overlay: OverlayCursor<'a>,
    direction: Direction,
    keeps_headers: bool,
    at: Side,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Base,
    Overlay,
    End,
}

impl<'a> Rows<'a> {
    pub(crate) fn merge(
        base: Box<dyn Cursor + 'a>,
        overlay: OverlayCursor<'a>,
        direction: Direction,
        keeps_headers: bool,
    ) -> Result<Self, StoreError> {
        let mut rows = Self {
            base,
            overlay,
            direction,
            keeps_headers,
            at: Side::End,
        };
        rows.settle()?;
        Ok(rows)
    }

    /// The key and value at this place; `None` at the end.
    #[must_use]
    pub fn entry(&self) -> Option<(&[u8], &[u8])> {
        let (key, row) = self.row()?;
        if !self.keeps_headers {
            return Some((key, row));
        }
        // A row without its headers has no value either: whoever takes it apart says so.
        let value = stored_headers::split(row).map_or(&[][..], |(value, _)| value);
        Some((key, value))
    }

    /// The headers of the row at this place, where they are kept.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn headers(&self) -> Result<Headers, StoreError> {
        let Some((_, row)) = self.row().filter(|_| self.keeps_headers) else {
            return Ok(Headers::new());
        };
        let (_, headers) = stored_headers::split(row).ok_or(NO_HEADERS)?;
        stored_headers::decode(headers)
    }

    fn row(&self) -> Option<(&[u8], &[u8])> {
        match self.at {
            Side::Base => self.base.entry(),
            Side::Overlay => self.overlay.at().and_then(|(key, value)| Some((key, value?))),
            Side::End => None,
        }
    }

    /// Goes to the next row; at the end it stays there.
    ///
    /// # Errors
    /// When the database cannot be read. The scan is then at its end.
    pub fn advance(&mut self) -> Result<(), StoreError> {
        match self.at {
            Side::Base => self.base.advance().inspect_err(|_| self.at = Side::End)?,
            Side::Overlay => self.overlay.advance(),
            Side::End => return Ok(()),
        }
        self.settle()
    }

    /// Finds out which side has the next row, skipping rows that the overlay deletes or replaces.
    fn settle(&mut self) -> Result<(), StoreError> {
        self.at = Side::End;
        loop {
            let order = match (self.base.entry(), self.overlay.at()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((base, _)), Some((overlay, _))) => match self.direction {
                    Direction::Forward => base.cmp(overlay),
                    Direction::Backward => overlay.cmp(base),
                },
            };
            match order {
                Ordering::Less => {
                    self.at = Side::Base;
                    return Ok(());
                }
                // The overlay's row of a key replaces the database's.
                Ordering::Equal => self.base.advance()?,
                Ordering::Greater if matches!(self.overlay.at(), Some((_, None))) => self.overlay.advance(),
                Ordering::Greater => {
                    self.at = Side::Overlay;
                    return Ok(());
                }
            }
        }
    }
}
