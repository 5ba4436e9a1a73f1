//! `for_each`: the end of a stream in user code.

use tidemill_data::BoxError;

use crate::{
    KStream, Record,
    context::Context,
    edge::{Edge, Flow},
    graph::NodeId,
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Calls `act` with each record, which ends here.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN).for_each(|user, text| println!("{user}: {text}"));
    /// # app.topology().unwrap();
    /// ```
    pub fn for_each(self, act: impl Fn(K, V) + Send + Sync + 'static) {
        self.try_for_each(move |key, value| {
            act(key, value);
            Ok(())
        });
    }

    /// As [`for_each`](Self::for_each), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # let app = App::new("docs");
    /// app.stream(&IN).try_for_each(|_, text| {
    ///     println!("{}", text.parse::<i64>()?);
    ///     Ok(())
    /// });
    /// # app.topology().unwrap();
    /// ```
    pub fn try_for_each(self, act: impl Fn(K, V) -> Result<(), BoxError> + Send + Sync + 'static) {
        self.builder
            .attach("KSTREAM-FOREACH-", self.node, &self.outlet, |node| ForEach {
                node,
                act,
            });
    }
}

struct ForEach<F> {
    node: NodeId,
    act: F,
}

impl<K, V, F: Fn(K, V) -> Result<(), BoxError> + Send + Sync> Edge<K, V> for ForEach<F> {
    fn send(&self, ctx: &mut Context, record: Record<K, V>) -> Flow {
        ctx.try_call(self.node, || (self.act)(record.key, record.value))
            .map(|_| ())
    }
}
