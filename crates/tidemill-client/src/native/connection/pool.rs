//! A client's connections: one for each broker and purpose, opened when first needed and again when lost.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tidemill_protocol::Request;

use super::{Address, Backoff, CallError, Connection, ConnectionSettings, Dial};

/// What a connection is for. A broker answers one connection's requests one after the other, so a Fetch or JoinGroup
/// that waits there would hold up everything behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Whatever is answered at once.
    Ask,
    /// Produce.
    Produce,
    /// Fetch.
    Fetch,
    /// JoinGroup, SyncGroup, heartbeats.
    Group,
}

/// Connections of one client.
pub(crate) struct Pool {
    dial: Arc<dyn Dial>,
    settings: ConnectionSettings,
    // Guards the list of seats, not the seats.
    seats: Mutex<Seats>,
}

type Seats = HashMap<(Address, Lane), Arc<tokio::sync::Mutex<Seat>>>;

struct Seat {
    connection: Option<Arc<Connection>>,
    backoff: Backoff,
    // No attempt before then.
    not_before: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(dial: Arc<dyn Dial>, settings: ConnectionSettings) -> Self {
        Self {
            dial,
            settings,
            seats: Mutex::default(),
        }
    }

    /// Another client's, with another name.
    pub(crate) fn named(&self, client_id: &str) -> Self {
        let settings = ConnectionSettings {
            client_id: client_id.to_owned(),
            ..self.settings.clone()
        };
        Self::new(self.dial.clone(), settings)
    }

    /// The same client's, with connections of its own.
    pub(crate) fn renewed(&self) -> Self {
        Self::new(self.dial.clone(), self.settings.clone())
    }

    /// The connection, opened now if it has to be. After a failure the next attempt waits.
    pub(crate) async fn connection(&self, to: &Address, lane: Lane) -> Result<Arc<Connection>, CallError> {
        let seat = {
            let mut seats = self.seats.lock().expect("no section that holds it panics");
            let seat = seats
                .entry((to.clone(), lane))
                .or_insert_with(|| Arc::new(tokio::sync::Mutex::new(self.empty_seat(to, lane))));
            seat.clone()
        };
        let mut seat = seat.lock().await;
        if let Some(open) = seat.connection.as_ref().filter(|c| c.is_open()) {
            return Ok(open.clone());
        }
        seat.connection = None;
        if let Some(until) = seat.not_before {
            tokio::time::sleep_until(until.into()).await;
        }
        match Connection::open(&*self.dial, to, &self.settings).await {
            Ok(connection) => {
                seat.backoff.reset();
                seat.not_before = None;
                Ok(seat.connection.insert(Arc::new(connection)).clone())
            }
            Err(error) => {
                let wait = seat.backoff.next_wait();
                seat.not_before = Some(Instant::now() + wait);
                Err(error)
            }
        }
    }

    /// One request to one broker.
    pub(crate) async fn call<R: Request>(
        &self,
        to: &Address,
        lane: Lane,
        request: &R,
    ) -> Result<R::Response, CallError> {
        self.connection(to, lane).await?.call(request).await
    }

    fn empty_seat(&self, to: &Address, lane: Lane) -> Seat {
        let ConnectionSettings {
            client_id,
            reconnect_backoff,
            reconnect_backoff_max,
            ..
        } = &self.settings;
        let mut seed = DefaultHasher::new();
        (client_id, to, lane).hash(&mut seed);
        Seat {
            connection: None,
            backoff: Backoff::new(*reconnect_backoff, *reconnect_backoff_max, seed.finish()),
            not_before: None,
        }
    }
}
