//! `flat_map_values`: none, one or several values for each record.

use std::sync::Arc;

use tidemill_data::BoxError;

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::NodeId,
};

impl<K: Clone + 'static, V: 'static> KStream<K, V> {
    /// Makes any number of values of each record's. The key is unchanged, so no repartition follows.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    ///     .to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn flat_map_values<W: 'static, I: IntoIterator<Item = W>>(
        self,
        spread: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.try_flat_map_values(move |value| Ok(spread(value)))
    }

    /// As [`flat_map_values`](Self::flat_map_values), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .try_flat_map_values(|text| text.split(',').map(|part| Ok(part.parse()?)).collect::<Result<Vec<i64>, _>>())
    ///     .to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_flat_map_values<W: 'static, I: IntoIterator<Item = W>>(
        self,
        spread: impl Fn(V) -> Result<I, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.attach_keeping_keys("KSTREAM-FLATMAPVALUES-", |node, out| FlatMapValues {
            node,
            spread,
            out,
        })
    }
}

struct FlatMapValues<F, K, W> {
    node: NodeId,
    spread: F,
    out: Arc<Outlet<K, W>>,
}

impl<K: Clone + 'static, V, W: 'static, I, F> Edge<K, V> for FlatMapValues<F, K, W>
where
    I: IntoIterator<Item = W>,
    F: Fn(V) -> Result<I, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        let spread = ctx.try_call(self.node, || Ok((self.spread)(value)?.into_iter()))?;
        let Some(mut spread) = spread else { return Ok(()) };
        while let Some(Some(value)) = ctx.call(self.node, || spread.next())? {
            self.out.send(
                ctx,
                Record {
                    key: key.clone(),
                    value,
                    timestamp,
                    headers: headers.clone(),
                },
            )?;
        }
        Ok(())
    }
}
