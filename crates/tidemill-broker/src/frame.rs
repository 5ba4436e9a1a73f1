//! Frames: a 32-bit length, then that many bytes.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OwnedSemaphorePermit;

use crate::admission::RequestMemory;

const LENGTH: usize = 4;
/// What is read at once. Many small requests share one such buffer.
const CHUNK: usize = 64 * 1024;
/// What is set aside at once for a frame that is still arriving: the buffer grows with what was sent, not with what was
/// announced.
const GROWTH_MAX: usize = 1024 * 1024;

/// Why no more frames can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes")]
    Negative(i32),
    #[error("a frame of {length} bytes, at most {max} are allowed")]
    TooLarge { length: usize, max: usize },
    #[error("the connection ended inside a frame")]
    Truncated,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Cuts what arrives into frames.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: BytesMut,
    bytes_max: usize,
    memory: RequestMemory,
    // Held from when a large frame begins to arrive until it is released.
    room: Option<OwnedSemaphorePermit>,
}

impl FrameReader {
    /// A reader of frames of at most `bytes_max` bytes, that takes the room for large ones from `memory`.
    pub(crate) fn new(bytes_max: usize, memory: RequestMemory) -> FrameReader {
        FrameReader {
            buffer: BytesMut::new(),
            bytes_max,
            memory,
            room: None,
        }
    }

    /// Gives back the room of the last frame.
    pub(crate) fn release(&mut self) {
        self.room = None;
    }

    /// The next frame; none when the connection ended between two.
    pub(crate) async fn next(
        &mut self,
        source: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<Bytes>, FrameError> {
        loop {
            let missing = match self.take()? {
                Taken::Frame(frame) => return Ok(Some(frame)),
                Taken::Missing(missing) => missing,
            };
            // What is small is bounded by the number of connections.
            if missing > CHUNK && self.room.is_none() {
                self.room = Some(self.memory.take(missing).await);
            }
            if self.buffer.capacity() == self.buffer.len() || missing > CHUNK {
                self.buffer.reserve(missing.clamp(CHUNK, GROWTH_MAX));
            }
            if source.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(FrameError::Truncated)
                };
            }
        }
    }

    /// Whether nothing has arrived beyond the last frame.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// A frame that is already here, without waiting.
    fn take(&mut self) -> Result<Taken, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<LENGTH>() else {
            return Ok(Taken::Missing(LENGTH - self.buffer.len()));
        };
        let announced = i32::from_be_bytes(*prefix);
        let length = usize::try_from(announced).map_err(|_| FrameError::Negative(announced))?;
        if length > self.bytes_max {
            return Err(FrameError::TooLarge {
                length,
                max: self.bytes_max,
            });
        }
        let whole = LENGTH + length;
        if self.buffer.len() < whole {
            return Ok(Taken::Missing(whole - self.buffer.len()));
        }
        let mut frame = self.buffer.split_to(whole).freeze();
        Ok(Taken::Frame(frame.split_off(LENGTH)))
    }
}

enum Taken {
    Frame(Bytes),
    Missing(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(bytes: &[u8]) -> (Vec<Bytes>, Option<FrameError>) {
        let (mut reader, mut source) = (FrameReader::new(10, RequestMemory::new(None)), bytes);
        let mut found = Vec::new();
        loop {
            match reader.next(&mut source).await {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn frames_come_one_by_one_out_of_one_read() {
        let (found, error) = frames(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c").await;
        assert_eq!(found, ["ab", "", "c"]);
        assert!(error.is_none());
    }

    #[tokio::test]
    async fn negative_oversized_and_truncated_frames_are_errors() {
        assert!(matches!(
            frames(b"\xff\xff\xff\xff").await.1,
            Some(FrameError::Negative(-1))
        ));
        let (found, error) = frames(b"\0\0\0\x01a\0\0\0\x0b").await;
        assert_eq!(found, ["a"]);
        assert!(matches!(
            error,
            Some(FrameError::TooLarge { length: 11, max: 10 })
        ));
        assert!(matches!(
            frames(b"\0\0\0\x05ab").await.1,
            Some(FrameError::Truncated)
        ));
        assert!(matches!(frames(b"\0\0").await.1, Some(FrameError::Truncated)));
    }

    #[tokio::test]
    async fn an_announced_length_is_not_set_aside_before_it_arrives() {
        let mut reader = FrameReader::new(100 << 20, RequestMemory::new(None));
        let mut source: &[u8] = &[6, 0, 0, 0, 1, 2, 3];
        assert!(matches!(
            reader.next(&mut source).await,
            Err(FrameError::Truncated)
        ));
        assert!(reader.buffer.capacity() <= GROWTH_MAX + CHUNK);
    }
}
