//! Processors with schedules.

use std::time::Duration;

use tidemill_data::{BoxError, Headers, Timestamp};
use tidemill_streams::{Clock, Direction, Forward, KeyValues, Processor, Record, ScheduleId, Timers};

use super::super::super::functions::{Text, number};

type To<'a, 'b> = &'a mut Forward<'b, Text, Text>;

pub(super) struct CountPunctuate {
    pub(super) counts: KeyValues<String, Text>,
    pub(super) every: Duration,
    pub(super) clock: Clock,
}

impl Processor<Text, Text, Text, Text> for CountPunctuate {
    fn start(&mut self, timers: &mut Timers<'_>) {
        timers.every(self.every, self.clock);
    }

    fn process(&mut self, record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        let Some(key) = record.key else { return Ok(()) };
        if record.value.is_none() {
            return self.counts.delete(to, &key);
        }
        let count = number(&self.counts.get(to, &key)?.flatten()) + 1;
        self.counts.put(to, &key, &Some(count.to_string()))
    }

    fn punctuate(&mut self, _: ScheduleId, now: Timestamp, to: To<'_, '_>) -> Result<(), BoxError> {
        let counts = self
            .counts
            .all(to, Direction::Forward)?
            .collect::<Result<Vec<_>, _>>()?;
        for (key, count) in counts {
            to.forward(Record {
                key: Some(key),
                value: count,
                timestamp: now,
                headers: Headers::new(),
            });
        }
        Ok(())
    }
}

pub(super) struct TickThenCancel {
    pub(super) every: Duration,
    pub(super) clock: Clock,
    pub(super) last: i64,
    pub(super) ticks: i64,
}

impl Processor<Text, Text, Text, Text> for TickThenCancel {
    fn start(&mut self, timers: &mut Timers<'_>) {
        timers.every(self.every, self.clock);
    }

    fn process(&mut self, record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        to.forward(record);
        Ok(())
    }

    fn punctuate(&mut self, schedule: ScheduleId, now: Timestamp, to: To<'_, '_>) -> Result<(), BoxError> {
        self.ticks += 1;
        to.forward(Record {
            key: Some("tick".to_owned()),
            value: Some(self.ticks.to_string()),
            timestamp: now,
            headers: Headers::new(),
        });
        if self.ticks >= self.last {
            to.cancel(schedule);
        }
        Ok(())
    }
}
