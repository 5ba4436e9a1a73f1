//! The records field of Produce and Fetch: opaque batches, in one piece or in several.

use bytes::{Bytes, BytesMut};

/// A piece of something that goes on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Bytes(Bytes),
    /// Room for this many bytes that whoever sends the frame puts in, as by `sendfile`.
    Gap(usize),
}

impl Piece {
    /// How many bytes it has, or leaves room for.
    pub fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Gap(len) => *len,
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Record batches as they lie on the wire, never copied on the way in or out.
///
/// What was received is one piece; what a log answers may be several, one behind the other, and may lie in a file, for
/// which a gap is left.
#[derive(Debug, Clone)]
pub struct Records {
    // Invariant: a gap is not empty, and an empty piece stands alone.
    first: Piece,
    // Invariant: no piece in here is empty.
    rest: Vec<Piece>,
}

impl Records {
    /// No batches.
    pub const fn new() -> Self {
        Records {
            first: Piece::Bytes(Bytes::new()),
            rest: Vec::new(),
        }
    }

    /// Adds batches behind those already here.
    pub fn push(&mut self, piece: Bytes) {
        self.push_piece(Piece::Bytes(piece));
    }

    /// Leaves room for `len` bytes of batches behind those already here.
    pub fn push_gap(&mut self, len: usize) {
        self.push_piece(Piece::Gap(len));
    }

    fn push_piece(&mut self, piece: Piece) {
        if piece.is_empty() {
            return;
        }
        if self.first.is_empty() {
            self.first = piece;
        } else {
            self.rest.push(piece);
        }
    }

    /// How many bytes all pieces have together.
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.iter().map(Piece::len).sum::<usize>()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        std::iter::once(&self.first)
            .chain(&self.rest)
            .filter(|piece| !piece.is_empty())
    }

    /// All of it as one slice: shared if it is one piece (what is received always is), else copied together.
    ///
    /// # Panics
    /// When there is a gap: its bytes are not here.
    pub fn into_bytes(self) -> Bytes {
        if let (Piece::Bytes(first), []) = (&self.first, &*self.rest) {
            return first.clone();
        }
        let mut whole = BytesMut::with_capacity(self.len());
        for piece in self.pieces() {
            match piece {
                Piece::Bytes(bytes) => whole.extend_from_slice(bytes),
                Piece::Gap(len) => panic!("{len} bytes of these records lie elsewhere"),
            }
        }
        whole.freeze()
    }

    /// The bytes one by one; those of gaps are unknown.
    fn each(&self) -> impl Iterator<Item = Option<u8>> {
        self.pieces().flat_map(|piece| {
            let (bytes, gap): (&[u8], usize) = match piece {
                Piece::Bytes(bytes) => (bytes, 0),
                Piece::Gap(len) => (&[], *len),
            };
            bytes
                .iter()
                .copied()
                .map(Some)
                .chain(std::iter::repeat_n(None, gap))
        })
    }
}

impl Default for Records {
    fn default() -> Self {
        Records::new()
    }
}

impl From<Bytes> for Records {
    fn from(piece: Bytes) -> Self {
        Records {
            first: Piece::Bytes(piece),
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

/// Equal bytes and gaps, however they are cut.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.each().eq(other.each())
    }
}

impl Eq for Records {}
