//! `peek`: look at records as they pass.

use std::sync::Arc;

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
        self.attach_keeping("KSTREAM-PEEK-", |node, out| Peek { node, look, out })
    }
}

struct Peek<F, K, V> {
    node: NodeId,
    look: F,
    out: Arc<Outlet<K, V>>,
}

impl<K: 'static, V: 'static, F: Fn(&K, &V) + Send + Sync> Edge<K, V> for Peek<F, K, V> {
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        match ctx.call(self.node, || (self.look)(&record.key, &record.value))? {
            Some(()) => self.out.send(ctx, record),
            None => Ok(()),
        }
    }
}
