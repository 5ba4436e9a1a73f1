//! `map`: another key and value for each record.

use std::sync::Arc;

use tidemill_data::BoxError;

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::NodeId,
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Makes each record's key and value anew. A grouping, table or join on the key after this repartitions first.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<i64, String> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).map(|user, amount| (amount, user)).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn map<L: 'static, W: 'static>(
        self,
        change: impl Fn(K, V) -> (L, W) + Send + Sync + 'static,
    ) -> KStream<L, W> {
        self.try_map(move |key, value| Ok(change(key, value)))
    }

    /// As [`map`](Self::map), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<i64, String> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).try_map(|id, text| Ok((id.parse::<i64>()?, text))).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_map<L: 'static, W: 'static>(
        self,
        change: impl Fn(K, V) -> Result<(L, W), BoxError> + Send + Sync + 'static,
    ) -> KStream<L, W> {
        self.attach_changing_keys("KSTREAM-MAP-", |node, out| Map { node, change, out })
    }
}

struct Map<F, L, W> {
    node: NodeId,
    change: F,
    out: Arc<Outlet<L, W>>,
}

impl<K, V, L: 'static, W: 'static, F> Edge<K, V> for Map<F, L, W>
where
    F: Fn(K, V) -> Result<(L, W), BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        match ctx.try_call(self.node, || (self.change)(key, value))? {
            Some((key, value)) => self.out.send(
                ctx,
                Record {
                    key,
                    value,
                    timestamp,
                    headers,
                },
            ),
            None => Ok(()),
        }
    }
}
