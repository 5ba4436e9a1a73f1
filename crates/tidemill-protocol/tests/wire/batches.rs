//! Record batches against the `kafka-protocol` crate, and against bytes that were bent.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression as TheirCompression, Record as TheirRecord, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType as TheirTimestampType,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tidemill_protocol::batch::{Batch, BatchBuilder, Batches, Header, ProducerStamp, count_records};
use tidemill_protocol::compression::Compression;

#[derive(Debug, Clone)]
struct Sample {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn sample() -> impl Strategy<Value = Sample> {
    let bytes = || option::of(vec(any::<u8>(), 0..100));
    let headers = vec(("[a-zé]{0,9}", option::of(vec(any::<u8>(), 0..9))), 0..4);
    (0i64..1 << 45, bytes(), bytes(), headers).prop_map(|(timestamp, key, value, headers)| Sample {
        timestamp,
        key,
        value,
        headers,
    })
}

fn build(samples: &[Sample], codec: Compression, stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(codec).producer(stamp);
    for sample in samples {
        let headers: Vec<Header<'_>> = sample
            .headers
            .iter()
            .map(|(key, value)| Header {
                key: key.as_bytes(),
                value: value.as_deref(),
            })
            .collect();
        builder.push(
            sample.timestamp,
            sample.key.as_deref(),
            sample.value.as_deref(),
            headers,
        );
    }
    builder.build()
}

fn read(bytes: &[u8]) -> Vec<(i64, Sample)> {
    let mut all = Vec::new();
    for batch in Batches::new(bytes) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        batch.check_lengths().unwrap();
        let payload = batch.payload(1 << 24).unwrap();
        for record in batch.records(&payload) {
            let record = record.unwrap();
            let headers = record.headers.map(|header| {
                (
                    String::from_utf8(header.key.to_vec()).unwrap(),
                    header.value.map(<[u8]>::to_vec),
                )
            });
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            all.push((
                record.offset,
                Sample {
                    timestamp: record.timestamp,
                    key,
                    value,
                    headers: headers.collect(),
                },
            ));
        }
    }
    all
}

fn fields(sample: &Sample) -> impl PartialEq + std::fmt::Debug + '_ {
    (sample.timestamp, &sample.key, &sample.value, &sample.headers)
}

fn theirs(samples: &[Sample], stamp: ProducerStamp) -> Vec<TheirRecord> {
    let record = |(at, sample): (usize, &Sample)| TheirRecord {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: stamp.id,
        producer_epoch: stamp.epoch,
        timestamp_type: TheirTimestampType::Creation,
        offset: at as i64,
        sequence: stamp.base_sequence + at as i32,
        timestamp: sample.timestamp,
        key: sample.key.clone().map(Bytes::from),
        value: sample.value.clone().map(Bytes::from),
        headers: sample
            .headers
            .iter()
            .map(|(key, value)| (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from)))
            .collect(),
    };
    samples.iter().enumerate().map(record).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn records_come_back_with_order_and_duplicates(samples in vec(sample(), 1..20), codec in 0i16..5) {
        let codec = Compression::from_id(codec).unwrap();
        let stamp = ProducerStamp { id: 5, epoch: 1, base_sequence: 0 };
        let back = read(&build(&samples, codec, stamp));
        prop_assert_eq!(back.len(), samples.len());
        for (at, (offset, record)) in back.iter().enumerate() {
            prop_assert_eq!(*offset, at as i64);
            prop_assert_eq!(fields(record), fields(&samples[at]));
        }
    }

    #[test]
    fn uncompressed_batches_are_the_other_codecs_bytes(mut samples in vec(sample(), 1..20)) {
        for sample in &mut samples {
            // The other codec keeps headers in a map.
            sample.headers.sort();
            sample.headers.dedup_by(|a, b| a.0 == b.0);
        }
        // It takes the smallest timestamp as the base where Kafka takes the first one.
        samples.sort_by_key(|sample| sample.timestamp);
        let stamp = ProducerStamp { id: 5, epoch: 1, base_sequence: 40 };
        let ours = build(&samples, Compression::None, stamp);
        let records = theirs(&samples, stamp);
        let mut encoded = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: TheirCompression::None };
        RecordBatchEncoder::encode(&mut encoded, &records, &options).unwrap();
        prop_assert_eq!(&ours[..], &encoded[..]);
        let decoded = RecordBatchDecoder::decode(&mut ours.clone()).unwrap();
        prop_assert_eq!(decoded.records, records);
    }

    #[test]
    fn bent_records_are_errors_or_records_but_no_more_than_fit(
        samples in vec(sample(), 1..6),
        bends in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        codec in 0i16..5,
    ) {
        let codec = Compression::from_id(codec).unwrap();
        let stamp = ProducerStamp { id: 5, epoch: 1, base_sequence: 0 };
        let mut bytes = build(&samples, codec, stamp).to_vec();
        for (at, byte) in bends {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let Ok(batch) = Batch::parse(&bytes) else { return Ok(()) };
        let Ok(payload) = batch.payload(1 << 20) else { return Ok(()) };
        prop_assert!(payload.len() <= 1 << 20 || codec == Compression::None);
        let counted = count_records(&payload);
        let mut read = 0;
        for record in batch.records(&payload) {
            let Ok(record) = record else { break };
            prop_assert!(record.headers.count() <= payload.len() / 2);
            read += 1;
        }
        prop_assert!(read <= payload.len() / 7);
        if let Ok(counted) = counted {
            prop_assert!(read <= counted);
        }
    }

    #[test]
    fn decompression_of_noise_stays_below_the_limit(noise in vec(any::<u8>(), 0..300), codec in 1i16..5, limit in 0usize..5_000) {
        let mut out = Vec::new();
        let done = Compression::from_id(codec).unwrap().decompress(&noise, limit, &mut out);
        prop_assert!(out.len() <= limit + 1);
        prop_assert!(done.is_err() || out.len() <= limit);
    }
}
