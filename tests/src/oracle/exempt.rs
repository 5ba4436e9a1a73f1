//! Cases whose outputs rest on what no changelog holds, so that a restart changes them.

use serde_json::Value;

use super::case::Case;

/// Processors that rest on a schedule, which starts anew with its task, or on a field of their own.
const FORGETFUL: [&str; 5] = [
    "count_punctuate_stream",
    "count_punctuate_wall",
    "tick_then_cancel_stream",
    "tick_then_cancel_wall",
    "batch",
];

/// Whether a restart between its steps may change what a case gives: it rests on punctuator schedules, on the clock
/// by which emissions are throttled, or on a processor's own fields.
pub fn forgets_at_restart(case: &Case) -> bool {
    let processors = case
        .topology
        .iter()
        .filter_map(|op| op.parameters.get("processor"));
    let mut names = processors.filter_map(|processor| processor.get(0).and_then(Value::as_str));
    case.config.emit_interval_ms > 0 || names.any(|name| FORGETFUL.contains(&name))
}
