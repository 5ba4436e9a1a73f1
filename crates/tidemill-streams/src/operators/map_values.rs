//! `map_values`: another value for each record.

use std::sync::Arc;

use tidemill_data::BoxError;

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::NodeId,
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Makes each record's value anew. The key is unchanged, so no repartition follows.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).map_values(|text| text.len() as i64).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn map_values<W: 'static>(self, change: impl Fn(V) -> W + Send + Sync + 'static) -> KStream<K, W> {
        self.try_map_values_with_key(move |_, value| Ok(change(value)))
    }

    /// As [`map_values`](Self::map_values), with a closure that sees the key.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN).map_values_with_key(|user, text| format!("{user}: {text}")).to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn map_values_with_key<W: 'static>(
        self,
        change: impl Fn(&K, V) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_map_values_with_key(move |key, value| Ok(change(key, value)))
    }

    /// As [`map_values`](Self::map_values), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, f64> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .try_map_values(|score| if score.is_finite() { Ok(score) } else { Err("not a number".into()) })
    ///     .to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_map_values<W: 'static>(
        self,
        change: impl Fn(V) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_map_values_with_key(move |_, value| change(value))
    }

    /// As [`map_values_with_key`](Self::map_values_with_key), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .try_map_values_with_key(|user, text| text.parse::<i64>().map_err(|error| format!("of {user}: {error}").into()))
    ///     .to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_map_values_with_key<W: 'static>(
        self,
        change: impl Fn(&K, V) -> Result<W, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.attach_keeping_keys("KSTREAM-MAPVALUES-", |node, out| MapValues { node, change, out })
    }
}

struct MapValues<F, K, W> {
    node: NodeId,
    change: F,
    out: Arc<Outlet<K, W>>,
}

impl<K: 'static, V, W: 'static, F> Edge<K, V> for MapValues<F, K, W>
where
    F: Fn(&K, V) -> Result<W, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        match ctx.try_call(self.node, || (self.change)(&key, value))? {
            Some(value) => self.out.send(
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
