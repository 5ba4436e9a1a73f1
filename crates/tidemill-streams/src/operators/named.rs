//! `named`: names for operators, instead of those from their place in the program.

use crate::{KStream, KTable};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Names the operator before this: in `describe`, errors, dead letters and metrics. As in Kafka Streams, an operator
    /// that is named takes no number, so those behind it have the numbers that they would have without it. Two operators
    /// of one name are refused when the program starts, and so is a name with other characters than Kafka's topics have.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::Topic;
    /// # const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// # const LARGE: Topic<String, i64> = Topic::new("large");
    /// let app = App::new("docs");
    /// app.stream(&ORDERS).filter(|_, cents| *cents > 10_000).named("only-large").to(&LARGE);
    /// assert!(app.describe()?.contains("Processor: only-large (stores: [])"));
    /// assert!(app.describe()?.contains("--> KSTREAM-SINK-0000000001"));
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    pub fn named(self, name: impl Into<String>) -> Self {
        self.builder.lock().rename(self.node, name.into());
        self
    }
}

impl<K: 'static, V: 'static> KTable<K, V> {
    /// Names the operator before this, as [`KStream::named`] does.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// let counts = app.stream(&CLICKS).group_by_key().count(&COUNTS).named("clicks-of-users");
    /// assert!(app.describe()?.contains("Processor: clicks-of-users (stores: [counts])"));
    /// # Ok::<(), tidemill_streams::TopologyError>(())
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.builder.lock().rename(self.node, name.into());
        self
    }
}
