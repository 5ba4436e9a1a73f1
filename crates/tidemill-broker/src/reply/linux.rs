//! What Linux offers for sending files.

use std::fs::File;
use std::io::{self, IoSlice};

use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::net::TcpStream;

/// Writes some of `slices`, of something that goes on.
pub(super) fn write_more(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    Ok(rustix::net::sendmsg(
        stream,
        slices,
        &mut SendAncillaryBuffer::default(),
        flags,
    )?)
}

/// Sends some of `file` without copying it through this process; 0 at the file's end.
pub(super) fn send_file(stream: &TcpStream, file: &File, position: u64, len: usize) -> io::Result<usize> {
    let mut position = position;
    Ok(rustix::fs::sendfile(stream, file, Some(&mut position), len)?)
}
