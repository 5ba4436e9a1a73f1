//! `avg`: the mean of each key.

use tidemill_data::{Data, DecodeError, EncodeError, Presence, Windowed};

use crate::{KGroupedStream, KTable, Materialized, SessionWindowedKStream, TimeWindowedKStream};

impl<K: 'static, V: 'static> KGroupedStream<K, V> {
    /// The mean of the numbers that `of` takes from the records of each key: see [`Average::mean`].
    ///
    /// ```
    /// # use tidemill_streams::{App, Average};
    /// # use tidemill_data::{StoreName, Topic};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, Average> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().avg(&STORE, |_, amount| amount as f64);
    /// # app.topology().unwrap();
    /// ```
    pub fn avg<F: Fn(&K, V) -> f64 + Send + Sync + 'static>(
        self,
        store: impl Into<Materialized<K, Average>>,
        of: F,
    ) -> KTable<K, Average> {
        self.aggregate(store, move |key, value, average: &mut Average| {
            average.add(of(key, value));
        })
    }
}

impl<K: Clone + 'static, V: Clone + 'static> TimeWindowedKStream<K, V> {
    /// The mean of the numbers that `of` takes from the records of each key in each window: see [`Average::mean`].
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling, Average};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, Average> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let table = app.stream(&AMOUNTS).group_by_key().window(Tumbling::of(MINUTE)).avg(&STORE, |_, amount| amount as f64);
    /// # app.topology().unwrap();
    /// ```
    pub fn avg<F: Fn(&K, V) -> f64 + Send + Sync + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, Average>>,
        of: F,
    ) -> KTable<Windowed<K>, Average> {
        self.aggregate(store, move |key, value, average: &mut Average| {
            average.add(of(key, value));
        })
    }
}

impl<K: Clone + 'static, V: Clone + 'static> SessionWindowedKStream<K, V> {
    /// The mean of the numbers that `of` takes from the records of each key in each session: see [`Average::mean`].
    ///
    /// ```
    /// # use tidemill_streams::{App, Session, Average};
    /// # use tidemill_data::{MINUTE, StoreName, Topic, Windowed};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<Windowed<String>, Average> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// let sessions = app.stream(&AMOUNTS).group_by_key().window(Session::gap(30 * MINUTE));
    /// let table = sessions.avg(&STORE, |_, amount| amount as f64);
    /// # app.topology().unwrap();
    /// ```
    pub fn avg<F: Fn(&K, V) -> f64 + Send + Sync + 'static>(
        self,
        store: impl Into<Materialized<Windowed<K>, Average>>,
        of: F,
    ) -> KTable<Windowed<K>, Average> {
        self.aggregate(
            store,
            move |key, value, average: &mut Average| average.add(of(key, value)),
            |a, b| Average {
                sum: a.sum + b.sum,
                count: a.count + b.count,
            },
        )
    }
}

/// A mean in the making: what numbers add up to, and how many they are.
///
/// ```text
/// 0  f64 big-endian  sum
/// 8  u64 big-endian  count
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Average {
    sum: f64,
    count: u64,
}

impl Average {
    /// Takes in one more number.
    ///
    /// ```
    /// # use tidemill_streams::Average;
    /// let mut average = Average::default();
    /// average.add(1.0);
    /// average.add(4.0);
    /// assert_eq!(average.mean(), Some(2.5));
    /// ```
    pub fn add(&mut self, number: f64) {
        self.sum += number;
        self.count += 1;
    }

    /// The mean; `None` of no numbers.
    ///
    /// ```
    /// # use tidemill_data::{StoreName, Topic};
    /// # use tidemill_streams::{App, Average};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const AMOUNTS: Topic<String, i64> = Topic::new("amounts");
    /// const STORE: StoreName<String, Average> = StoreName::new("store");
    /// # let app = App::new("docs");
    /// app.stream(&AMOUNTS).group_by_key().avg(&STORE, |_, amount| amount as f64);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&AMOUNTS, "a", 1, ms(1));
    /// test.pipe(&AMOUNTS, "a", 4, ms(2));
    /// assert_eq!(test.row(&STORE, "a").and_then(|row| row.value.mean()), Some(2.5));
    /// assert_eq!(Average::default().mean(), None);
    /// ```
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// What the numbers add up to.
    ///
    /// ```
    /// # use tidemill_streams::Average;
    /// let mut average = Average::default();
    /// average.add(1.0);
    /// average.add(4.0);
    /// assert_eq!(average.sum(), 5.0);
    /// ```
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// How many numbers there are.
    ///
    /// ```
    /// # use tidemill_streams::Average;
    /// let mut average = Average::default();
    /// average.add(1.0);
    /// average.add(4.0);
    /// assert_eq!(average.count(), 2);
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Data for Average {
    fn encode(&self, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        out.extend_from_slice(&self.sum.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        Ok(Presence::Value)
    }

    fn decode(bytes: Option<&[u8]>) -> Result<Self, DecodeError> {
        let bytes = bytes.ok_or_else(DecodeError::null::<Self>)?;
        let malformed = || DecodeError::of::<Self>("16 bytes", "it has another length");
        let (sum, count) = bytes.split_first_chunk().ok_or_else(malformed)?;
        Ok(Self {
            sum: f64::from_be_bytes(*sum),
            count: u64::from_be_bytes(count.try_into().map_err(|_| malformed())?),
        })
    }
}
