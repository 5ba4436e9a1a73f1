//! One operator a file: the methods users call, and what runs behind them.

mod aggregate;
mod filter;
mod flat_map;
mod flat_map_values;
mod for_each;
mod group;
mod group_table;
mod join_foreign_key;
mod join_streams;
mod join_table;
mod join_tables;
mod map;
mod map_record;
mod map_values;
mod merge;
mod peek;
mod process;
mod repartition;
mod row_wise;
mod select_key;
mod sink;
mod source;
mod split;
mod table_aggregate;
mod table_filter;
mod table_map_values;
mod table_source;
mod to_stream;
mod to_table;

pub use join_foreign_key::ForeignKeyed;
pub use split::Split;

/// Whether a name was made from an operator's place in the program.
pub(crate) fn named_by_place(name: &str) -> bool {
    let digits = name.rsplit('-').next().unwrap_or_default();
    name.starts_with('K')
        && name.contains("-")
        && digits.len() == 10
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}
