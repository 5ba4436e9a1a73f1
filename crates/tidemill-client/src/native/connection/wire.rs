//! Frames over a stream of bytes: what a connection needs of whatever carries it.
//!
//! ```text
//!   0    4  length of what follows
//!   4       a request or a response, header first
//! ```

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::future::BoxFuture;
use tidemill_protocol::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The host's name or number.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Opens connections to brokers: over TCP, or to a broker in this process without any socket.
pub trait Dial: Send + Sync + 'static {
    /// Opens one. Errors: nobody answers there.
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Wire>>;
}

/// An open connection, in its two directions.
pub struct Wire {
    /// Responses.
    pub source: Box<dyn FrameSource>,
    /// Requests.
    pub sink: Box<dyn FrameSink>,
}

/// Where responses come from.
pub trait FrameSource: Send {
    /// The next response without its length; `None` once the broker has closed.
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>>;
}

/// Where requests go.
pub trait FrameSink: Send {
    /// Sends one request, its length in front.
    fn send(&mut self, frame: Frame) -> BoxFuture<'_, io::Result<()>>;
}

/// Connections over TCP.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) setup_timeout: Duration,
    /// The largest response taken; one that says it is larger ends the connection.
    pub(crate) response_bytes_max: usize,
}

impl Dial for Tcp {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Wire>> {
        Box::pin(async move {
            let connect = TcpStream::connect((address.host.as_str(), address.port));
            let stream = match tokio::time::timeout(self.setup_timeout, connect).await {
                Ok(stream) => stream?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            };
            stream.set_nodelay(true)?;
            let (read, write) = stream.into_split();
            let source = TcpSource {
                read,
                frames: FrameBuffer::new(self.response_bytes_max),
            };
            Ok(Wire {
                source: Box::new(source),
                sink: Box::new(TcpSink { write }),
            })
        })
    }
}

struct TcpSource {
    read: OwnedReadHalf,
    frames: FrameBuffer,
}

impl FrameSource for TcpSource {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>> {
        Box::pin(async move {
            loop {
                if let Some(frame) = self.frames.take()? {
                    return Ok(Some(frame));
                }
                if self.read.read_buf(self.frames.room()).await? == 0 {
                    return if self.frames.is_empty() {
                        Ok(None)
                    } else {
                        Err(io::ErrorKind::UnexpectedEof.into())
                    };
                }
            }
        })
    }
}

struct TcpSink {
    write: OwnedWriteHalf,
}

impl FrameSink for TcpSink {
    fn send(&mut self, mut frame: Frame) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move { self.write.write_all_buf(&mut frame).await })
    }
}

/// Room for one read, when no large frame is under way.
const READ_BYTES: usize = 64 << 10;
/// What a frame's announced length reserves at most before its bytes have come.
const RESERVED_BYTES_MAX: usize = 4 << 20;

/// Cuts received bytes into frames. Pure.
pub(crate) struct FrameBuffer {
    bytes: BytesMut,
    frame_bytes_max: usize,
}

impl FrameBuffer {
    pub(crate) fn new(frame_bytes_max: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            frame_bytes_max,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn announced(&self) -> io::Result<Option<usize>> {
        let Some(prefix) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let announced = i32::from_be_bytes(*prefix);
        match usize::try_from(announced) {
            Ok(len) if len <= self.frame_bytes_max => Ok(Some(len)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a response of {announced} bytes"),
            )),
        }
    }

    /// The next whole frame.
    pub(crate) fn take(&mut self) -> io::Result<Option<Bytes>> {
        let Some(len) = self.announced()? else {
            return Ok(None);
        };
        if self.bytes.len() < 4 + len {
            return Ok(None);
        }
        self.bytes.advance(4);
        Ok(Some(self.bytes.split_to(len).freeze()))
    }

    /// Room to read into: for the rest of the frame under way, as far as it may be believed.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        let missing = match self.announced() {
            Ok(Some(len)) => (4 + len).saturating_sub(self.bytes.len()),
            _ => 0,
        };
        // A large frame grows by what has come, so that a lie about its length costs no more than that.
        let believed = missing.min(RESERVED_BYTES_MAX.max(self.bytes.len()));
        if self.bytes.capacity() - self.bytes.len() < believed.max(1) {
            self.bytes.reserve(believed.max(READ_BYTES));
        }
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_wherever_the_bytes_are() {
        let stream = [&[0, 0, 0, 2][..], b"ab", &[0, 0, 0, 0], &[0, 0, 0, 1], b"c"].concat();
        for cut in 0..stream.len() {
            let mut frames = FrameBuffer::new(10);
            let mut seen = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                frames.room().extend_from_slice(part);
                while let Some(frame) = frames.take().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, ["ab", "", "c"].map(Bytes::from));
            assert!(frames.is_empty());
        }
    }

    #[test]
    fn a_length_that_lies_is_refused_or_reserves_little() {
        for prefix in [[0xff, 0xff, 0xff, 0xff], [0, 0, 0, 11]] {
            let mut frames = FrameBuffer::new(10);
            frames.room().extend_from_slice(&prefix);
            assert!(frames.take().is_err());
        }
        let mut frames = FrameBuffer::new(1 << 30);
        frames.room().extend_from_slice(&(1i32 << 30).to_be_bytes());
        assert!(frames.take().unwrap().is_none());
        assert!(frames.room().capacity() <= 2 * RESERVED_BYTES_MAX);
    }
}
