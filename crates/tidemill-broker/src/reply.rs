//! An answer on its way to its connection: bytes in memory, and ranges of files that go by `sendfile`.

use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tidemill_log::FileRange;
use tidemill_protocol::Frame;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

#[cfg_attr(not(target_os = "linux"), path = "reply/copied.rs")]
#[cfg_attr(target_os = "linux", path = "reply/linux.rs")]
mod system;

/// The length before a response.
const LENGTH: usize = 4;
/// Chunks of one vectored write. More are left for the next one.
const SLICES_MAX: usize = 64;

/// A response: a frame, and what belongs into its gaps.
#[derive(Debug)]
pub(crate) struct Reply {
    frame: Frame,
    // Invariant: one for each gap of the frame, in their order, of the gap's length.
    files: Vec<FileRange>,
}

impl Reply {
    /// `frame`, whose gaps are as long as `files`, one by one.
    pub(crate) fn new(frame: Frame, files: Vec<FileRange>) -> Reply {
        Reply { frame, files }
    }

    /// All of it in memory, without the length in front.
    ///
    /// # Errors
    /// A file could not be read.
    pub(crate) fn into_bytes(mut self) -> io::Result<Bytes> {
        let mut whole = BytesMut::with_capacity(self.files.iter().map(FileRange::len).sum());
        for range in &self.files {
            whole.put(&mut self.frame);
            self.frame.take_gap();
            whole.extend_from_slice(&range.read().map_err(io::Error::other)?);
        }
        whole.put(&mut self.frame);
        whole.advance(LENGTH);
        Ok(whole.freeze())
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The peer is gone; or, as [`io::ErrorKind::UnexpectedEof`], a file is shorter than it was.
    pub(crate) async fn send(mut self, stream: &mut TcpStream) -> io::Result<()> {
        for range in &self.files {
            send_before_file(stream, &mut self.frame).await?;
            let gap = self.frame.take_gap();
            assert_eq!(
                gap,
                Some(range.len()),
                "a gap of the range's length for each range"
            );
            send_range(stream, range).await?;
        }
        stream.write_all_buf(&mut self.frame).await
    }
}

/// Writes up to the next gap, and tells the kernel that more follows, so that the peer is not woken for a header.
async fn send_before_file(stream: &TcpStream, frame: &mut Frame) -> io::Result<()> {
    while frame.has_remaining() {
        let write = || {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = frame.chunks_vectored(&mut slices);
            system::write_more(stream, slices.get(..filled).unwrap_or_default())
        };
        let written = stream.async_io(Interest::WRITABLE, write).await?;
        frame.advance(written);
    }
    Ok(())
}

async fn send_range(stream: &TcpStream, range: &FileRange) -> io::Result<()> {
    let file = range.file().ok_or(io::ErrorKind::Unsupported)?;
    let (mut position, mut left) = (range.position(), range.len());
    while left > 0 {
        let send = || system::send_file(stream, file, position, left);
        let sent = stream.async_io(Interest::WRITABLE, send).await?;
        if sent == 0 {
            let message = format!("a segment ends {left} bytes before the end of its records");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        position += sent as u64;
        left -= sent;
    }
    Ok(())
}
