//! Carries a membership's requests to the coordinator and its answers back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Shared;
use super::membership::{Action, Event};
use crate::native::cluster::{AutoCreate, ClusterError};
use crate::native::connection::Lane;
use crate::native::coordinator::Coordinator;

/// What the coordinator may take to answer a join beyond the time it gives the members.
const JOIN_SLACK: Duration = Duration::from_secs(5);

/// Runs until it is aborted, with its member.
pub(super) async fn run(shared: Arc<Shared>, coordinator: Arc<Coordinator>, join_timeout: Duration) {
    let mut calls: JoinSet<Event> = JoinSet::new();
    loop {
        let wake_at = loop {
            let now = Instant::now();
            let mut membership = shared.lock();
            let Some(action) = membership.next_action(now) else {
                break membership.next_deadline();
            };
            drop(membership);
            let coordinator = coordinator.clone();
            match action {
                Action::Leave(request) => {
                    tokio::spawn(async move { drop(coordinator.call(Lane::Ask, &request, None).await) });
                }
                action => drop(calls.spawn(ask(coordinator, action, join_timeout))),
            }
        };
        // News may have come of looking at the clocks.
        shared.arrived.raise();
        tokio::select! {
            () = shared.work.notified() => {}
            Some(Ok(event)) = calls.join_next() => {
                shared.lock().handle(Instant::now(), event);
                shared.answered.notify_one();
            }
            () = sleep_until(wake_at) => {}
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn ask(coordinator: Arc<Coordinator>, action: Action, join_timeout: Duration) -> Event {
    let text = |error: ClusterError| error.to_string();
    match action {
        Action::Join(request) => {
            let within = Some(join_timeout.saturating_add(JOIN_SLACK));
            let answer = coordinator.call(Lane::Group, &request, within).await;
            if let Ok(response) = &answer {
                coordinator.note(response.error_code);
            }
            Event::Joined(answer.map_err(text))
        }
        Action::Sync(request) => {
            let within = Some(join_timeout.saturating_add(JOIN_SLACK));
            let answer = coordinator.call(Lane::Group, &request, within).await;
            if let Ok(response) = &answer {
                coordinator.note(response.error_code);
            }
            Event::Synced(answer.map_err(text))
        }
        Action::Heartbeat(request) => {
            let answer = coordinator.call(Lane::Group, &request, None).await;
            if let Ok(response) = &answer {
                coordinator.note(response.error_code);
            }
            Event::Beaten(answer.map(|response| response.error_code).map_err(text))
        }
        Action::Count(topics) => Event::Counted(count(&coordinator, &topics).await.map_err(text)),
        Action::Leave(request) => {
            drop(coordinator.call(Lane::Ask, &request, None).await);
            Event::Left
        }
    }
}

/// The partition counts of the topics that exist.
async fn count(coordinator: &Coordinator, topics: &[String]) -> Result<BTreeMap<String, i32>, ClusterError> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let cluster = coordinator.cluster();
    cluster.refresh(&names, AutoCreate::Never).await?;
    let view = cluster.view();
    let count = |topic: &String| Some((topic.clone(), view.topic(topic)?.partition_count()));
    Ok(topics.iter().filter_map(count).collect())
}
