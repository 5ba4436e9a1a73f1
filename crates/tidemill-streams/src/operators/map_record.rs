//! `map_record`: key, value, timestamp and headers at once.

use std::sync::Arc;

use tidemill_data::BoxError;

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::NodeId,
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Makes each record anew, its timestamp and headers too. A grouping, table or join on the key after this
    /// repartitions first.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .map_record(|mut record| {
    ///         record.headers = record.headers.with("seen-by", "docs");
    ///         record
    ///     })
    ///     .to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn map_record<L: 'static, W: 'static>(
        self,
        change: impl Fn(Record<K, V>) -> Record<L, W> + Send + Sync + 'static,
    ) -> KStream<L, W> {
        self.try_map_record(move |record| Ok(change(record)))
    }

    /// As [`map_record`](Self::map_record), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{Timestamp, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .try_map_record(|mut record| {
    ///         record.timestamp = Timestamp::from_millis(record.value.parse()?);
    ///         Ok(record)
    ///     })
    ///     .to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_map_record<L: 'static, W: 'static>(
        self,
        change: impl Fn(Record<K, V>) -> Result<Record<L, W>, BoxError> + Send + Sync + 'static,
    ) -> KStream<L, W> {
        self.attach_changing_keys("KSTREAM-PROCESSOR-", |node, out| MapRecord { node, change, out })
    }
}

struct MapRecord<F, L, W> {
    node: NodeId,
    change: F,
    out: Arc<Outlet<L, W>>,
}

impl<K, V, L: 'static, W: 'static, F> Edge<K, V> for MapRecord<F, L, W>
where
    F: Fn(Record<K, V>) -> Result<Record<L, W>, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        match ctx.try_call(self.node, || (self.change)(record))? {
            Some(record) => self.out.send(ctx, record),
            None => Ok(()),
        }
    }
}
