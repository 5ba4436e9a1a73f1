//! The graph under construction, shared by all handles of a program.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    edge::{Edge, Outlet},
    graph::{Graph, NodeId},
};

/// Shared by the app and all handles made from it.
#[derive(Clone)]
pub(crate) struct Builder {
    // Guards the graph while the program composes it.
    graph: Arc<Mutex<Graph>>,
}

impl Builder {
    pub(crate) fn new(app: String) -> Self {
        Self {
            graph: Arc::new(Mutex::new(Graph::new(app))),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches an operator named by `prefix` and the counter.
    pub(crate) fn attach<K: 'static, V: 'static, E: Edge<K, V> + 'static>(
        &self,
        prefix: &str,
        parent: NodeId,
        outlet: &Outlet<K, V>,
        edge: impl FnOnce(NodeId) -> E,
    ) -> NodeId {
        let node = self.lock().processor(prefix, &[parent]);
        outlet.attach(node.0, Arc::new(edge(node)));
        node
    }
}
