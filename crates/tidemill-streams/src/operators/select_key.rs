//! `select_key`: another key for each record.

use std::sync::Arc;

use tidemill_data::BoxError;

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::NodeId,
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Gives each record another key. A grouping, table or join on the key after this repartitions first.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN).select_key(|_, text| text.to_lowercase()).to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn select_key<L: 'static>(
        self,
        select: impl Fn(&K, &V) -> L + Send + Sync + 'static,
    ) -> KStream<L, V> {
        self.try_select_key(move |key, value| Ok(select(key, value)))
    }

    /// As [`select_key`](Self::select_key), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN).try_select_key(|_, text| Ok(text.parse::<i64>()?)).for_each(|number, _| println!("{number}"));
    /// # app.topology().unwrap();
    /// ```
    pub fn try_select_key<L: 'static>(
        self,
        select: impl Fn(&K, &V) -> Result<L, BoxError> + Send + Sync + 'static,
    ) -> KStream<L, V> {
        let value = self.value.clone();
        let selected =
            self.attach_changing_keys("KSTREAM-KEY-SELECT-", |node, out| SelectKey { node, select, out });
        KStream { value, ..selected }
    }
}

pub(super) struct SelectKey<F, L, V> {
    pub(super) node: NodeId,
    pub(super) select: F,
    pub(super) out: Arc<Outlet<L, V>>,
}

impl<K, V: 'static, L: 'static, F> Edge<K, V> for SelectKey<F, L, V>
where
    F: Fn(&K, &V) -> Result<L, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        match ctx.try_call(self.node, || (self.select)(&record.key, &record.value))? {
            Some(key) => self.out.send(ctx, record.with_key(key)),
            None => Ok(()),
        }
    }
}
