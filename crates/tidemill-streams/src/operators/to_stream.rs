//! `to_stream`: a table's changes as a stream.

use std::sync::Arc;

use crate::{
    Change, KStream, KTable, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
};

use super::table_source::nullable;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// The table's changes as a stream: a new row's value, or a null for a row that went.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const PROFILES: Topic<String, String> = Topic::new("profiles");
    /// # const OUT: Topic<String, Option<String>> = Topic::new("out");
    /// # let app = App::new("docs");
    /// app.table(&PROFILES).to_stream().to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn to_stream(&self) -> KStream<K, Option<V>> {
        self.outlet.fan_out();
        let outlet = Outlet::new();
        let changes = Changes {
            out: Arc::clone(&outlet),
        };
        let node = self
            .builder
            .attach("KTABLE-TOSTREAM-", self.node, &self.outlet, |_| changes);
        let (key, value) = (self.key.clone(), self.value.as_ref().map(nullable));
        KStream {
            key,
            value,
            ..KStream::new(self.builder.clone(), node, outlet)
        }
    }
}

struct Changes<K, V> {
    out: Arc<Outlet<K, Option<V>>>,
}

impl<K: 'static, V: 'static> Edge<K, Change<V>> for Changes<K, V> {
    fn send(&self, ctx: &mut Context, record: Record<K, Change<V>>) -> Flow {
        let Record {
            key,
            value,
            timestamp,
            headers,
        } = record;
        self.out.send(
            ctx,
            Record {
                key,
                value: value.new,
                timestamp,
                headers,
            },
        )
    }
}
