//! The records field of Produce and Fetch: opaque batches, in one piece or in several.

use bytes::{Bytes, BytesMut};

/// Record batches as they lie on the wire, never copied on the way in or out.
///
/// What was received is one piece; what a log answers may be several, one behind the other.
#[derive(Debug, Clone, Default)]
pub struct Records {
    first: Bytes,
    // Invariant: no piece in here is empty.
    rest: Vec<Bytes>,
}

impl Records {
    /// No batches.
    pub const fn new() -> Self {
        Records {
            first: Bytes::new(),
            rest: Vec::new(),
        }
    }

    /// Adds batches behind those already here.
    pub fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() {
            self.first = piece;
        } else if !piece.is_empty() {
            self.rest.push(piece);
        }
    }

    /// How many bytes all pieces have together.
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first)
            .chain(&self.rest)
            .filter(|piece| !piece.is_empty())
    }

    /// All of it as one slice: shared if it is one piece (what is received always is), else copied together.
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut whole = BytesMut::with_capacity(self.len());
        self.pieces().for_each(|piece| whole.extend_from_slice(piece));
        whole.freeze()
    }
}

impl From<Bytes> for Records {
    fn from(piece: Bytes) -> Self {
        Records {
            first: piece,
            rest: Vec::new(),
        }
    }
}

impl From<Vec<u8>> for Records {
    fn from(piece: Vec<u8>) -> Self {
        Bytes::from(piece).into()
    }
}

impl FromIterator<Bytes> for Records {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut records = Records::new();
        pieces.into_iter().for_each(|piece| records.push(piece));
        records
    }
}

/// Equal bytes, however they are cut.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.pieces().flatten().eq(other.pieces().flatten())
    }
}

impl Eq for Records {}
