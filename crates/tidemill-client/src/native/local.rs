//! Connections to a broker in this process: frames change hands, no socket is between.

use std::io;

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use tidemill_broker::{Local, LocalConnection};
use tidemill_protocol::Frame;
use tokio::sync::mpsc;

use super::connection::{Address, Dial, FrameSink, FrameSource, Wire};

/// The length before a request, which only sockets need.
const LENGTH: usize = 4;

impl Dial for Local {
    /// Whatever address the cluster tells is this broker's.
    fn dial<'a>(&'a self, _address: &'a Address) -> BoxFuture<'a, io::Result<Wire>> {
        let wire = self
            .connect()
            .map(|LocalConnection { requests, responses }| Wire {
                source: Box::new(Source(responses)),
                sink: Box::new(Sink(requests)),
            });
        Box::pin(std::future::ready(wire))
    }
}

struct Source(mpsc::Receiver<Bytes>);

impl FrameSource for Source {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>> {
        Box::pin(async move { Ok(self.0.recv().await) })
    }
}

struct Sink(mpsc::Sender<Bytes>);

impl FrameSink for Sink {
    fn send(&mut self, frame: Frame) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let mut bytes = frame.into_bytes();
            bytes.advance(LENGTH);
            let sent = self.0.send(bytes).await;
            sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
        })
    }
}
