//! A transactional producer whose epochs run out goes on under another producer id.

use super::*;

/// The last epoch a producer may have: 32767 is kept, to fence it with.
const LAST_EPOCH: i16 = i16::MAX - 1;
/// Requests sent before their answers are read.
const PIPELINED: usize = 500;

/// A producer with the last epoch of its id, reached as in life: one instance after the other begins.
async fn at_last_epoch(client: &mut Client, speaks: Speaks) -> Producer {
    let mut producer = Producer::begin(client, "writer", speaks).await;
    let first = producer.id;
    while producer.epoch < LAST_EPOCH {
        let left = usize::try_from(LAST_EPOCH - producer.epoch).unwrap();
        let count = left.min(PIPELINED);
        let numbers = client.send_all(&init("writer"), speaks.init, count).await;
        for number in numbers {
            let answer = client
                .receive_for::<InitProducerIdRequest>(number, speaks.init)
                .await;
            let expected = (ErrorCode::None, first, producer.epoch + 1);
            assert_eq!(
                (answer.error_code, answer.producer_id, answer.producer_epoch),
                expected
            );
            producer.epoch = answer.producer_epoch;
        }
    }
    producer
}

#[tokio::test]
async fn an_instance_that_finds_no_epoch_left_is_given_another_producer_id() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut last = at_last_epoch(&mut client, CLASSIC).await;
    last.send(&mut client, "t", "a").await;
    last.end(&mut client, true).await;
    last.send(&mut client, "t", "lost").await;

    // The next instance aborts what the last one left open, and has an id of its own.
    let mut next = loop {
        let answer = client.call(&init("writer"), CLASSIC.init).await;
        if answer.error_code != ErrorCode::ConcurrentTransactions {
            break answer;
        }
    };
    assert_eq!((next.error_code, next.producer_epoch), (ErrorCode::None, 0));
    assert_ne!(next.producer_id, last.id);
    let mut producer = Producer {
        id: next.producer_id,
        epoch: 0,
        sequence: 0,
        ..last
    };
    producer.send(&mut client, "t", "b").await;
    producer.end(&mut client, true).await;
    assert_eq!(committed(&mut client, "t").await, ["a", "b"]);

    assert_eq!(
        last.add(&mut client, "t").await,
        ErrorCode::InvalidProducerIdMapping
    );
    let fenced = last.try_send(&mut client, "t", "late").await;
    assert_eq!(fenced, ErrorCode::InvalidProducerIdMapping);
    next = client.call(&init("writer"), CLASSIC.init).await;
    assert_eq!(
        (next.producer_id, next.producer_epoch),
        (producer.id, 1),
        "the new id has all its epochs before it"
    );
}

#[tokio::test]
async fn a_transaction_of_the_last_epoch_ends_with_another_producer_id() {
    let (_broker, mut client) = pair().await;
    client.create("t", 1, &[]).await;
    let mut producer = at_last_epoch(&mut client, NEW).await;
    let last = producer.id;
    producer.send(&mut client, "t", "a").await;
    let answer = producer.try_end(&mut client, true).await;
    assert_eq!((answer.error_code, answer.producer_epoch), (ErrorCode::None, 0));
    assert_ne!(answer.producer_id, last);
    let again = producer.try_end(&mut client, true).await;
    assert_eq!(
        (again.error_code, again.producer_id, again.producer_epoch),
        (ErrorCode::None, answer.producer_id, 0),
        "a retry is told the same"
    );
    let late = producer.try_send(&mut client, "t", "late").await;
    assert_eq!(late, ErrorCode::InvalidProducerIdMapping);

    (producer.id, producer.epoch, producer.sequence) = (answer.producer_id, 0, 0);
    producer.send(&mut client, "t", "dropped").await;
    producer.end(&mut client, false).await;
    assert_eq!((producer.id, producer.epoch), (answer.producer_id, 1));
    producer.send(&mut client, "t", "b").await;
    producer.end(&mut client, true).await;
    assert_eq!(committed(&mut client, "t").await, ["a", "b"]);
}
