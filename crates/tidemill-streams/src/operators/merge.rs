//! `merge`: two streams as one.

use std::sync::Arc;

use crate::{
    KStream,
    edge::{Outlet, PassOn},
};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// The records of both streams, each as it comes; there is no order between them.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const LEFT: Topic<String, String> = Topic::new("left");
    /// # const RIGHT: Topic<String, String> = Topic::new("right");
    /// # let app = App::new("docs");
    /// app.stream(&LEFT).merge(app.stream(&RIGHT)).to(&LEFT);
    /// # app.topology().unwrap();
    /// ```
    pub fn merge(self, other: Self) -> Self {
        let outlet = Outlet::new();
        let node = self
            .builder
            .lock()
            .processor("KSTREAM-MERGE-", &[self.node, other.node]);
        self.outlet.attach(node.0, Arc::new(PassOn(Arc::clone(&outlet))));
        other.outlet.attach(node.0, Arc::new(PassOn(Arc::clone(&outlet))));
        let key_changed = self.key_changed || other.key_changed;
        let (key, value) = (self.key.clone(), self.value.clone());
        Self {
            key_changed,
            key,
            value,
            ..Self::new(self.builder, node, outlet)
        }
    }
}
