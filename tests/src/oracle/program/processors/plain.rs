//! Processors without state.

use tidemill_data::{BoxError, Timestamp};
use tidemill_streams::{FixedKeyProcessor, FixedKeyRecord, Forward, ForwardValues, Processor, Record};

use super::super::super::functions::{Text, dash};

type To<'a, 'b> = &'a mut Forward<'b, Text, Text>;

pub(super) struct ForwardTwice;

fn marked(value: &Text) -> Text {
    value.as_ref().map(|value| format!("{value}'"))
}

impl Processor<Text, Text, Text, Text> for ForwardTwice {
    fn process(&mut self, record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        to.forward(record.clone());
        let again = marked(&record.value);
        to.forward(record.with_value(again));
        Ok(())
    }
}

impl FixedKeyProcessor<Text, Text, Text> for ForwardTwice {
    fn process(
        &mut self,
        record: FixedKeyRecord<Text, Text>,
        to: &mut ForwardValues<'_, Text, Text>,
    ) -> Result<(), BoxError> {
        to.forward(record.clone());
        let again = marked(&record.value);
        to.forward(record.with_value(again));
        Ok(())
    }
}

pub(super) struct WithTimestamp;

fn at(value: &Text, time: Timestamp) -> Text {
    Some(format!("{}@{}", dash(value), time.millis()))
}

impl Processor<Text, Text, Text, Text> for WithTimestamp {
    fn process(&mut self, record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        let value = at(&record.value, record.timestamp);
        to.forward(record.with_value(value));
        Ok(())
    }
}

impl FixedKeyProcessor<Text, Text, Text> for WithTimestamp {
    fn process(
        &mut self,
        record: FixedKeyRecord<Text, Text>,
        to: &mut ForwardValues<'_, Text, Text>,
    ) -> Result<(), BoxError> {
        let value = at(&record.value, record.timestamp);
        to.forward(record.with_value(value));
        Ok(())
    }
}

pub(super) struct WithStreamTime;

impl Processor<Text, Text, Text, Text> for WithStreamTime {
    fn process(&mut self, record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        let value = at(&record.value, to.stream_time());
        to.forward(record.with_value(value));
        Ok(())
    }
}

pub(super) struct ShiftTimestamp {
    pub(super) by_ms: i64,
}

impl Processor<Text, Text, Text, Text> for ShiftTimestamp {
    fn process(&mut self, mut record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        let shifted = record.timestamp.millis().saturating_add(self.by_ms).max(0);
        record.timestamp = Timestamp::from_millis(shifted);
        to.forward(record);
        Ok(())
    }
}

pub(super) struct AddHeader {
    pub(super) name: String,
    pub(super) value: String,
}

impl Processor<Text, Text, Text, Text> for AddHeader {
    fn process(&mut self, mut record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        record
            .headers
            .push(self.name.as_str(), Some(self.value.clone().into()));
        to.forward(record);
        Ok(())
    }
}

pub(super) struct RemoveHeader {
    pub(super) name: String,
}

impl Processor<Text, Text, Text, Text> for RemoveHeader {
    fn process(&mut self, mut record: Record<Text, Text>, to: To<'_, '_>) -> Result<(), BoxError> {
        record.headers.remove(&self.name);
        to.forward(record);
        Ok(())
    }
}
