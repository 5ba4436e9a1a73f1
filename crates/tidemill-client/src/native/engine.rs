//! The threads on which connections live, and how those who block wait for them.

use std::future::Future;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::TransportError;

/// Threads for sockets: copying from them is all they do.
const THREADS_MAX: usize = 2;

/// An executor of its own, so that it works from threads, from tasks of any other executor, and from none.
pub(crate) struct Engine {
    // `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Engine {
    pub(crate) fn start() -> Result<Arc<Self>, TransportError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.min(THREADS_MAX))
            .thread_name("tidemill-client")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| TransportError::Cluster {
            operation: "start threads",
            reason: e.to_string(),
        })?;
        Ok(Arc::new(Self {
            runtime: Some(runtime),
        }))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.runtime
            .as_ref()
            .expect("the engine is not being dropped")
            .handle()
    }

    /// Runs `future` there and blocks until it is done.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.handle().spawn(async move {
            // Who no longer waits does not mind.
            drop(sender.send(future.await));
        });
        receiver.recv().ok()
    }

    /// As [`wait`](Self::wait) for what may fail.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        future: impl Future<Output = Result<T, TransportError>> + Send + 'static,
    ) -> Result<T, TransportError> {
        self.wait(future).unwrap_or_else(|| {
            Err(TransportError::Cluster {
                operation,
                reason: "it ended without an answer".into(),
            })
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Does not wait, which would be forbidden inside another executor.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends waits of one thread from others.
#[derive(Default)]
pub(crate) struct Signal {
    // Guards whether it was raised since the last wait.
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn raise(&self) {
        *self.raised.lock().expect("no section that holds it panics") = true;
        self.changed.notify_all();
    }

    /// Waits until it is raised, at most `timeout`; at once if it was since the last time.
    pub(crate) fn wait(&self, timeout: Duration) {
        let deadline = Instant::now().checked_add(timeout);
        let mut raised = self.raised.lock().expect("no section that holds it panics");
        while !*raised {
            let left = deadline.map_or(Duration::MAX, |d| d.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return;
            }
            (raised, _) = self
                .changed
                .wait_timeout(raised, left)
                .expect("no section that holds it panics");
        }
        *raised = false;
    }
}
