//! One operator a file: the methods users call, and what runs behind them.

mod aggregate;
mod average;
mod closer;
mod cogroup;
mod cogroup_windowed;
mod count_windowed;
mod dedupe;
mod distinct;
mod extremes;
mod filter;
mod first_due;
mod flat_map;
mod flat_map_values;
mod for_each;
mod group;
mod group_table;
mod join_foreign_key;
mod join_global;
mod join_streams;
mod join_table;
mod join_table_with_grace;
mod join_tables;
mod map;
mod map_async;
mod map_record;
mod map_values;
mod mark_as_partitioned;
mod merge;
mod named;
mod open_windows;
mod pattern;
mod peek;
mod process;
mod repartition;
mod row_wise;
mod select_key;
mod sequence;
mod session_aggregate;
mod session_windowed;
mod sink;
mod sliding_aggregate;
mod source;
mod split;
mod sum;
mod suppress;
mod table_aggregate;
mod table_filter;
mod table_map_values;
mod table_source;
mod time_windowed;
mod to_stream;
mod to_table;
mod top_n;
mod transform_values;
mod window_aggregate;

pub(crate) use source::{NullKeys, read, source};
pub(crate) use table_source::nullable;

pub use average::Average;
pub use cogroup::CogroupedKStream;
pub use cogroup_windowed::{SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream};
pub use count_windowed::CountWindowedKStream;
pub use distinct::Distinct;
pub use join_foreign_key::ForeignKeyed;
pub use join_table_with_grace::Grace;
pub use map_async::InFlight;
pub use pattern::Pattern;
pub use session_windowed::SessionWindowedKStream;
pub use split::Split;
pub use suppress::{Buffer, WhenFull};
pub use time_windowed::TimeWindowedKStream;
pub use top_n::Top;

/// Whether a name was made from an operator's place in the program.
pub(crate) fn named_by_place(name: &str) -> bool {
    let digits = name.rsplit('-').next().unwrap_or_default();
    name.starts_with('K')
        && name.contains("-")
        && digits.len() == 10
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}
