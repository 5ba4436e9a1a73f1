//! Transactions: all of it or nothing, and one producer for an id.

use std::time::Duration;

use tidemill_client::{Start, TransactionError, TransactionSettings, TransactionalWriter};

use super::clusters::{Cluster, at, caught_up, on_each, poll_until, send, values};

fn writer(cluster: &Cluster, id: &str) -> Box<dyn TransactionalWriter> {
    let settings = TransactionSettings {
        id: id.into(),
        timeout: Duration::from_secs(60),
    };
    cluster.transport.transactional_writer("t", &settings).unwrap()
}

fn visible(cluster: &Cluster) -> Vec<String> {
    let end = cluster.transport.end_offsets(&[at("t", 0)]).unwrap()[0];
    let mut reader = cluster.reader(&[(at("t", 0), Start::Earliest)]);
    let events = poll_until(&mut reader, cluster.name, |events| {
        caught_up(events, &at("t", 0)).is_some_and(|at| at >= end)
    });
    values(&events)
}

#[test]
fn a_committed_transaction_is_seen_and_an_aborted_one_is_not() {
    on_each(|cluster| {
        cluster.topic("t", 1);
        let mut writer = writer(cluster, "tx");
        for (round, commit) in [("a", true), ("b", false), ("c", true), ("d", false), ("e", true)] {
            writer.begin().unwrap();
            send(&mut *writer, &at("t", 0), &[round, round]);
            if commit {
                writer.commit().unwrap();
            } else {
                writer.flush().unwrap();
                writer.abort().unwrap();
            }
        }
        assert_eq!(
            visible(cluster),
            ["a", "a", "c", "c", "e", "e"],
            "{}",
            cluster.name
        );
    });
}

#[test]
fn what_was_not_even_sent_is_aborted_too_and_an_empty_transaction_may_end() {
    on_each(|cluster| {
        cluster.topic("t", 1);
        let mut writer = writer(cluster, "tx");
        writer.abort().unwrap();
        writer.begin().unwrap();
        writer.commit().unwrap();
        writer.begin().unwrap();
        send(&mut *writer, &at("t", 0), &["never"]);
        writer.abort().unwrap();
        writer.begin().unwrap();
        send(&mut *writer, &at("t", 0), &["a"]);
        writer.commit().unwrap();
        assert_eq!(visible(cluster), ["a"], "{}", cluster.name);
    });
}

#[test]
fn a_second_producer_fences_the_first_and_aborts_what_it_left_open() {
    on_each(|cluster| {
        cluster.topic("t", 1);
        let mut first = writer(cluster, "tx");
        first.begin().unwrap();
        send(&mut *first, &at("t", 0), &["lost"]);
        first.flush().unwrap();
        let mut second = writer(cluster, "tx");
        let outcome = first.commit();
        assert!(
            matches!(outcome, Err(TransactionError::Fenced { .. })),
            "{}: {outcome:?}",
            cluster.name
        );
        second.begin().unwrap();
        send(&mut *second, &at("t", 0), &["a"]);
        second.commit().unwrap();
        assert_eq!(visible(cluster), ["a"], "{}", cluster.name);
    });
}
