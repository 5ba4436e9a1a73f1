//! `filter`, `filter_not`: keep some records.

use std::sync::Arc;

use tidemill_data::BoxError;

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::NodeId,
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Keeps the records for which `keep` is true. The key is unchanged, so no repartition follows.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).filter(|_, amount| *amount > 100).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn filter(self, keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.try_filter(move |key, value| Ok(keep(key, value)))
    }

    /// Keeps the records for which `leave_out` is false.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.stream(&IN).filter_not(|_, text| text.is_empty()).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn filter_not(self, leave_out: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.try_filter(move |key, value| Ok(!leave_out(key, value)))
    }

    /// As [`filter`](Self::filter), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::{App, Policy};
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, String> = Topic::new("out");
    /// # let app = App::new("docs");
    /// let app = App::new("docs");
    /// app.on_error(Policy::DeadLetter("unread".into()));
    /// app.stream(&IN).try_filter(|_, text| Ok(text.parse::<i64>()? > 0)).to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_filter(self, keep: impl Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync + 'static) -> Self {
        self.attach_keeping("KSTREAM-FILTER-", |node, out| Filter { node, keep, out })
    }
}

struct Filter<K, V, F> {
    node: NodeId,
    keep: F,
    out: Arc<Outlet<K, V>>,
}

impl<K: 'static, V: 'static, F> Edge<K, V> for Filter<K, V, F>
where
    F: Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        match ctx.try_call(self.node, || (self.keep)(&record.key, &record.value))? {
            Some(true) => self.out.send(ctx, record),
            Some(false) | None => Ok(()),
        }
    }
}
