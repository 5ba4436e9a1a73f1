//! `flat_map`: none, one or several records for each.

use std::sync::Arc;

use tidemill_data::BoxError;

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::NodeId,
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Makes any number of records of each. A grouping, table or join on the key after this repartitions first.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, Vec<u8>> = Topic::new("in");
    /// # const OUT: Topic<i64, String> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .flat_map(|user, bytes| bytes.into_iter().map(move |byte| (i64::from(byte), user.clone())))
    ///     .to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn flat_map<L: 'static, W: 'static, I: IntoIterator<Item = (L, W)>>(
        self,
        spread: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> KStream<L, W> {
        self.try_flat_map(move |key, value| Ok(spread(key, value)))
    }

    /// As [`flat_map`](Self::flat_map), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).try_flat_map(|key, text| Ok([(key, text.parse::<i64>()?)])).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_flat_map<L: 'static, W: 'static, I: IntoIterator<Item = (L, W)>>(
        self,
        spread: impl Fn(K, V) -> Result<I, BoxError> + Send + Sync + 'static,
    ) -> KStream<L, W> {
        self.attach_changing_keys("KSTREAM-FLATMAP-", |node, out| FlatMap { node, spread, out })
    }
}

struct FlatMap<F, L, W> {
    node: NodeId,
    spread: F,
    out: Arc<Outlet<L, W>>,
}

impl<K, V, L: 'static, W: 'static, I, F> Edge<K, V> for FlatMap<F, L, W>
where
    I: IntoIterator<Item = (L, W)>,
    F: Fn(K, V) -> Result<I, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        let spread = ctx.try_call(self.node, || Ok((self.spread)(key, value)?.into_iter()))?;
        let Some(mut spread) = spread else { return Ok(()) };
        while let Some(Some((key, value))) = ctx.call(self.node, || spread.next())? {
            self.out.send(
                ctx,
                Record {
                    key,
                    value,
                    timestamp,
                    headers: headers.clone(),
                },
            )?;
        }
        Ok(())
    }
}
