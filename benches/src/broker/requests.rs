//! Requests of one small record each over many connections: what a request costs beside its bytes.

use std::time::Instant;

use anyhow::{Result, anyhow};

use super::Options;
use crate::peers::Server;
use crate::process::usage;
use crate::table::{Asked, Table};
use crate::wire::{Connection, batch, now_ms, produce_frame};

const CONNECTIONS: u64 = 32;
const RECORD_BYTES: usize = 100;
const TOPIC: &str = "requests";

struct Figures {
    per_second: f64,
    per_cpu_second: f64,
}

pub(super) fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let (ours, peers) = options.both(|server| {
        // A JVM compiles what is called often; one round before the one that counts.
        load(server, options.requests)?;
        load(server, options.requests)
    })?;
    let peer = |of: fn(&Figures) -> f64| peers.as_ref().map_or(f64::NAN, of);
    table.rates(
        "one-record requests, 32 connections, requests/s",
        ours.per_second,
        peer(|p| p.per_second),
        Asked::Nothing,
    );
    table.rates(
        "one-record requests a broker CPU second",
        ours.per_cpu_second,
        peer(|p| p.per_cpu_second),
        Asked::AtLeast(3.0),
    );
    Ok(())
}

fn load(server: &Server, requests: u64) -> Result<Figures> {
    Connection::open(&server.address)?.create(TOPIC, 3, &[])?;
    let frame = produce_frame(TOPIC, &[batch(&[&[b'v'; RECORD_BYTES]], now_ms())], 1)?;
    let each = requests / CONNECTIONS;
    let connections: Vec<Connection> = (0..CONNECTIONS)
        .map(|_| Connection::open(&server.address))
        .collect::<Result<_>>()?;
    let (begin, before) = (Instant::now(), usage(server.pid)?.cpu_seconds);
    std::thread::scope(|scope| {
        let clients: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                let frame = &frame;
                scope.spawn(move || -> Result<()> {
                    for _ in 0..each {
                        connection.send(frame)?;
                        connection.produced()?;
                    }
                    Ok(())
                })
            })
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    let cpu = usage(server.pid)?.cpu_seconds - before;
    let done = (each * CONNECTIONS) as f64;
    Ok(Figures {
        per_second: done / begin.elapsed().as_secs_f64(),
        per_cpu_second: done / cpu,
    })
}
