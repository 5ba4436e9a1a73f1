//! `global_store`: a store that every instance keeps whole, filled from a topic by a function of the user's own.

use std::sync::Arc;

use tidemill_data::{BoxError, StoreName, Topic};

use crate::{
    App, GlobalKTable, GlobalStoreRows, Materialized, Record,
    graph::GlobalFill,
    processor::{Bound, Filling},
};

impl App {
    /// A store that every instance keeps whole, as [`global_table`](Self::global_table) does, of the rows that a function
    /// makes of a topic's records: other keys, other values, several rows of a record or one of several.
    ///
    /// The function sees the records of all partitions, each partition's in order. It has no memory but the store, so all
    /// instances come to equal rows where the order between partitions does not matter. A new instance sends the topic
    /// through the function from its start; after a restart it goes on where the store stands, with no record seen
    /// twice. There is no changelog, so the topic should keep what the rows need. For deletions have a topic of
    /// `Option<V>`, for records without a key one of `Option<K>`. Records that cannot be read, and those the function
    /// fails on, are for the policy; what it had put before it failed stays.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, StoreName, Topic};
    /// # use tidemill_streams::{App, FixedKeyProcessor, FixedKeyRecord, ForwardValues, TableRows};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const MAILS: Topic<String, String> = Topic::new("mails");
    /// # const KNOWN: Topic<String, i64> = Topic::new("known");
    /// /// Numbers of users, and their addresses.
    /// const USERS: Topic<i64, String> = Topic::new("users");
    /// const BY_ADDRESS: StoreName<String, i64> = StoreName::new("by-address");
    ///
    /// struct Find(TableRows<String, i64>);
    ///
    /// impl FixedKeyProcessor<String, String, i64> for Find {
    ///     fn process(
    ///         &mut self,
    ///         mail: FixedKeyRecord<String, String>,
    ///         to: &mut ForwardValues<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         if let Some(user) = self.0.get(to, mail.key())? {
    ///             to.forward(mail.with_value(user));
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let by_address = app.global_store(&USERS, &BY_ADDRESS, |user, rows| {
    ///     rows.put(&user.value.to_lowercase(), &user.key)
    /// });
    /// app.stream(&MAILS).process_values_with(by_address.rows(), Find).to(&KNOWN);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&USERS, 7, "Ada@Example.org", ms(1));
    /// test.pipe(&MAILS, "ada@example.org", "hello", ms(2));
    /// assert_eq!(test.read(&KNOWN)[0].value, 7);
    /// ```
    pub fn global_store<K: 'static, V: 'static, L: 'static, W: 'static>(
        &self,
        topic: &Topic<K, V>,
        store: &StoreName<L, W>,
        fill: impl Fn(Record<K, V>, &mut GlobalStoreRows<'_, L, W>) -> Result<(), BoxError>
        + Send
        + Sync
        + 'static,
    ) -> GlobalKTable<L, W> {
        let changelog = format!("{}-{}-changelog", self.builder.lock().app, store.name());
        let (key, value) = (store.key().clone(), store.value().clone());
        let materialized = Materialized::from(store);
        self.global_of(topic.name(), changelog.clone(), &materialized, |index, _| {
            GlobalFill::Made(Arc::new(Filling {
                key: topic.key().clone(),
                value: topic.value().clone(),
                bound: Bound::of_topic(index, store.name(), &changelog, key, value),
                fill,
            }))
        })
    }
}
