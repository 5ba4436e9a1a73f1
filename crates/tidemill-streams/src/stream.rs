//! `KStream`: a stream of records, as a handle to compose operators on.

use std::sync::{Arc, Mutex, PoisonError};

use tidemill_data::{Data, Wire};

use crate::{
    builder::Builder,
    edge::{Edge, Outlet},
    failure::Policy,
    graph::NodeId,
};

/// A stream of records with keys `K` and values `V`.
///
/// A handle is used up by the operator composed on it. A clone of it lets several operators read the same stream, and
/// only then are records cloned.
#[must_use = "a stream that nothing reads goes nowhere"]
pub struct KStream<K, V> {
    pub(crate) builder: Builder,
    pub(crate) node: NodeId,
    pub(crate) outlet: Arc<Outlet<K, V>>,
    /// Whether the key may differ from that of the topic's partition.
    pub(crate) key_changed: bool,
    pub(crate) key: Option<Wire<K>>,
    pub(crate) value: Option<Wire<V>>,
    // Guards the repartition topic that joins on this stream share.
    pub(crate) repartitioned: Arc<Mutex<Option<Repartitioned<K, V>>>>,
}

/// A stream behind a repartition topic.
pub(crate) struct Repartitioned<K, V> {
    pub(crate) node: NodeId,
    pub(crate) outlet: Arc<Outlet<K, V>>,
}

impl<K, V> Clone for Repartitioned<K, V> {
    fn clone(&self) -> Self {
        Self {
            node: self.node,
            outlet: Arc::clone(&self.outlet),
        }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Clone for KStream<K, V> {
    fn clone(&self) -> Self {
        self.outlet.fan_out();
        Self {
            builder: self.builder.clone(),
            node: self.node,
            outlet: Arc::clone(&self.outlet),
            key_changed: self.key_changed,
            key: self.key.clone(),
            value: self.value.clone(),
            repartitioned: Arc::clone(&self.repartitioned),
        }
    }
}

impl<K: 'static, V: 'static> KStream<K, V> {
    pub(crate) fn new(builder: Builder, node: NodeId, outlet: Arc<Outlet<K, V>>) -> Self {
        Self {
            builder,
            node,
            outlet,
            key_changed: false,
            key: None,
            value: None,
            repartitioned: Arc::default(),
        }
    }

    /// What happens to records that fail in the operator that made this stream, instead of the app's policy.
    ///
    /// ```
    /// # use tidemill_streams::{App, Policy};
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).try_map_values(|text| Ok(text.parse::<i64>()?)).on_error(Policy::Skip).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn on_error(self, policy: Policy) -> Self {
        self.builder.lock().node(self.node).policy = Some(policy);
        self
    }

    /// Lets the operators that read this stream try again a record that failed in them, where their policy is
    /// [`Policy::retry`]: each record is cloned for it.
    ///
    /// ```
    /// # use tidemill_streams::{App, Policy, Retry};
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.on_error(Policy::retry(Retry::attempts(3), Policy::Fail));
    /// app.stream(&IN).retryable().try_peek(|_, path| Ok(std::fs::remove_file(path)?)).to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn retryable(self) -> Self
    where
        K: Clone,
        V: Clone,
    {
        self.outlet.fan_out();
        self
    }

    /// Attaches an operator that makes a stream of any type.
    pub(crate) fn attach<L: 'static, W: 'static, E: Edge<K, V> + 'static>(
        self,
        prefix: &str,
        edge: impl FnOnce(NodeId, Arc<Outlet<L, W>>) -> E,
    ) -> KStream<L, W> {
        let outlet = Outlet::new();
        let node = self.builder.attach(prefix, self.node, &self.outlet, |node| {
            edge(node, Arc::clone(&outlet))
        });
        KStream::new(self.builder, node, outlet)
    }

    /// Attaches an operator that keeps keys and values.
    pub(crate) fn attach_keeping<E: Edge<K, V> + 'static>(
        self,
        prefix: &str,
        edge: impl FnOnce(NodeId, Arc<Outlet<K, V>>) -> E,
    ) -> Self {
        let (key_changed, key, value) = (self.key_changed, self.key.clone(), self.value.clone());
        Self {
            key_changed,
            key,
            value,
            ..self.attach(prefix, edge)
        }
    }

    /// Attaches an operator that keeps keys.
    pub(crate) fn attach_keeping_keys<W: 'static, E: Edge<K, V> + 'static>(
        self,
        prefix: &str,
        edge: impl FnOnce(NodeId, Arc<Outlet<K, W>>) -> E,
    ) -> KStream<K, W> {
        let (key_changed, key) = (self.key_changed, self.key.clone());
        KStream {
            key_changed,
            key,
            ..self.attach(prefix, edge)
        }
    }

    /// Attaches an operator that may change keys.
    pub(crate) fn attach_changing_keys<L: 'static, W: 'static, E: Edge<K, V> + 'static>(
        self,
        prefix: &str,
        edge: impl FnOnce(NodeId, Arc<Outlet<L, W>>) -> E,
    ) -> KStream<L, W> {
        KStream {
            key_changed: true,
            ..self.attach(prefix, edge)
        }
    }

    pub(crate) fn shared_repartition(&self) -> Option<Repartitioned<K, V>> {
        self.repartitioned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl<K: 'static, V> KStream<K, V> {
    /// The format of keys: that of the topic they came from, else the type's own.
    pub(crate) fn key_wire(&self) -> Wire<K>
    where
        K: Data,
    {
        self.key.clone().unwrap_or_else(Wire::own)
    }

    /// The format of values: that of the topic they came from, else the type's own.
    pub(crate) fn value_wire(&self) -> Wire<V>
    where
        V: Data,
    {
        self.value.clone().unwrap_or_else(Wire::own)
    }
}
