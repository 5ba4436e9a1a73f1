//! Edges: how a record goes from one operator to the next.
//!
//! The graph of operators is immutable and shared by all tasks; what a task may change is in its [`Context`]. An
//! operator is behind one boxed, typed edge, so its closure is compiled once and a hop is one indirect call.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::{
    Policy, Record, Retry, Topology,
    context::{Attempt, Context},
    failure::Halt,
    graph::NodeId,
};

/// Goes up through the operators when the task has to stop.
pub(crate) type Flow = Result<(), Halt>;

/// Where records of one type go.
pub(crate) trait Edge<K, V>: Send + Sync {
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow;
}

type CloneRecord<K, V> = fn(&Record<K, V>) -> Record<K, V>;

/// The end of an operator that others attach to.
pub(crate) struct Outlet<K, V> {
    // Guards what is attached while the program composes its topology; not used after.
    building: Mutex<Building<K, V>>,
    fixed: OnceLock<Fixed<K, V>>,
}

struct Building<K, V> {
    children: Vec<Attached<K, V>>,
    clone: Option<CloneRecord<K, V>>,
}

struct Attached<K, V> {
    // The position in the program of the operator that reads here.
    order: usize,
    edge: Arc<dyn Edge<K, V>>,
}

impl<K, V> Clone for Attached<K, V> {
    fn clone(&self) -> Self {
        Self {
            order: self.order,
            edge: Arc::clone(&self.edge),
        }
    }
}

enum Fixed<K, V> {
    None,
    One(Arc<dyn Edge<K, V>>),
    Many {
        first: Vec<Arc<dyn Edge<K, V>>>,
        last: Arc<dyn Edge<K, V>>,
        clone: CloneRecord<K, V>,
    },
}

impl<K: 'static, V: 'static> Outlet<K, V> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            building: Mutex::new(Building {
                children: Vec::new(),
                clone: None,
            }),
            fixed: OnceLock::new(),
        })
    }

    /// An outlet with nothing attached that can fan out if the other can.
    pub(crate) fn like(other: &Self) -> Arc<Self> {
        let clone = other.lock().clone;
        Arc::new(Self {
            building: Mutex::new(Building {
                children: Vec::new(),
                clone,
            }),
            fixed: OnceLock::new(),
        })
    }

    pub(crate) fn attach(&self, order: usize, edge: Arc<dyn Edge<K, V>>) {
        assert!(
            self.fixed.get().is_none(),
            "operators are attached before the topology runs"
        );
        self.lock().children.push(Attached { order, edge });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Building<K, V>> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The positions of all that are attached.
    pub(crate) fn orders(&self) -> Vec<usize> {
        self.lock().children.iter().map(|child| child.order).collect()
    }

    /// An edge to only those attached operators whose position is in `orders`.
    pub(crate) fn part(&self, orders: &[usize]) -> Arc<dyn Edge<K, V>> {
        let building = self.lock();
        let children = building
            .children
            .iter()
            .filter(|child| orders.contains(&child.order))
            .cloned();
        let part = Building {
            children: children.collect(),
            clone: building.clone,
        };
        Arc::new(Self {
            building: Mutex::new(part),
            fixed: OnceLock::new(),
        })
    }

    /// Whether several operators can be attached.
    pub(crate) fn fans_out(&self) -> bool {
        self.lock().clone.is_some()
    }

    fn fix(&self, topology: &Topology) -> Fixed<K, V> {
        let building = self.lock();
        let edge = |child: &Attached<K, V>| {
            let (node, edge) = (NodeId(child.order), Arc::clone(&child.edge));
            match (topology.policy_of(node), building.clone) {
                (Policy::Retry(retry, _), Some(clone)) => Arc::new(Again {
                    node,
                    retry: *retry,
                    edge,
                    clone,
                }),
                _ => edge,
            }
        };
        let mut edges: Vec<Arc<dyn Edge<K, V>>> = building.children.iter().map(edge).collect();
        let Some(last) = edges.pop() else {
            return Fixed::None;
        };
        if edges.is_empty() {
            return Fixed::One(last);
        }
        let clone = building
            .clone
            .expect("a handle that was used twice was cloned, which says how to clone records");
        Fixed::Many {
            first: edges,
            last,
            clone,
        }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Outlet<K, V> {
    /// Lets several operators read here. Only types that can be cloned can say this.
    pub(crate) fn fan_out(&self) {
        self.lock().clone = Some(Record::clone);
    }
}

impl<K: 'static, V: 'static> Edge<K, V> for Outlet<K, V> {
    #[inline]
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        match self.fixed.get_or_init(|| self.fix(&ctx.topology)) {
            Fixed::One(edge) => edge.send(ctx, record),
            Fixed::None => Ok(()),
            Fixed::Many { first, last, clone } => {
                for edge in first {
                    edge.send(ctx, clone(&record))?;
                }
                last.send(ctx, record)
            }
        }
    }
}

/// Lets an operator try again what failed in it.
struct Again<K, V> {
    node: NodeId,
    retry: Retry,
    edge: Arc<dyn Edge<K, V>>,
    clone: CloneRecord<K, V>,
}

impl<K: 'static, V: 'static> Edge<K, V> for Again<K, V> {
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let mut failed = 0;
        while let Some(pause) = self.retry.pause_after(failed + 1) {
            let attempt = Attempt {
                node: self.node,
                more: true,
                failed: false,
            };
            let outer = ctx.attempt.replace(attempt);
            let sent = self.edge.send(ctx, (self.clone)(&record));
            let attempt = std::mem::replace(&mut ctx.attempt, outer);
            sent?;
            if !attempt.is_some_and(|attempt| attempt.failed) {
                return Ok(());
            }
            failed += 1;
            ctx.config.pause.wait(pause);
        }
        self.edge.send(ctx, record)
    }
}

/// Hands records on as they are: the reading end of a merge.
pub(crate) struct PassOn<K, V>(pub(crate) Arc<Outlet<K, V>>);

impl<K: 'static, V: 'static> Edge<K, V> for PassOn<K, V> {
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        self.0.send(ctx, record)
    }
}
