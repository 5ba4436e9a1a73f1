//! A message on its way out: chunks for one vectored write.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::{EncodeError, KString, Message, Piece, Request, RequestHeader, ResponseHeader, Writer};

/// Encoded bytes in order, in as many chunks as it took not to copy the large ones, with gaps for what its sender has.
///
/// As a [`Buf`] it goes to a socket by a vectored write; as such it ends at its next gap.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    // Invariant: no piece is empty.
    pieces: VecDeque<Piece>,
}

impl Frame {
    pub(crate) fn from_parts(mut copied: Bytes, shared: Vec<(usize, Piece)>) -> Self {
        let mut pieces = VecDeque::with_capacity(1 + 2 * shared.len());
        let mut done = 0;
        for (at, piece) in shared {
            let before = Piece::Bytes(copied.split_to(at - done));
            done = at;
            pieces.extend([before, piece].into_iter().filter(|piece| !piece.is_empty()));
        }
        pieces.extend(Some(Piece::Bytes(copied)).filter(|piece| !piece.is_empty()));
        Frame { pieces }
    }

    /// The pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }

    /// Takes the gap that the frame begins with, if it does: as many bytes must be sent in its place.
    pub fn take_gap(&mut self) -> Option<usize> {
        let Some(Piece::Gap(len)) = self.pieces.front() else {
            return None;
        };
        let len = *len;
        self.pieces.pop_front();
        Some(len)
    }

    /// All of it up to the first gap in one piece: copied together if it is more than one chunk.
    pub fn into_bytes(self) -> Bytes {
        let mut chunks = self.chunks();
        if let (Some(only), None) = (chunks.next(), chunks.next()) {
            return only.clone();
        }
        let mut whole = BytesMut::with_capacity(self.remaining());
        self.chunks().for_each(|chunk| whole.extend_from_slice(chunk));
        whole.freeze()
    }

    /// The chunks up to the next gap.
    fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter().map_while(|piece| match piece {
            Piece::Bytes(bytes) => Some(bytes),
            Piece::Gap(_) => None,
        })
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.chunks().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.chunks().next().map_or(&[], |chunk| chunk)
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(Piece::Bytes(front)) = self.pieces.front_mut() else {
                panic!("advanced past the end of the frame, or into a gap");
            };
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.pieces.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(self.chunks());
        filled.map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }
}

/// A request as it goes on the wire: length, header in the version the API's version asks for, body.
///
/// # Errors
/// Something is longer than the wire can say.
pub fn request_frame<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<KString>,
) -> Result<Frame, EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY.into(),
        api_version: version,
        correlation_id,
        client_id,
    };
    let mut writer = Writer::with_capacity(256);
    writer.i32(0);
    header.encode(&mut writer);
    request.encode(&mut writer, version);
    writer.finish_framed()
}

/// A response as it goes on the wire: length, header, body.
///
/// # Errors
/// Something is longer than the wire can say.
pub fn response_frame<M: Message>(
    response: &M,
    version: i16,
    correlation_id: i32,
) -> Result<Frame, EncodeError> {
    let mut writer = Writer::with_capacity(256);
    writer.i32(0);
    ResponseHeader { correlation_id }.encode(&mut writer, M::KEY, version);
    response.encode(&mut writer, version);
    writer.finish_framed()
}
