//! `dedupe`: only the first of records that are the same.

use std::time::Duration;

use tidemill_data::{BoxError, Data, StoreName};

use crate::{Clock, FixedKeyProcessor, FixedKeyRecord, ForwardValues, KStream, KeyValues};

impl<K: 'static, V: 'static> KStream<K, V> {
    /// Leaves out a record if another one with the same `by` came less than `within` before it, in stream time. What
    /// is the same must come in the same partition: if `by` is not the key, select it as the key before.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{HOUR, StoreName, Topic};
    /// # const PAYMENTS: Topic<String, String> = Topic::new("payments");
    /// # const ONCE: Topic<String, String> = Topic::new("once");
    /// const SEEN: StoreName<String, i64> = StoreName::new("seen-payments");
    /// # let app = App::new("docs");
    /// app.stream(&PAYMENTS).dedupe(&SEEN, |_, payment| payment.clone(), 24 * HOUR).to(&ONCE);
    /// # app.topology().unwrap();
    /// ```
    pub fn dedupe<B: Data>(
        self,
        store: &StoreName<B, i64>,
        by: impl Fn(&K, &V) -> B + Clone + Send + Sync + 'static,
        within: Duration,
    ) -> Self {
        let app = crate::App {
            builder: self.builder.clone(),
        };
        let seen = app.key_values_with_ttl(store, within, Clock::StreamTime);
        let value = self.value.clone();
        let deduped = self.process_values_with(seen, move |seen| Dedupe { seen, by: by.clone() });
        KStream { value, ..deduped }
    }
}

struct Dedupe<B, F> {
    // When what was the same first came.
    seen: KeyValues<B, i64>,
    by: F,
}

impl<K, V, B, F> FixedKeyProcessor<K, V, V> for Dedupe<B, F>
where
    K: 'static,
    V: 'static,
    B: 'static,
    F: Fn(&K, &V) -> B + Send + Sync + 'static,
{
    fn process(
        &mut self,
        record: FixedKeyRecord<K, V>,
        to: &mut ForwardValues<'_, K, V>,
    ) -> Result<(), BoxError> {
        let by = (self.by)(record.key(), &record.value);
        if self
            .seen
            .put_if_absent(to, &by, &record.timestamp.millis())?
            .is_none()
        {
            to.forward(record);
        }
        Ok(())
    }
}
