use tidemill_protocol::batch::Attributes;

use super::*;
use crate::types::LeaderEpoch;

fn header(base_offset: i64, records: i32, timestamp: i64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(base_offset),
        size: 100,
        leader_epoch: LeaderEpoch(0),
        attributes: Attributes(0),
        last_offset_delta: records - 1,
        base_timestamp: Timestamp(timestamp),
        max_timestamp: Timestamp(timestamp),
        producer: None,
    }
}

fn producer(epoch: i16, sequence: i32) -> Producer {
    Producer {
        id: ProducerId(7),
        epoch: ProducerEpoch(epoch),
        base_sequence: (sequence >= 0).then_some(Sequence(sequence)),
    }
}

/// Checks a batch and, when it is to be appended, takes it in at `offset`.
fn offer(
    state: &mut ProducerState,
    p: Producer,
    offset: i64,
    records: i32,
) -> Result<Option<i64>, ProducerError> {
    let header = header(offset, records, offset);
    match state.check(p, &header)? {
        Verdict::Append => {
            state.record(p, &header, None);
            Ok(None)
        }
        Verdict::Duplicate { base_offset, .. } => Ok(Some(base_offset.0)),
    }
}

fn out_of_order(expected: i32, got: i32) -> Result<Option<i64>, ProducerError> {
    let (expected, got) = (Sequence(expected), Sequence(got));
    Err(ProducerError::OutOfOrder {
        producer: ProducerId(7),
        expected,
        got,
    })
}

#[test]
fn the_last_five_batches_are_known_again_and_gaps_are_refused() {
    let mut state = ProducerState::default();
    for n in 0..7 {
        assert_eq!(
            offer(&mut state, producer(0, n * 3), i64::from(n) * 10, 3),
            Ok(None)
        );
    }
    for n in 2..7 {
        assert_eq!(
            offer(&mut state, producer(0, n * 3), 999, 3),
            Ok(Some(i64::from(n) * 10))
        );
    }
    assert_eq!(offer(&mut state, producer(0, 3), 999, 3), out_of_order(21, 3));
    assert_eq!(
        offer(&mut state, producer(0, 18), 999, 2),
        out_of_order(21, 18),
        "another size is another batch"
    );
    assert_eq!(offer(&mut state, producer(0, 22), 999, 1), out_of_order(21, 22));
    assert_eq!(offer(&mut state, producer(0, 21), 999, 1), Ok(None));
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old() {
    let mut state = ProducerState::default();
    assert_eq!(
        offer(&mut state, producer(1, 40), 0, 2),
        Ok(None),
        "unknown producers begin anywhere"
    );
    assert_eq!(offer(&mut state, producer(2, 42), 2, 1), out_of_order(0, 42));
    assert_eq!(offer(&mut state, producer(2, 0), 2, 1), Ok(None));
    let (current, got) = (ProducerEpoch(2), ProducerEpoch(1));
    let fenced = Err(ProducerError::Fenced {
        producer: ProducerId(7),
        current,
        got,
    });
    assert_eq!(offer(&mut state, producer(1, 42), 3, 1), fenced);
    assert_eq!(
        offer(&mut state, producer(2, -1), 3, 1),
        Err(ProducerError::NoSequence {
            producer: ProducerId(7)
        })
    );
}

#[test]
fn sequences_go_on_at_zero_after_the_largest() {
    let mut state = ProducerState::default();
    assert_eq!(offer(&mut state, producer(0, i32::MAX - 1), 0, 4), Ok(None));
    assert_eq!(offer(&mut state, producer(0, i32::MAX - 1), 9, 4), Ok(Some(0)));
    assert_eq!(offer(&mut state, producer(0, 1), 4, 1), out_of_order(2, 1));
    assert_eq!(offer(&mut state, producer(0, 2), 4, 1), Ok(None));
}

#[test]
fn a_snapshot_keeps_the_last_batch_and_the_open_transaction() {
    let mut state = ProducerState::default();
    let mut transactional = header(5, 2, 77);
    transactional.attributes = Attributes(1 << 4);
    let begun = TransactionChange::Begun {
        producer: ProducerId(7),
        first_offset: Offset(5),
    };
    assert_eq!(state.record(producer(3, 8), &transactional, None), Some(begun));
    let bytes = state.snapshot();
    assert_eq!(bytes.len(), 6 + 4 + SNAPSHOT_ENTRY_LEN);
    let mut back = ProducerState::from_snapshot(&bytes).unwrap();
    assert_eq!(back, state);
    assert_eq!(offer(&mut back, producer(3, 8), 99, 2), Ok(Some(5)));
    assert_eq!(
        back.open_transactions().collect::<Vec<_>>(),
        [(ProducerId(7), Offset(5))]
    );

    let marker = Marker {
        committed: false,
        coordinator_epoch: 4,
    };
    let ended = TransactionChange::Ended {
        producer: ProducerId(7),
        first_offset: Offset(5),
        committed: false,
    };
    assert_eq!(
        back.record(producer(3, -1), &header(7, 1, 78), Some(marker)),
        Some(ended)
    );
    for cut in 0..bytes.len() {
        assert_eq!(ProducerState::from_snapshot(&bytes[..cut]), None);
        let mut flipped = bytes.clone();
        flipped[cut] ^= 0x10;
        assert_eq!(ProducerState::from_snapshot(&flipped), None);
    }
}

#[test]
fn idle_producers_are_forgotten_unless_a_transaction_is_open() {
    let mut state = ProducerState::default();
    offer(&mut state, producer(0, 0), 100, 1).unwrap();
    state.expire(Timestamp(149), 50);
    assert!(!state.is_empty());
    state.expire(Timestamp(150), 50);
    assert!(state.is_empty());
    let mut transactional = header(100, 1, 100);
    transactional.attributes = Attributes(1 << 4);
    state.record(producer(0, 0), &transactional, None);
    state.expire(Timestamp(10_000), 50);
    assert!(!state.is_empty());
}

#[test]
fn a_new_epoch_does_not_take_its_batches_for_those_of_the_old() {
    let mut state = ProducerState::default();
    for epoch in 0..2 {
        for n in 0..3 {
            let offset = i64::from(epoch) * 9 + i64::from(n) * 3;
            assert_eq!(offer(&mut state, producer(epoch, n * 3), offset, 3), Ok(None));
        }
    }
    assert_eq!(offer(&mut state, producer(1, 3), 99, 3), Ok(Some(12)));
}

#[test]
fn a_flood_of_producers_is_bounded_and_spares_the_newest_and_open_transactions() {
    let mut state = ProducerState::default();
    let of = |id: i64| Producer {
        id: ProducerId(id),
        ..producer(0, 0)
    };
    let mut open = header(0, 1, 0);
    open.attributes = Attributes(1 << 4);
    state.record(of(0), &open, None);
    for id in 1..=2 * PRODUCERS_MAX as i64 {
        state.record(of(id), &header(id, 1, id), None);
        assert!(state.producers.len() <= PRODUCERS_MAX + 1);
    }
    assert!(state.producers.contains_key(&ProducerId(0)));
    assert!(
        state
            .producers
            .contains_key(&ProducerId(2 * PRODUCERS_MAX as i64))
    );
    assert!(!state.producers.contains_key(&ProducerId(1)));
}
