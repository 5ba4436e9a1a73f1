//! Windows: which spans of time a record counts in, and when they close.

use std::time::Duration;

use crate::{
    CogroupedKStream, CountWindowedKStream, KGroupedStream, SessionWindowedCogroupedKStream,
    SessionWindowedKStream, TimeWindowedCogroupedKStream, TimeWindowedKStream,
};

/// Kinds of windows that a grouped stream can be cut into: [`Tumbling`], [`Hopping`], [`Sliding`], [`Session`] by
/// time, and [`Counted`] by number.
pub trait WindowKind: sealed::Sealed {
    /// What a grouped stream becomes.
    type Stream<K, V>;

    /// The grouped stream in these windows.
    fn of_stream<K, V>(self, grouped: KGroupedStream<K, V>) -> Self::Stream<K, V>;
}

/// Kinds of windows that cogrouped streams can be cut into: those by time.
pub trait CogroupWindowKind: sealed::Sealed {
    /// What cogrouped streams become.
    type Stream<K, A>;

    /// The cogrouped streams in these windows.
    fn of_cogrouped<K, A>(self, cogrouped: CogroupedKStream<K, A>) -> Self::Stream<K, A>;
}

mod sealed {
    pub trait Sealed {}
}

impl<K, V> KGroupedStream<K, V> {
    /// Cuts the stream into windows: each key has a row of its own in each.
    ///
    /// ```
    /// # use tidemill_streams::{App, Tumbling};
    /// # use tidemill_data::{MINUTE, SECOND, StoreName, Topic, Windowed};
    /// # const CLICKS: Topic<String, String> = Topic::new("clicks");
    /// # const OUT: Topic<Windowed<String>, Option<i64>> = Topic::new("out");
    /// const PER_MINUTE: StoreName<Windowed<String>, i64> = StoreName::new("per-minute");
    /// # let app = App::new("docs");
    /// app.stream(&CLICKS)
    ///     .group_by_key()
    ///     .window(Tumbling::of(MINUTE).grace(10 * SECOND))
    ///     .count(&PER_MINUTE)
    ///     .to_stream()
    ///     .to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn window<W: WindowKind>(self, windows: W) -> W::Stream<K, V> {
        windows.of_stream(self)
    }
}

/// When windows close: after how much of stream time, and whether the wall clock may stand in for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) grace_ms: i64,
    pub(crate) idle_ms: Option<i64>,
}

/// Windows of one size that follow each other without gaps: [0, size), [size, 2 size), and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    size: Duration,
    closing: Closing,
}

impl Tumbling {
    /// Windows of this size, which close as soon as stream time reaches their end.
    ///
    /// ```
    /// # use tidemill_streams::Tumbling;
    /// # use tidemill_data::{MINUTE, SECOND};
    /// let windows = Tumbling::of(5 * MINUTE).grace(30 * SECOND);
    /// # assert_ne!(windows, Tumbling::of(MINUTE));
    /// ```
    #[must_use]
    pub fn of(size: Duration) -> Self {
        Self {
            size,
            closing: Closing::default(),
        }
    }
}

/// Windows of one size of which a new one starts with every advance, so that they overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hopping {
    size: Duration,
    advance: Duration,
    closing: Closing,
}

impl Hopping {
    /// Windows of this size, of which one starts with every `advance`.
    ///
    /// ```
    /// # use tidemill_streams::Hopping;
    /// # use tidemill_data::MINUTE;
    /// let windows = Hopping::of(10 * MINUTE, MINUTE);
    /// # assert_ne!(windows, Hopping::of(MINUTE, MINUTE));
    /// ```
    #[must_use]
    pub fn of(size: Duration, advance: Duration) -> Self {
        Self {
            size,
            advance,
            closing: Closing::default(),
        }
    }
}

/// A window for every set of records that lie no further apart than a time difference, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliding {
    difference: Duration,
    closing: Closing,
}

impl Sliding {
    /// Windows of records no further apart than this.
    ///
    /// ```
    /// # use tidemill_streams::Sliding;
    /// # use tidemill_data::SECOND;
    /// let windows = Sliding::within(10 * SECOND);
    /// # assert_ne!(windows, Sliding::within(SECOND));
    /// ```
    #[must_use]
    pub fn within(difference: Duration) -> Self {
        Self {
            difference,
            closing: Closing::default(),
        }
    }
}

/// A window for every stretch of activity of a key, which ends when nothing comes for longer than a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    gap: Duration,
    closing: Closing,
}

impl Session {
    /// Sessions that a gap longer than this ends.
    ///
    /// ```
    /// # use tidemill_streams::Session;
    /// # use tidemill_data::MINUTE;
    /// let windows = Session::gap(30 * MINUTE).grace(MINUTE);
    /// # assert_ne!(windows, Session::gap(MINUTE));
    /// ```
    #[must_use]
    pub fn gap(gap: Duration) -> Self {
        Self {
            gap,
            closing: Closing::default(),
        }
    }
}

/// Windows of a number of records of a key, in the order in which they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub(crate) records: u32,
    pub(crate) every: u32,
}

impl Counted {
    /// Windows of this many records, one after the other.
    ///
    /// ```
    /// # use tidemill_streams::Counted;
    /// let batches = Counted::of(100);
    /// let moving = Counted::of(100).every(10);
    /// # assert_ne!(batches, moving);
    /// ```
    #[must_use]
    pub fn of(records: u32) -> Self {
        Self {
            records,
            every: records,
        }
    }

    /// Starts a window with every so many records, so that they overlap.
    ///
    /// ```
    /// # use tidemill_streams::{App, Counted};
    /// # use tidemill_data::{StoreName, Topic};
    /// # const READINGS: Topic<String, i64> = Topic::new("readings");
    /// # const LARGEST: Topic<String, i64> = Topic::new("largest");
    /// # const OPEN: StoreName<String, i64> = StoreName::new("open");
    /// # let app = App::new("docs");
    /// let moving = app.stream(&READINGS).group_by_key().window(Counted::of(100).every(10));
    /// moving.aggregate(&OPEN, |_, reading, largest| *largest = reading.max(*largest)).to(&LARGEST);
    /// # app.topology().unwrap();
    /// ```
    #[must_use]
    pub fn every(self, every: u32) -> Self {
        Self { every, ..self }
    }
}

macro_rules! closing {
    ($($windows:ident: $make:expr;)*) => {
        $(
            impl $windows {
                /// Lets records count that are late by this much of stream time, beyond the end of their window.
                ///
                /// ```
                /// # use tidemill_streams::{Hopping, Session, Sliding, Tumbling};
                /// # use tidemill_data::{MINUTE, SECOND};
                #[doc = concat!("let windows = ", stringify!($make), ".grace(5 * SECOND);")]
                #[doc = concat!("# assert_ne!(windows, ", stringify!($make), ");")]
                /// ```
                #[must_use]
                pub fn grace(self, grace: Duration) -> Self {
                    let closing = Closing { grace_ms: ms(grace), ..self.closing };
                    Self { closing, ..self }
                }

                /// Lets the wall clock stand in for stream time once no record came for this long, so that the last
                /// windows close even if nothing ever follows.
                ///
                /// Stream time then goes on with the wall clock, for windows and for a `suppress` behind them;
                /// records that come later after all are late by it.
                ///
                /// ```
                /// # use tidemill_streams::{Hopping, Session, Sliding, Tumbling};
                /// # use tidemill_data::{MINUTE, SECOND};
                #[doc = concat!("let windows = ", stringify!($make), ".close_when_idle(5 * SECOND);")]
                #[doc = concat!("# assert_ne!(windows, ", stringify!($make), ");")]
                /// ```
                #[must_use]
                pub fn close_when_idle(self, idle: Duration) -> Self {
                    let closing = Closing { idle_ms: Some(ms(idle).max(1)), ..self.closing };
                    Self { closing, ..self }
                }
            }

            impl sealed::Sealed for $windows {}
        )*
    };
}

closing! {
    Tumbling: Tumbling::of(MINUTE);
    Hopping: Hopping::of(MINUTE, SECOND);
    Sliding: Sliding::within(MINUTE);
    Session: Session::gap(MINUTE);
}

pub(crate) fn ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// When stores of windows forget, unless the program says how long they keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Forgetting {
    /// When nothing can come of it any more.
    #[default]
    WhenUnneeded,
    /// When a window takes no more records, whether or not it was emitted or others depend on it.
    AsKafkaStreams,
}

/// Where windows of time lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One starts with every advance; the end is exclusive.
    Stepping { size_ms: i64, advance_ms: i64 },
    /// They follow the records; the end is inclusive.
    Sliding { difference_ms: i64 },
}

/// Windows of a fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeWindows {
    pub(crate) shape: Shape,
    pub(crate) closing: Closing,
}

impl TimeWindows {
    /// From a window's start to its end.
    pub(crate) fn size_ms(&self) -> i64 {
        match self.shape {
            Shape::Stepping { size_ms, .. } => size_ms,
            Shape::Sliding { difference_ms } => difference_ms,
        }
    }

    /// The least that a program may choose to keep windows for, as in Kafka Streams.
    pub(crate) fn retention_ms_min(&self) -> i64 {
        let reach = match self.shape {
            Shape::Stepping { size_ms, .. } => size_ms,
            Shape::Sliding { difference_ms } => difference_ms.saturating_mul(2),
        };
        reach.saturating_add(self.closing.grace_ms)
    }

    /// How long windows are kept if the program does not say.
    pub(crate) fn retention_ms(&self, forgetting: Forgetting) -> i64 {
        match (self.shape, forgetting) {
            // A window that is open is made of one that starts up to twice the difference, and 1 ms, before it closes. The
            // newest window starts right after the newest record.
            (Shape::Sliding { .. }, Forgetting::WhenUnneeded) => self.retention_ms_min().saturating_add(3),
            _ => self.retention_ms_min(),
        }
    }

    /// What makes these no windows.
    pub(crate) fn problem(&self) -> Option<String> {
        match self.shape {
            Shape::Stepping { size_ms: 0, .. } => Some("windows need a size of at least 1 ms".to_owned()),
            Shape::Stepping { size_ms, advance_ms } if advance_ms == 0 || advance_ms > size_ms => {
                Some(format!(
                    "windows of {size_ms} ms that advance by {advance_ms} ms: the advance is from 1 ms to the size"
                ))
            }
            Shape::Stepping { .. } | Shape::Sliding { .. } => None,
        }
    }
}

/// Sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionWindows {
    pub(crate) gap_ms: i64,
    pub(crate) closing: Closing,
}

impl SessionWindows {
    /// How long sessions are kept if the program does not say.
    pub(crate) fn retention_ms(&self, forgetting: Forgetting) -> i64 {
        match forgetting {
            // A record that is not late joins sessions that ended up to a gap before it.
            Forgetting::WhenUnneeded => self
                .closes_after_ms()
                .saturating_add(self.gap_ms)
                .saturating_add(1),
            Forgetting::AsKafkaStreams => self.closes_after_ms(),
        }
    }

    /// How long after its last record a session closes.
    pub(crate) fn closes_after_ms(&self) -> i64 {
        self.gap_ms.saturating_add(self.closing.grace_ms)
    }
}

impl From<Tumbling> for TimeWindows {
    fn from(windows: Tumbling) -> Self {
        let size_ms = ms(windows.size);
        Self {
            shape: Shape::Stepping {
                size_ms,
                advance_ms: size_ms,
            },
            closing: windows.closing,
        }
    }
}

impl From<Hopping> for TimeWindows {
    fn from(windows: Hopping) -> Self {
        Self {
            shape: Shape::Stepping {
                size_ms: ms(windows.size),
                advance_ms: ms(windows.advance),
            },
            closing: windows.closing,
        }
    }
}

impl From<Sliding> for TimeWindows {
    fn from(windows: Sliding) -> Self {
        Self {
            shape: Shape::Sliding {
                difference_ms: ms(windows.difference),
            },
            closing: windows.closing,
        }
    }
}

macro_rules! time_windows {
    ($($windows:ident),*) => {
        $(
            impl WindowKind for $windows {
                type Stream<K, V> = TimeWindowedKStream<K, V>;

                fn of_stream<K, V>(self, grouped: KGroupedStream<K, V>) -> TimeWindowedKStream<K, V> {
                    TimeWindowedKStream::new(grouped, self.into())
                }
            }

            impl CogroupWindowKind for $windows {
                type Stream<K, A> = TimeWindowedCogroupedKStream<K, A>;

                fn of_cogrouped<K, A>(self, cogrouped: CogroupedKStream<K, A>) -> Self::Stream<K, A> {
                    TimeWindowedCogroupedKStream::new(cogrouped, self.into())
                }
            }
        )*
    };
}

time_windows!(Tumbling, Hopping, Sliding);

impl From<Session> for SessionWindows {
    fn from(windows: Session) -> Self {
        Self {
            gap_ms: ms(windows.gap),
            closing: windows.closing,
        }
    }
}

impl WindowKind for Session {
    type Stream<K, V> = SessionWindowedKStream<K, V>;

    fn of_stream<K, V>(self, grouped: KGroupedStream<K, V>) -> SessionWindowedKStream<K, V> {
        SessionWindowedKStream::new(grouped, self.into())
    }
}

impl CogroupWindowKind for Session {
    type Stream<K, A> = SessionWindowedCogroupedKStream<K, A>;

    fn of_cogrouped<K, A>(self, cogrouped: CogroupedKStream<K, A>) -> Self::Stream<K, A> {
        SessionWindowedCogroupedKStream::new(cogrouped, self.into())
    }
}

impl sealed::Sealed for Counted {}

impl WindowKind for Counted {
    type Stream<K, V> = CountWindowedKStream<K, V>;

    fn of_stream<K, V>(self, grouped: KGroupedStream<K, V>) -> CountWindowedKStream<K, V> {
        CountWindowedKStream::new(grouped, self)
    }
}
