//! `to_table`: a stream as a table.

use tidemill_data::{Data, Headers, Place};

use crate::{KStream, KTable, Materialized};

use super::{repartition::Through, table_source::Kept};

impl<K: Data, V: Data> KStream<K, V> {
    /// The stream as a table: a record is a new row. A null value, where the type has one, deletes.
    ///
    /// If the key was changed before, the stream is repartitioned first.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// const LATEST: StoreName<String, String> = StoreName::new("latest");
    /// # let app = App::new("docs");
    /// app.stream(&IN).to_table(&LATEST);
    /// # app.topology().unwrap();
    /// ```
    pub fn to_table(self, store: impl Into<Materialized<K, V>>) -> KTable<K, V> {
        let nulls = self.value_wire();
        self.into_table(store.into(), move |value| {
            (!nulls.is_null(Place::value("", &Headers::new()), &value)).then_some(value)
        })
    }

    fn into_table<W: 'static>(
        self,
        materialized: Materialized<K, W>,
        split: impl Fn(V) -> Option<W> + Send + Sync + 'static,
    ) -> KTable<K, W> {
        let builder = self.builder.clone();
        let name = builder.lock().name("KSTREAM-TOTABLE-");
        let kept = Kept::declare(&builder, "KSTREAM-TOTABLE-", materialized);
        let stream = if self.key_changed {
            let (key, value) = (self.key_wire(), self.value_wire());
            self.through(&Through {
                name: &name,
                key,
                value,
                partitions: None,
            })
        } else {
            self
        };
        kept.table(&builder, name, stream.node, &stream.outlet, split)
    }
}

impl<K: Data, V: Data> KStream<K, Option<V>> {
    /// The stream as a table: a record is a new row, or, with a null value, a deleted one.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, Option<String>> = Topic::new("in");
    /// const LATEST: StoreName<String, String> = StoreName::new("latest");
    /// # let app = App::new("docs");
    /// app.stream(&IN).to_table_with_deletes(&LATEST);
    /// # app.topology().unwrap();
    /// ```
    pub fn to_table_with_deletes(self, store: impl Into<Materialized<K, V>>) -> KTable<K, V> {
        self.into_table(store.into(), |value| value)
    }
}
