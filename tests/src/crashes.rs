//! Runs under crashes of the broker: a broker in a process of its own, killed with signal 9 again and again while
//! producers, transactions and groups of both protocols work on it. What must hold: nothing acknowledged is lost or
//! doubled, committed offsets never go back, no reader of committed records sees what was aborted or is open, and groups
//! go on.

mod clients;
mod groups;
mod server;
mod verdict;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use server::serve;
pub use verdict::Verdict;

use clients::{Copier, Numbers, Transactions};
use groups::Readers;
use server::Server;

/// Nothing here takes this long; a run in which something does hangs, and says so.
const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;
const NUMBERS: &str = "numbers";
const TRANSACTIONS: &str = "transactions";
const COPIES: &str = "copies";

/// What is run.
#[derive(Debug, Clone)]
pub struct Crashes {
    /// The program that is the broker when it is called with `broker DIR LISTEN`.
    pub program: PathBuf,
    /// How often the broker is killed.
    pub rounds: u32,
    /// Where the random moments come from.
    pub seed: u64,
}

/// What all clients of a run share.
#[derive(Clone)]
struct Run {
    bootstrap: String,
    /// No new work; what was begun is finished.
    stop: Arc<AtomicBool>,
    /// How many numbers have been copied. Who sends numbers does not run far ahead of it, or what is left when the last
    /// round ends would be most of the work, done by one client without a crash.
    copied: Arc<AtomicI64>,
    /// One message for each step of work that is done.
    pulse: Sender<Step>,
}

/// Work that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Records acknowledged, read or copied.
    Records,
    /// A transaction ended.
    Transaction,
}

impl Run {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn step(&self, step: Step) {
        // Nobody counts any more when the run ends.
        let _ = self.pulse.send(step);
    }
}

/// Kills the broker `rounds` times under load, and looks at what is left.
pub fn run(crashes: &Crashes) -> Result<Verdict> {
    let dir = tempfile::tempdir()?;
    let mut server = Server::start(&crashes.program, dir.path())?;
    let (pulse, steps) = mpsc::channel();
    let run = Run {
        bootstrap: server.address().to_owned(),
        stop: Arc::default(),
        copied: Arc::default(),
        pulse,
    };
    verdict::create_topics(&run.bootstrap)?;
    let numbers = Numbers::start(&run);
    let transactions = Transactions::start(&run);
    let copier = Copier::start(&run);
    let readers = ["classic", "consumer"].map(|protocol| Readers::start(&run, protocol));
    let mut random = crashes.seed;
    for round in 0..crashes.rounds {
        // A moment is a number of steps, so that the machine's speed does not matter.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let drawn = usize::try_from(random >> 33).unwrap_or(0);
        wait_for(&steps, 20 + drawn % 200, 1 + drawn % 20).with_context(|| format!("round {round}"))?;
        server.kill()?;
        server.start_again().with_context(|| format!("round {round}"))?;
    }
    wait_for(&steps, 100, 10).context("after the last round")?;
    run.stop.store(true, Ordering::Release);
    let sent = numbers.finish()?;
    let ended = transactions.finish()?;
    copier.finish()?;
    let mut went_back = Vec::new();
    for readers in readers {
        went_back.extend(readers.finish()?);
    }
    verdict::judge(&run.bootstrap, &sent, &ended, went_back)
}

fn wait_for(steps: &Receiver<Step>, records: usize, transactions: usize) -> Result<()> {
    let (mut seen, mut ended) = (0, 0);
    while seen < records || ended < transactions {
        match steps.recv_timeout(PATIENCE) {
            Ok(Step::Records) => seen += 1,
            Ok(Step::Transaction) => ended += 1,
            Err(_) => {
                bail!("nothing moves after {seen} of {records} steps, {ended} of {transactions} transactions")
            }
        }
    }
    // Those that came on their own meanwhile do not count towards the next moment.
    while steps.try_recv().is_ok() {}
    Ok(())
}
