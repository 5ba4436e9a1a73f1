//! `peek`: look at records as they pass.

use std::sync::Arc;

use tidemill_data::BoxError;

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    graph::NodeId,
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Calls `look` with each record and hands it on.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN).peek(|user, text| println!("{user}: {text}")).to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn peek(self, look: impl Fn(&K, &V) + Send + Sync + 'static) -> Self {
        self.try_peek(move |key, value| {
            look(key, value);
            Ok(())
        })
    }

    /// As [`peek`](Self::peek), with a closure that may fail: a record that fails goes no further.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN)
    ///     .try_peek(|user, _| if user.is_empty() { Err("a user without a name".into()) } else { Ok(()) })
    ///     .to(&IN);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_peek(self, look: impl Fn(&K, &V) -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.attach_keeping("KSTREAM-PEEK-", |node, out| Peek { node, look, out })
    }
}

struct Peek<F, K, V> {
    node: NodeId,
    look: F,
    out: Arc<Outlet<K, V>>,
}

impl<K: 'static, V: 'static, F> Edge<K, V> for Peek<F, K, V>
where
    F: Fn(&K, &V) -> Result<(), BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        match ctx.try_call(self.node, || (self.look)(&record.key, &record.value))? {
            Some(()) => self.out.send(ctx, record),
            None => Ok(()),
        }
    }
}
