//! The tasks that own coordinators' partitions: one for each partition in use, which others reach by its mailbox.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemill_coordinator::ReplyTo;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::partition::Partition;

/// How many requests may wait for one shard; further ones wait in their connections.
const MAILBOX_REQUESTS_MAX: usize = 1_024;

/// The shards of one kind of coordinator that run. They take commands `C`.
#[derive(Debug)]
pub(crate) struct Shards<C> {
    replies: AtomicU64,
    // Guards the map only; never held across an await.
    running: Mutex<HashMap<i32, Running<C>>>,
}

#[derive(Debug)]
struct Running<C> {
    // So that a topic that was deleted and made again gets new shards.
    partition: Arc<Partition>,
    mailbox: mpsc::Sender<C>,
    task: JoinHandle<()>,
}

impl<C> Default for Shards<C> {
    fn default() -> Self {
        Shards {
            replies: AtomicU64::default(),
            running: Mutex::default(),
        }
    }
}

impl<C> Shards<C> {
    /// A number by which an answer finds who asked.
    pub(crate) fn reply_to(&self) -> ReplyTo {
        ReplyTo(self.replies.fetch_add(1, Ordering::Relaxed))
    }

    /// The mailbox of a partition's shard, which is started if need be: for the first request, after the topic was
    /// deleted and made again, and after a panic.
    pub(crate) fn mailbox<S>(
        &self,
        partition: &Arc<Partition>,
        shard: impl FnOnce(mpsc::Receiver<C>) -> S,
    ) -> mpsc::Sender<C>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let mut running = self.running();
        let index = partition.log.topic_partition().partition;
        if let Some(running) = running.get(&index)
            && Arc::ptr_eq(&running.partition, partition)
            && !running.mailbox.is_closed()
        {
            return running.mailbox.clone();
        }
        let (mailbox, commands) = mpsc::channel(MAILBOX_REQUESTS_MAX);
        let task = tokio::spawn(shard(commands));
        running.insert(
            index,
            Running {
                partition: Arc::clone(partition),
                mailbox: mailbox.clone(),
                task,
            },
        );
        mailbox
    }

    /// The mailboxes of all shards that run.
    pub(crate) fn in_use(&self) -> Vec<mpsc::Sender<C>> {
        self.running()
            .values()
            .map(|running| running.mailbox.clone())
            .collect()
    }

    /// Ends all shards after what they were asked before; who still waits gets no answer.
    pub(crate) async fn shutdown(&self) {
        let all: Vec<Running<C>> = self.running().drain().map(|(_, running)| running).collect();
        for Running {
            partition,
            mailbox,
            task,
        } in all
        {
            drop(mailbox);
            if let Err(error) = task.await {
                let partition = partition.log.topic_partition();
                tracing::error!(%partition, %error, "a coordinator ended badly");
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<i32, Running<C>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
