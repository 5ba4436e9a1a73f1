//! `mark_as_partitioned`: the program knows that a new key needs no repartitioning.

use std::sync::Arc;

use crate::KStream;

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Says that records of equal keys are in one partition already, although their keys were changed: what follows
    /// then needs no repartition topic. Where that is not so, aggregations and joins give wrong results.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// // The topic's partitions are chosen by the user's name without case.
    /// let by_name = app.stream(&IN).select_key(|user, _| user.to_lowercase()).mark_as_partitioned();
    /// by_name.group_by_key().count(&COUNTS);
    /// # assert!(app.topology().unwrap().subtopologies().iter().all(|part| part.repartition_sinks.is_empty()));
    /// ```
    pub fn mark_as_partitioned(self) -> Self {
        Self {
            key_changed: false,
            repartitioned: Arc::default(),
            ..self
        }
    }
}
