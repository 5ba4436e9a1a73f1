//! Short runs under faults: three instances as processes, killed with signal 9 one after the other. `cargo xtask faults`
//! is the long form.

use std::path::Path;

use tidemill::broker::{Broker, BrokerConfig};
use tidemill_tests::faults::{Faults, Guarantee, Membership, run};

async fn kill_three_times(guarantee: Guarantee, membership: Membership) {
    let broker = Broker::start(BrokerConfig::embedded()).await.unwrap();
    let faults = Faults {
        program: Path::new(env!("CARGO_BIN_EXE_faults")).to_owned(),
        bootstrap: broker.bootstrap().to_owned(),
        guarantee,
        membership,
        instances: 3,
        rounds: 3,
        records_a_round: 1_000,
        seed: 3,
    };
    let verdict = run(&faults).await.unwrap();
    assert_eq!(verdict.written, 3_000);
    assert_eq!(verdict.complaints(guarantee), [] as [&str; 0]);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_killed_at_random_lose_nothing() {
    kill_three_times(Guarantee::AtLeastOnce, Membership::Dynamic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_killed_at_random_count_everything_exactly_once() {
    kill_three_times(Guarantee::ExactlyOnce, Membership::Static).await;
}
