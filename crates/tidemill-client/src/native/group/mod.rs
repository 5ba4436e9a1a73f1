//! A member of a consumer group: what it is told by the coordinator, and what it reads of what it was given.

mod assignor;
mod membership;
mod offsets;
mod protocol;
mod shell;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tidemill_protocol::KString;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::membership::{Event as GroupEvent, Membership};
use self::offsets::Committer;
use super::cluster::{Cluster, CoordinatorOf};
use super::connection::Lane;
use super::coordinator::Coordinator;
use super::engine::{Engine, Signal};
use super::fetcher::Fetcher;
use super::settings::{FetchSettings, GroupSettings};
use crate::{
    CommitError, Committed, Event, GroupMetadata, Isolation, Member, Start, Subscription, TopicPartition,
    TransportError, Wake,
};

/// How long questions about offsets may take.
const WITHIN: Duration = Duration::from_secs(30);
/// How long the question for committed offsets waits for transactions that may still change them.
const STABLE_WITHIN: Duration = Duration::from_secs(5);
/// How long leaving may take: a coordinator that does not answer will notice by itself.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// What a member and its task share.
struct Shared {
    // Guards the membership; sections never wait.
    membership: Mutex<Membership>,
    /// There is news.
    arrived: Arc<Signal>,
    /// There may be something to ask for.
    work: Notify,
    /// The coordinator has answered.
    answered: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().expect("no section that holds it panics")
    }
}

pub(crate) struct NativeMember {
    group: KString,
    isolation: Isolation,
    shared: Arc<Shared>,
    coordinator: Arc<Coordinator>,
    fetcher: Fetcher,
    task: JoinHandle<()>,
    engine: Arc<Engine>,
}

impl NativeMember {
    pub(crate) fn join(
        engine: Arc<Engine>,
        cluster: Arc<Cluster>,
        subscription: &Subscription,
        settings: GroupSettings,
        fetch: FetchSettings,
    ) -> Self {
        let arrived = Arc::new(Signal::default());
        let Subscription { group, topics, .. } = subscription;
        let membership = Membership::new(group, topics, settings.clone(), cluster.backoff(), Instant::now());
        let shared = Arc::new(Shared {
            membership: Mutex::new(membership),
            arrived: arrived.clone(),
            work: Notify::new(),
            answered: Notify::new(),
        });
        let coordinator = Coordinator::new(cluster.clone(), CoordinatorOf::Group, group);
        let join_timeout = settings.poll_interval_max;
        let task = shell::run(shared.clone(), coordinator.clone(), join_timeout);
        Self {
            group: group.into(),
            isolation: fetch.isolation,
            shared,
            coordinator,
            fetcher: Fetcher::new(engine.clone(), cluster, fetch, arrived),
            task: engine.handle().spawn(task),
            engine,
        }
    }

    fn gather(&mut self, records_max: usize, events: &mut Vec<Event>) -> Result<(), TransportError> {
        let news = {
            let mut membership = self.shared.lock();
            membership.polled(Instant::now());
            membership.take_failure()?;
            membership.next_news()
        };
        let Some(news) = news else {
            return self.fetcher.take(records_max, events);
        };
        if matches!(news, Event::Revoking(_) | Event::Lost(_)) {
            self.fetcher.assign(&[], true);
        }
        events.push(news);
        Ok(())
    }

    fn tell(&self, event: GroupEvent) {
        self.shared.lock().handle(Instant::now(), event);
        self.shared.work.notify_one();
    }
}

impl Member for NativeMember {
    fn wake(&self) -> Wake {
        let arrived = self.shared.arrived.clone();
        Arc::new(move || arrived.raise())
    }

    fn poll(
        &mut self,
        records_max: usize,
        wait: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(), TransportError> {
        let had = events.len();
        self.gather(records_max, events)?;
        if events.len() == had && !wait.is_zero() {
            self.shared.arrived.wait(wait);
            self.gather(records_max, events)?;
        }
        Ok(())
    }

    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>, TransportError> {
        let (coordinator, group, partitions) =
            (self.coordinator.clone(), self.group.clone(), partitions.to_vec());
        let isolation = self.isolation;
        self.engine.run("committed offsets", async move {
            offsets::fetch(&coordinator, group, partitions, isolation, STABLE_WITHIN).await
        })
    }

    fn accept(&mut self, from: &[(TopicPartition, Start)]) -> Result<(), TransportError> {
        self.fetcher.assign(from, true);
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.fetcher.set_paused(partitions, true);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.fetcher.set_paused(partitions, false);
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Committed)]) -> Result<(), CommitError> {
        let committer = {
            let membership = self.shared.lock();
            if !membership.is_member() {
                return Err(CommitError::Fenced("this member is out of the group".into()));
            }
            let (member_id, generation) = membership.identity();
            Committer {
                group: self.group.clone(),
                member_id,
                generation,
                instance_id: membership.instance_id(),
            }
        };
        let (coordinator, offsets) = (self.coordinator.clone(), offsets.to_vec());
        let commit = async move { offsets::commit(&coordinator, committer, offsets, WITHIN).await };
        let outcome = self.engine.wait(commit).unwrap_or_else(|| {
            let (operation, reason) = ("commit offsets", "it ended without an answer".into());
            Err(TransportError::Cluster { operation, reason }.into())
        });
        if matches!(outcome, Err(CommitError::Fenced(_))) {
            self.tell(GroupEvent::Fenced);
            self.shared.arrived.raise();
        }
        outcome
    }

    fn group_metadata(&self) -> GroupMetadata {
        let membership = self.shared.lock();
        let (member, generation) = membership.identity();
        GroupMetadata {
            group: self.group.to_string(),
            generation,
            member: member.to_string(),
            instance: membership.instance_id().map(|id| id.to_string()),
        }
    }

    fn release(&mut self) -> Result<(), TransportError> {
        self.fetcher.assign(&[], true);
        self.tell(GroupEvent::Released);
        Ok(())
    }

    fn leave(self: Box<Self>) -> Result<(), TransportError> {
        self.shared.lock().close();
        let shared = self.shared.clone();
        let named = async move {
            while shared.lock().awaits_member_id() {
                shared.answered.notified().await;
            }
        };
        self.engine
            .wait(async { tokio::time::timeout(LEAVE_WITHIN, named).await });
        self.task.abort();
        let request = {
            let mut membership = self.shared.lock();
            let request = membership.leave_request();
            membership.handle(Instant::now(), GroupEvent::Left);
            request
        };
        let Some(request) = request else { return Ok(()) };
        let coordinator = self.coordinator.clone();
        let left = self.engine.wait(async move {
            let left = coordinator.call(Lane::Ask, &request, None);
            tokio::time::timeout(LEAVE_WITHIN, left).await
        });
        match left {
            Some(Ok(Ok(_))) => {}
            Some(Ok(Err(error))) => tracing::warn!("group {}: could not say goodbye: {error}", self.group),
            _ => tracing::warn!("group {}: could not say goodbye", self.group),
        }
        Ok(())
    }
}

impl Drop for NativeMember {
    fn drop(&mut self) {
        self.task.abort();
    }
}
