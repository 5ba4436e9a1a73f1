//! Sending files where the system has no `sendfile` that we know: through a buffer.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;

use tokio::net::TcpStream;

/// What is copied at once.
const BUFFER: usize = 64 * 1024;

/// Writes some of `slices`.
pub(super) fn write_more(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    stream.try_write_vectored(slices)
}

/// Sends some of `file`; 0 at the file's end.
pub(super) fn send_file(stream: &TcpStream, file: &File, position: u64, len: usize) -> io::Result<usize> {
    let mut buffer = vec![0; len.min(BUFFER)];
    let read = file.read_at(&mut buffer, position)?;
    match buffer.get(..read) {
        None | Some([]) => Ok(0),
        Some(bytes) => stream.try_write(bytes),
    }
}
