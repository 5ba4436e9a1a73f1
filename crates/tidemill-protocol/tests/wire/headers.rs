//! The headers: which version goes with which message.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{
    ApiKey as TheirKey, RequestHeader as TheirRequest, ResponseHeader as TheirResponse,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use tidemill_protocol::messages::api_versions::ApiVersionsResponse;
use tidemill_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use tidemill_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use tidemill_protocol::{
    ApiKey, DecodeError, EncodeError, ErrorCode, Piece, Reader, Records, RequestHeader, ResponseHeader,
    Writer, request_frame, response_frame,
};

#[test]
fn header_versions_are_kafkas() {
    for key in ApiKey::ALL {
        let their_key = TheirKey::try_from(i16::from(key)).unwrap();
        for version in key.versions() {
            let header = RequestHeader {
                api_key: key.into(),
                api_version: version,
                correlation_id: 77,
                client_id: Some("tide".into()),
            };
            let mut writer = Writer::new();
            header.encode(&mut writer);
            let bytes = writer.finish().unwrap().into_bytes();
            let mut rest = bytes.clone();
            let theirs = TheirRequest::decode(&mut rest, their_key.request_header_version(version)).unwrap();
            assert!(rest.is_empty());
            assert_eq!(
                (theirs.correlation_id, theirs.client_id),
                (77, Some(StrBytes::from_static_str("tide")))
            );
            assert_eq!(RequestHeader::decode(&mut Reader::new(&bytes)), Ok(header));

            let mut writer = Writer::new();
            ResponseHeader { correlation_id: 78 }.encode(&mut writer, key, version);
            let bytes = writer.finish().unwrap().into_bytes();
            let mut rest = bytes.clone();
            let theirs =
                TheirResponse::decode(&mut rest, their_key.response_header_version(version)).unwrap();
            assert!(rest.is_empty());
            assert_eq!(theirs.correlation_id, 78);
            let ours = ResponseHeader::decode(&mut Reader::new(&bytes), key, version);
            assert_eq!(ours, Ok(ResponseHeader { correlation_id: 78 }));
        }
    }
}

#[test]
fn an_unknown_api_is_named() {
    let bytes = Bytes::from_static(&[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    assert_eq!(
        RequestHeader::decode(&mut Reader::new(&bytes)),
        Err(DecodeError::ApiKey(i16::MAX))
    );
}

#[test]
fn an_api_versions_request_from_the_future_can_be_answered() {
    // Key 18, version 9, correlation id 5, no client id, no tagged fields, a body of unknown layout.
    let bytes = Bytes::from_static(&[0, 18, 0, 9, 0, 0, 0, 5, 0xff, 0xff, 0, 1, 2, 3]);
    let header = RequestHeader::decode(&mut Reader::new(&bytes)).unwrap();
    assert_eq!((header.api_version, header.correlation_id), (9, 5));
    let answer = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion,
        ..Default::default()
    };
    let frame = response_frame(&answer, 0, header.correlation_id)
        .unwrap()
        .into_bytes();
    assert_eq!(frame[..], [0, 0, 0, 10, 0, 0, 0, 5, 0, 35, 0, 0, 0, 0]);
}

#[test]
fn frames_say_their_length_and_do_not_copy_records() {
    let records = Bytes::from(vec![9; 100_000]);
    let mut pieces = Records::from(records.clone());
    pieces.push(records.slice(..50_000));
    let partition = PartitionProduceData {
        index: 1,
        records: Some(pieces),
    };
    let topic = TopicProduceData {
        name: "clicks".into(),
        partition_data: vec![partition.clone(), partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        topic_data: vec![topic],
        ..Default::default()
    };
    for version in 3..=12 {
        let mut frame = request_frame(&request, version, 3, None).unwrap();
        let shared = frame
            .pieces()
            .filter(|piece| matches!(piece, Piece::Bytes(bytes) if bytes.as_ptr() == records.as_ptr()))
            .count();
        assert_eq!(shared, 4);
        let whole = frame.clone().into_bytes();
        assert_eq!(
            whole.len() - 4,
            i32::from_be_bytes(whole[..4].try_into().unwrap()) as usize
        );
        // As a socket takes it: by pieces that end anywhere.
        let mut taken = Vec::new();
        while frame.has_remaining() {
            let step = frame.chunk().len().min(33_333);
            taken.extend_from_slice(&frame.chunk()[..step]);
            frame.advance(step);
        }
        assert_eq!(taken, whole);
        let body = whole.slice(4..);
        let mut reader = Reader::new(&body);
        RequestHeader::decode(&mut reader).unwrap();
        let back = tidemill_protocol::Decode::decode(&mut reader, version);
        assert_eq!(back, Ok(request.clone()));
    }
}

#[test]
fn what_the_wire_cannot_say_is_an_error_and_no_broken_frame() {
    let request = HeartbeatRequest {
        group_id: "g".repeat(40_000).into(),
        ..Default::default()
    };
    let refused = request_frame(&request, 3, 1, None).unwrap_err();
    assert_eq!(
        refused,
        EncodeError::TooLong {
            len: 40_000,
            max: 32_767
        }
    );
    assert!(request_frame(&request, 4, 1, None).is_ok());
    assert!(response_frame(&HeartbeatResponse::default(), 4, 1).is_ok());
}
