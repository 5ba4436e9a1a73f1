//! `split`: a record goes to the first branch that wants it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tidemill_data::BoxError;

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::{NodeId, NodeKind},
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Splits the stream into branches. A record goes to the first branch that wants it, else to the default one,
    /// else nowhere.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const LARGE: Topic<String, i64> = Topic::new("large");
    /// # const REST: Topic<String, i64> = Topic::new("rest");
    /// # let app = App::new("docs");
    /// let mut split = app.stream(&IN).split();
    /// split.branch(|_, amount| *amount > 100).to(&LARGE);
    /// split.default_branch().to(&REST);
    /// # app.topology().unwrap();
    /// ```
    pub fn split(self) -> Split<K, V> {
        let name = self.builder.lock().name("KSTREAM-BRANCH-");
        self.split_named(name)
    }

    /// As [`split`](Self::split), with a name that stands in front of those of its branches.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const LARGE: Topic<String, i64> = Topic::new("large");
    /// # let app = App::new("docs");
    /// let mut split = app.stream(&IN).split_as("amounts-");
    /// split.branch_as("large", |_, amount| *amount > 100).to(&LARGE);
    /// # app.topology().unwrap();
    /// ```
    pub fn split_as(self, name: &str) -> Split<K, V> {
        // Kafka Streams makes a name in any case.
        self.builder.lock().skip_name();
        self.split_named(name.to_owned())
    }

    fn split_named(self, name: String) -> Split<K, V> {
        let arms = Arc::new(Arms {
            building: Mutex::default(),
            fixed: OnceLock::new(),
        });
        let node = self.builder.lock().add(name, NodeKind::Processor, &[self.node]);
        self.outlet.attach(
            node.0,
            Arc::new(Branch {
                node,
                arms: Arc::clone(&arms),
            }),
        );
        Split {
            node,
            arms,
            branches: 0,
            stream: self,
        }
    }
}

/// A stream being split: see [`KStream::split`].
pub struct Split<K, V> {
    node: NodeId,
    arms: Arc<Arms<K, V>>,
    branches: usize,
    stream: KStream<K, V>,
}

impl<K: 'static, V: 'static> Split<K, V> {
    /// The records that `wants` is true for, and that no earlier branch took.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const LARGE: Topic<String, String> = Topic::new("large");
    /// # const REST: Topic<String, String> = Topic::new("rest");
    /// # let app = App::new("docs");
    /// let mut split = app.stream(&IN).split();
    /// split.branch(|_, text| text.len() > 100).to(&LARGE);
    /// # app.topology().unwrap();
    /// ```
    pub fn branch(&mut self, wants: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KStream<K, V> {
        self.try_branch(move |key, value| Ok(wants(key, value)))
    }

    /// As [`branch`](Self::branch), with a closure that may fail: a record that fails goes to no branch.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const LARGE: Topic<String, String> = Topic::new("large");
    /// # const REST: Topic<String, String> = Topic::new("rest");
    /// # let app = App::new("docs");
    /// let mut split = app.stream(&IN).split();
    /// split.try_branch(|_, amount| Ok(amount.parse::<i64>()? > 100)).to(&LARGE);
    /// split.default_branch().to(&REST);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_branch(
        &mut self,
        wants: impl Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, V> {
        self.branches += 1;
        let number = self.branches.to_string();
        self.arm(&number, Some(Box::new(wants)))
    }

    /// As [`branch`](Self::branch), with a name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const LARGE: Topic<String, String> = Topic::new("large");
    /// # const REST: Topic<String, String> = Topic::new("rest");
    /// # let app = App::new("docs");
    /// let mut split = app.stream(&IN).split_as("texts-");
    /// split.branch_as("large", |_, text| text.len() > 100).to(&LARGE);
    /// # app.topology().unwrap();
    /// ```
    pub fn branch_as(
        &mut self,
        name: &str,
        wants: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> KStream<K, V> {
        self.try_branch_as(name, move |key, value| Ok(wants(key, value)))
    }

    /// As [`try_branch`](Self::try_branch), with a name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const LARGE: Topic<String, String> = Topic::new("large");
    /// # const REST: Topic<String, String> = Topic::new("rest");
    /// # let app = App::new("docs");
    /// let mut split = app.stream(&IN).split_as("amounts-");
    /// split.try_branch_as("large", |_, amount| Ok(amount.parse::<i64>()? > 100)).to(&LARGE);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_branch_as(
        &mut self,
        name: &str,
        wants: impl Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, V> {
        self.branches += 1;
        self.arm(name, Some(Box::new(wants)))
    }

    /// The records that no branch took.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const LARGE: Topic<String, String> = Topic::new("large");
    /// # const REST: Topic<String, String> = Topic::new("rest");
    /// # let app = App::new("docs");
    /// let mut split = app.stream(&IN).split();
    /// split.branch(|_, text| text.len() > 100).to(&LARGE);
    /// split.default_branch().to(&REST);
    /// # app.topology().unwrap();
    /// ```
    pub fn default_branch(self) -> KStream<K, V> {
        self.arm("0", None)
    }

    /// As [`default_branch`](Self::default_branch), with a name.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const LARGE: Topic<String, String> = Topic::new("large");
    /// # const REST: Topic<String, String> = Topic::new("rest");
    /// # let app = App::new("docs");
    /// let mut split = app.stream(&IN).split_as("texts-");
    /// split.branch_as("large", |_, text| text.len() > 100).to(&LARGE);
    /// split.default_branch_as("rest").to(&REST);
    /// # app.topology().unwrap();
    /// ```
    pub fn default_branch_as(self, name: &str) -> KStream<K, V> {
        self.arm(name, None)
    }

    fn arm(&self, suffix: &str, wants: Option<Wants<K, V>>) -> KStream<K, V> {
        let outlet = Outlet::new();
        let mut graph = self.stream.builder.lock();
        // Kafka Streams makes a name for each branch that it then does not use.
        graph.skip_name();
        let name = format!("{}{suffix}", graph.node(self.node).name);
        let node = graph.add(name, NodeKind::Processor, &[self.node]);
        drop(graph);
        let mut building = self.arms.building.lock().unwrap_or_else(PoisonError::into_inner);
        building.push(Arm {
            wants,
            out: Arc::clone(&outlet),
        });
        let (key, value) = (self.stream.key.clone(), self.stream.value.clone());
        let key_changed = self.stream.key_changed;
        KStream {
            key_changed,
            key,
            value,
            ..KStream::new(self.stream.builder.clone(), node, outlet)
        }
    }
}

type Wants<K, V> = Box<dyn Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync>;

struct Arm<K, V> {
    wants: Option<Wants<K, V>>,
    out: Arc<Outlet<K, V>>,
}

struct Arms<K, V> {
    // Guards the branches while the program composes them; taken by the first record.
    building: Mutex<Vec<Arm<K, V>>>,
    fixed: OnceLock<Vec<Arm<K, V>>>,
}

struct Branch<K, V> {
    node: NodeId,
    arms: Arc<Arms<K, V>>,
}

impl<K: 'static, V: 'static> Edge<K, V> for Branch<K, V> {
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let building = &self.arms.building;
        let arms = self
            .arms
            .fixed
            .get_or_init(|| std::mem::take(&mut *building.lock().unwrap_or_else(PoisonError::into_inner)));
        for arm in arms {
            let wanted = match &arm.wants {
                Some(wants) => ctx.try_call(self.node, || wants(&record.key, &record.value))?,
                None => Some(true),
            };
            match wanted {
                Some(true) => return arm.out.send(ctx, record),
                Some(false) => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }
}
