//! The processors of a case.

mod plain;
mod stored;
mod timed;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tidemill_data::{MILLISECOND, StoreName};
use tidemill_streams::{App, Clock, KStream, KeyValues, Windows};

use super::{Made, Op, Program, StoredRows, Text};

impl Program {
    /// Adds a processor, or gives nothing for an operator that is none.
    pub(super) fn processor(&mut self, op: &Op) -> Result<Option<Made>> {
        let stream = match op.op.as_str() {
            "process" => self.process(op)?,
            "process_values" => self.process_values(op)?,
            _ => return Ok(None),
        };
        Ok(Some(Made::Stream(stream)))
    }

    fn process(&mut self, op: &Op) -> Result<KStream<Text, Text>> {
        let stream = self.stream(op.parent()?)?;
        let call = Call::of(op)?;
        let clock = if call.name.ends_with("_wall") {
            Clock::WallClock
        } else {
            Clock::StreamTime
        };
        Ok(match call.name {
            "dedupe" => stream.process_with(self.texts(op)?, stored::Dedupe),
            "count_punctuate_stream" | "count_punctuate_wall" => {
                let every = call.span(0)?;
                stream.process_with(self.texts(op)?, move |counts| timed::CountPunctuate {
                    counts,
                    every,
                    clock,
                })
            }
            "tick_then_cancel_stream" | "tick_then_cancel_wall" => {
                let (every, last) = (call.span(0)?, call.number(1)?);
                stream.process(move || timed::TickThenCancel {
                    every,
                    clock,
                    last,
                    ticks: 0,
                })
            }
            "forward_twice" => stream.process(|| plain::ForwardTwice),
            "with_ts" => stream.process(|| plain::WithTimestamp),
            "with_stream_time" => stream.process(|| plain::WithStreamTime),
            "shift_ts" => {
                let by_ms = call.number(0)?;
                stream.process(move || plain::ShiftTimestamp { by_ms })
            }
            "add_header" => {
                let (name, value) = (call.text(0)?, call.text(1)?);
                stream.process(move || plain::AddHeader {
                    name: name.clone(),
                    value: value.clone(),
                })
            }
            "remove_header" => {
                let name = call.text(0)?;
                stream.process(move || plain::RemoveHeader { name: name.clone() })
            }
            "batch" => {
                let size = call.number(0)?;
                stream.process_with(self.texts(op)?, move |rows| stored::Batch {
                    rows,
                    size,
                    stored: 0,
                })
            }
            "range_dump" => {
                let range = (call.text(0)?, call.text(1)?);
                stream.process_with(self.texts(op)?, move |rows| stored::RangeDump {
                    rows,
                    range: range.clone(),
                })
            }
            "window_count" | "window_fetch" => self.windowed(op, &call, stream)?,
            unknown => bail!("the processor `{unknown}` is not known"),
        })
    }

    fn windowed(&mut self, op: &Op, call: &Call, stream: KStream<Text, Text>) -> Result<KStream<Text, Text>> {
        let windows = self.windows(op, call)?;
        if call.name == "window_count" {
            let size_ms = call.number(0)?;
            return Ok(stream.process_with(windows, move |windows| stored::WindowCount { windows, size_ms }));
        }
        let reach = call.span(0)?;
        Ok(stream.process_with(windows, move |windows| stored::WindowFetch { windows, reach }))
    }

    fn process_values(&mut self, op: &Op) -> Result<KStream<Text, Text>> {
        let stream = self.stream(op.parent()?)?;
        Ok(match Call::of(op)?.name {
            "forward_twice" => stream.process_values(|| plain::ForwardTwice),
            "with_ts" => stream.process_values(|| plain::WithTimestamp),
            "dedupe" => stream.process_values_with(self.texts(op)?, stored::Dedupe),
            "running_count" => stream.process_values_with(self.texts(op)?, stored::RunningCount),
            unknown => bail!("the processor `{unknown}` is not known"),
        })
    }

    fn texts(&mut self, op: &Op) -> Result<KeyValues<String, Text>> {
        let name = op.need_text("name")?;
        self.stores.insert(name.to_owned(), StoredRows::Plain);
        Ok(self.app.key_values(&StoreName::named(name)))
    }

    fn windows(&mut self, op: &Op, call: &Call) -> Result<Windows<String, Text>> {
        let name = op.need_text("name")?;
        let rows = StoredRows::PlainWindows {
            size_ms: call.number(0)?,
        };
        self.stores.insert(name.to_owned(), rows);
        let app: &App = &self.app;
        Ok(app.windows(&StoreName::named(name), call.span(0)?, call.span(1)?))
    }
}

/// A processor as the case writes it: its name and its arguments.
struct Call<'a> {
    name: &'a str,
    arguments: &'a [Value],
}

impl<'a> Call<'a> {
    fn of(op: &'a Op) -> Result<Self> {
        let call = op
            .need("processor")?
            .as_array()
            .context("a processor is a list")?;
        let (name, arguments) = call.split_first().context("a processor has a name")?;
        let name = name.as_str().context("a processor's name is text")?;
        Ok(Self { name, arguments })
    }

    fn number(&self, at: usize) -> Result<i64> {
        let argument = self.arguments.get(at).and_then(Value::as_i64);
        argument.with_context(|| format!("argument {at} of `{}` is a number", self.name))
    }

    fn span(&self, at: usize) -> Result<std::time::Duration> {
        Ok(MILLISECOND * u32::try_from(self.number(at)?)?)
    }

    fn text(&self, at: usize) -> Result<String> {
        let argument = self.arguments.get(at).and_then(Value::as_str);
        let argument = argument.with_context(|| format!("argument {at} of `{}` is a text", self.name));
        Ok(argument?.to_owned())
    }
}
