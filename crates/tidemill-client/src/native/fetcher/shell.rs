//! Asks what the core wants to know. One Fetch is under way for each broker; while it waits there, nothing here does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Shared;
use super::core::{Departure, Lookup, Returned, Step};
use crate::native::cluster::{AutoCreate, Cluster};
use crate::native::connection::{Lane, Pool};
use crate::native::offsets;
use crate::native::settings::FetchSettings;
use crate::{Isolation, TopicPartition, TransportError};

enum Done {
    Fetched(Returned),
    LookedUp(Vec<(TopicPartition, Result<Option<i64>, TransportError>)>),
    Refreshed,
}

/// Runs until it is aborted, with its reader.
pub(super) async fn run(shared: Arc<Shared>, cluster: Arc<Cluster>, settings: FetchSettings) {
    let mut shell = Shell {
        // A Fetch that waits at the broker holds its connection up, so another assignment has other connections.
        pool: Arc::new(cluster.pool().renewed()),
        calls: JoinSet::new(),
        generation: 0,
        refreshing: false,
        refresh_not_before: None,
        refreshed: Instant::now(),
        settings,
        shared,
        cluster,
    };
    loop {
        let wake_at = shell.step(Instant::now());
        let shared = shell.shared.clone();
        tokio::select! {
            () = shared.work.notified() => {}
            Some(Ok(done)) = shell.calls.join_next() => shell.take_notice(done),
            () = sleep_until(wake_at) => {}
        }
    }
}

struct Shell {
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    pool: Arc<Pool>,
    calls: JoinSet<Done>,
    generation: u64,
    refreshing: bool,
    refresh_not_before: Option<Instant>,
    refreshed: Instant,
    settings: FetchSettings,
}

impl Shell {
    fn step(&mut self, now: Instant) -> Option<Instant> {
        let (step, generation, topics) = {
            let view = self.cluster.view();
            let mut core = self.shared.lock();
            let step = core.step(&view, now);
            (step, core.generation, core.topics())
        };
        if generation != self.generation {
            self.generation = generation;
            self.calls.abort_all();
            self.calls = JoinSet::new();
            self.refreshing = false;
            self.pool = Arc::new(self.pool.renewed());
        }
        let Step {
            fetches,
            lookups,
            leaderless,
            mut wake_at,
        } = step;
        for departure in fetches {
            self.calls
                .spawn(fetch(self.cluster.clone(), self.pool.clone(), departure));
        }
        for lookup in lookups {
            self.calls.spawn(look_up(
                self.cluster.clone(),
                self.pool.clone(),
                self.settings.isolation,
                lookup,
            ));
        }
        let stale = !topics.is_empty() && self.refreshed + self.settings.metadata_age_max <= now;
        let topics = if stale { topics } else { leaderless };
        if !topics.is_empty() && !self.refreshing {
            match self.refresh_not_before.filter(|until| *until > now) {
                None => self.refresh(topics),
                Some(until) => wake_at = Some(wake_at.map_or(until, |at| at.min(until))),
            }
        }
        wake_at
    }

    fn refresh(&mut self, topics: Vec<String>) {
        self.refreshing = true;
        let cluster = self.cluster.clone();
        self.calls.spawn(async move {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            if let Err(error) = cluster.refresh(&topics, AutoCreate::Never).await {
                tracing::warn!("metadata: {error}");
            }
            Done::Refreshed
        });
    }

    fn take_notice(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Refreshed => {
                const BETWEEN_REFRESHES: Duration = Duration::from_millis(50);
                self.refreshing = false;
                self.refreshed = now;
                self.refresh_not_before = Some(now + BETWEEN_REFRESHES);
                return;
            }
            Done::Fetched(returned) => {
                let mut view = self.cluster.view();
                let mut core = self.shared.lock();
                if core.generation == self.generation {
                    core.returned(returned, &mut view, now);
                }
            }
            Done::LookedUp(found) => {
                let mut core = self.shared.lock();
                for (at, offset) in found {
                    match offset {
                        _ if core.generation != self.generation => {}
                        Ok(offset) => core.resolved(&at, offset, now),
                        Err(error) => core.fail(error),
                    }
                }
            }
        }
        self.shared.arrived.raise();
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn fetch(cluster: Arc<Cluster>, pool: Arc<Pool>, departure: Departure) -> Done {
    let Departure {
        node,
        request,
        version_max,
        topic_ids,
        asked,
    } = departure;
    let address = cluster.view().address(node).cloned();
    let answer = match address {
        None => Err(format!("broker {node} is gone")),
        Some(address) => match pool.connection(&address, Lane::Fetch).await {
            Ok(connection) => connection
                .call_at_most(&request, version_max)
                .await
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        },
    };
    Done::Fetched(Returned {
        node,
        topic_ids,
        asked,
        answer,
    })
}

async fn look_up(cluster: Arc<Cluster>, pool: Arc<Pool>, isolation: Isolation, lookup: Lookup) -> Done {
    let address = cluster.view().address(lookup.node).cloned();
    let Some(address) = address else {
        return Done::LookedUp(
            lookup
                .partitions
                .into_iter()
                .map(|(at, ..)| (at, Ok(None)))
                .collect(),
        );
    };
    Done::LookedUp(offsets::list(&cluster, &pool, &address, isolation, lookup.partitions).await)
}
