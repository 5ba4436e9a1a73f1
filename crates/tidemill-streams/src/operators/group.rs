//! `group_by`, `group_by_key`: records together by key, to be aggregated.

use tidemill_data::{BoxError, Data};

use crate::{KGroupedStream, KStream};

use super::repartition::Through;

impl<K: Data, V: Data> KStream<K, V> {
    /// Groups records by their key. If the key was changed before, the stream is repartitioned first.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// app.stream(&IN).group_by_key().count(&COUNTS);
    /// # app.topology().unwrap();
    /// ```
    pub fn group_by_key(self) -> KGroupedStream<K, V> {
        let (key, value) = (self.key_wire(), self.value_wire());
        KGroupedStream {
            stream: self,
            key,
            value,
        }
    }

    /// Groups records by another key. The stream is repartitioned first.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const WORDS: Topic<String, String> = Topic::new("words");
    /// # const COUNTS: StoreName<String, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// app.stream(&WORDS).group_by(|_, word| word.to_lowercase()).count(&COUNTS);
    /// # app.topology().unwrap();
    /// ```
    pub fn group_by<L: Data>(
        self,
        select: impl Fn(&K, &V) -> L + Send + Sync + 'static,
    ) -> KGroupedStream<L, V> {
        self.select_key(select).group_by_key()
    }

    /// As [`group_by`](Self::group_by), with a closure that may fail.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const COUNTS: StoreName<i64, i64> = StoreName::new("counts");
    /// # let app = App::new("docs");
    /// app.stream(&IN).try_group_by(|_, text| Ok(text.parse::<i64>()?)).count(&COUNTS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_group_by<L: Data>(
        self,
        select: impl Fn(&K, &V) -> Result<L, BoxError> + Send + Sync + 'static,
    ) -> KGroupedStream<L, V> {
        self.try_select_key(select).group_by_key()
    }
}

impl<K: 'static, V: 'static> KGroupedStream<K, V> {
    /// The stream with equal keys together: behind a repartition topic named for the store, if the key changed.
    pub(crate) fn together(self, store: &str) -> KStream<K, V> {
        if !self.stream.key_changed {
            return self.stream;
        }
        let (key, value) = (self.key, self.value);
        self.stream.through(&Through {
            name: store,
            key,
            value,
            partitions: None,
        })
    }
}
