//! A message on its way out: chunks for one vectored write.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::{EncodeError, KString, Message, Request, RequestHeader, ResponseHeader, Writer};

/// Encoded bytes in order, in as many chunks as it took not to copy the large ones.
///
/// As a [`Buf`] it goes to a socket by a vectored write.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    // Invariant: no chunk is empty.
    chunks: VecDeque<Bytes>,
}

impl Frame {
    pub(crate) fn from_parts(mut copied: Bytes, shared: Vec<(usize, Bytes)>) -> Self {
        let mut chunks = VecDeque::with_capacity(1 + 2 * shared.len());
        let mut done = 0;
        for (at, bytes) in shared {
            let before = copied.split_to(at - done);
            done = at;
            chunks.extend([before, bytes].into_iter().filter(|chunk| !chunk.is_empty()));
        }
        chunks.extend(Some(copied).filter(|chunk| !chunk.is_empty()));
        Frame { chunks }
    }

    /// The chunks in order.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter()
    }

    /// All of it in one piece: copied together if it is more than one chunk.
    pub fn into_bytes(mut self) -> Bytes {
        if self.chunks.len() < 2 {
            return self.chunks.pop_front().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.remaining());
        self.chunks
            .iter()
            .for_each(|chunk| whole.extend_from_slice(chunk));
        whole.freeze()
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk)
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let front = self
                .chunks
                .front_mut()
                .expect("advanced past the end of the frame");
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.chunks.pop_front();
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.chunks);
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
