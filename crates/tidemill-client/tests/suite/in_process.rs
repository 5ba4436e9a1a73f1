//! The native client and a broker in the same process, without a socket between them.

use std::sync::Arc;
use std::time::Duration;

use tidemill_broker::{Broker, BrokerConfig};
use tidemill_client::{
    Event, NativeTransport, Outgoing, Settings, Start, TopicPartition, TopicSpec, Transport,
};
use tidemill_data::{Headers, Timestamp};

#[test]
fn records_go_both_ways_and_the_broker_stops_with_clients_connected() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broker = runtime.block_on(Broker::start(BrokerConfig::embedded())).unwrap();
    let settings = Settings::from([("bootstrap.servers".to_owned(), broker.bootstrap().to_owned())]);
    let transport = NativeTransport::over(Arc::new(broker.local()), &settings).unwrap();
    transport.create(&[TopicSpec::new("t", 1)]).unwrap();
    let mut writer = transport.writer("w").unwrap();
    let headers = Headers::default();
    let record = Outgoing {
        topic: writer.topic("t").unwrap(),
        partition: 0,
        timestamp: Timestamp::from_millis(1),
        key: None,
        value: Some(b"v"),
        headers: &headers,
    };
    writer.send(&[record; 1000]).unwrap();
    writer.flush().unwrap();
    let mut reader = transport.reader("r").unwrap();
    reader
        .assign(&[(TopicPartition::new("t", 0), Start::Earliest)])
        .unwrap();
    let (mut events, mut read) = (Vec::new(), 0);
    while read < 1000 {
        reader.poll(100, Duration::from_secs(1), &mut events).unwrap();
        for event in events.drain(..) {
            if let Event::Records(batch) = event {
                read += batch.records.len();
            }
        }
    }
    // A Fetch waits there just now.
    runtime.block_on(broker.shutdown());
}
