//! Processors with a store.

use std::time::Duration;

use tidemill_data::{BoxError, Timestamp};
use tidemill_streams::{
    Direction, FixedKeyProcessor, FixedKeyRecord, Forward, ForwardValues, KeyValues, Processor,
    ProcessorContext, Record, Windows,
};

use super::super::super::functions::{Text, dash, number};

type To<'a, 'b> = &'a mut Forward<'b, Text, Text>;

pub(super) struct Dedupe(pub(super) KeyValues<String, Text>);

impl Dedupe {
    fn is_new(&self, at: &mut ProcessorContext<'_>, key: &Text, value: &Text) -> Result<bool, BoxError> {
        let Some(key) = key else { return Ok(true) };
        if value.is_some() && self.0.get(at, key)?.as_ref() == Some(value) {
            return Ok(false);
        }
        self.0.put(at, key, value)?;
        Ok(true)
    }
}

impl Processor<Text, Text, Text, Text> for Dedupe {
    fn process(&mut self, record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        if self.is_new(to, &record.key, &record.value)? {
            to.forward(record);
        }
        Ok(())
    }
}

impl FixedKeyProcessor<Text, Text, Text> for Dedupe {
    fn process(
        &mut self,
        record: FixedKeyRecord<Text, Text>,
        to: &mut ForwardValues<'_, Text, Text>,
    ) -> Result<(), BoxError> {
        if self.is_new(to, record.key(), &record.value)? {
            to.forward(record);
        }
        Ok(())
    }
}

pub(super) struct RunningCount(pub(super) KeyValues<String, Text>);

impl FixedKeyProcessor<Text, Text, Text> for RunningCount {
    fn process(
        &mut self,
        record: FixedKeyRecord<Text, Text>,
        to: &mut ForwardValues<'_, Text, Text>,
    ) -> Result<(), BoxError> {
        let Some(key) = record.key().clone() else {
            to.forward(record);
            return Ok(());
        };
        let count = number(&self.0.get(to, &key)?.flatten()) + 1;
        self.0.put(to, &key, &Some(count.to_string()))?;
        let value = Some(format!("{}#{count}", dash(&record.value)));
        to.forward(record.with_value(value));
        Ok(())
    }
}

pub(super) struct Batch {
    pub(super) rows: KeyValues<String, Text>,
    pub(super) size: i64,
    pub(super) stored: i64,
}

impl Processor<Text, Text, Text, Text> for Batch {
    fn process(&mut self, record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        let (Some(key), Some(_)) = (&record.key, &record.value) else {
            return Ok(());
        };
        self.rows.put(to, key, &record.value)?;
        self.stored += 1;
        if self.stored % self.size != 0 {
            return Ok(());
        }
        let rows = self
            .rows
            .all(to, Direction::Forward)?
            .collect::<Result<Vec<_>, _>>()?;
        for (key, value) in rows {
            self.rows.delete(to, &key)?;
            to.forward(record.clone().with_key(Some(key)).with_value(value));
        }
        Ok(())
    }
}

pub(super) struct RangeDump {
    pub(super) rows: KeyValues<String, Text>,
    pub(super) range: (String, String),
}

impl Processor<Text, Text, Text, Text> for RangeDump {
    fn process(&mut self, record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        let Some(key) = &record.key else {
            return Ok(());
        };
        let direction = match record.value.as_deref() {
            Some("?") => Direction::Forward,
            Some("??") => Direction::Backward,
            _ => return self.rows.put(to, key, &record.value),
        };
        let (low, high) = self.range.clone();
        let rows = self
            .rows
            .range(to, low..=high, direction)?
            .collect::<Result<Vec<_>, _>>()?;
        for (key, value) in rows {
            to.forward(record.clone().with_key(Some(key)).with_value(value));
        }
        Ok(())
    }
}

pub(super) struct WindowCount {
    pub(super) windows: Windows<String, Text>,
    pub(super) size_ms: i64,
}

impl Processor<Text, Text, Text, Text> for WindowCount {
    fn process(&mut self, record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        let Some(key) = &record.key else {
            return Ok(());
        };
        let ms = record.timestamp.millis();
        let start = Timestamp::from_millis(ms - ms % self.size_ms);
        let count = number(&self.windows.get(to, key, start)?.flatten()) + 1;
        self.windows.put(to, key, start, &Some(count.to_string()))?;
        to.forward(record.with_value(Some(format!("{start}:{count}"))));
        Ok(())
    }
}

pub(super) struct WindowFetch {
    pub(super) windows: Windows<String, Text>,
    pub(super) reach: Duration,
}

impl Processor<Text, Text, Text, Text> for WindowFetch {
    fn process(&mut self, record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        let Some(key) = &record.key else {
            return Ok(());
        };
        let now = record.timestamp;
        self.windows.put(to, key, now, &record.value)?;
        let from = now.saturating_sub(self.reach).max(Timestamp::from_millis(0));
        let starts = from..=now.saturating_add(self.reach);
        let near = self.windows.fetch(to, key, starts, Direction::Forward)?;
        let near = near
            .map(|row| row.map(|(time, value)| format!("{time}={}", dash(&value))))
            .collect::<Result<Vec<_>, _>>()?;
        to.forward(record.with_value(Some(near.join(","))));
        Ok(())
    }
}
