//! A run: instances started and killed, records written, and what came out read back.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tidemill::Response;

use super::instance::Instance;
use super::outputs::{Inputs, Outputs, create_topics};
use super::verdict::{Guarantee, Verdict};
use super::{Chance, Names, Worker};

/// What to do.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The binary that runs a [`Worker`] when its first argument is `worker`.
    pub program: PathBuf,
    /// The cluster.
    pub bootstrap: String,
    /// What must hold.
    pub guarantee: Guarantee,
    /// Who the instances are to their group.
    pub membership: Membership,
    /// How many processes at a time.
    pub instances: usize,
    /// How often one of them is killed.
    pub rounds: u32,
    /// Records written between two kills.
    pub records_a_round: u64,
    /// Which process dies when.
    pub seed: u64,
}

/// Who an instance is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// A new member every time: what a killed one had is free when its session has timed out.
    Dynamic,
    /// The same member every time (`group.instance.id`).
    Static,
}

/// Runs the program under faults, and gives what readers of committed records saw of it.
pub async fn run(faults: &Faults) -> Result<Verdict> {
    let dir = tempfile::tempdir()?;
    let names = Names {
        app: format!("faults-{}-{}", faults.seed, std::process::id()),
    };
    create_topics(&faults.bootstrap, &names).await?;
    let mut instances = Vec::new();
    for n in 0..faults.instances {
        let worker = Worker {
            bootstrap: faults.bootstrap.clone(),
            names: names.clone(),
            state_dir: dir.path().join(format!("state-{n}")),
            guarantee: faults.guarantee,
            on_failure: Response::ShutdownClient,
            member: (faults.membership == Membership::Static).then(|| format!("member-{n}")),
        };
        let log = dir.path().join(format!("instance-{n}.log"));
        instances.push(Instance::start(&faults.program, worker, log)?);
    }
    let outcome = kill_in_rounds(faults, &names, &mut instances).await;
    outcome.with_context(|| {
        let tails: Vec<String> = instances.iter().map(Instance::tail).collect();
        format!("the instances said:\n{}", tails.join("\n--\n"))
    })
}

async fn kill_in_rounds(faults: &Faults, names: &Names, instances: &mut [Instance]) -> Result<Verdict> {
    let mut inputs = Inputs::open(&faults.bootstrap, names)?;
    let mut outputs = Outputs::open(&faults.bootstrap, names).await?;
    let mut chance = Chance::new(faults.seed);
    for round in 1..=faults.rounds {
        inputs.write(faults.records_a_round).await?;
        // Anywhere between the first record of this round and the last.
        let seen = inputs.written - faults.records_a_round + chance.below(faults.records_a_round);
        outputs.read_until(seen, || all_alive(instances)).await?;
        let victim = chance.below(instances.len() as u64) as usize;
        let victim = instances.get_mut(victim).context("there are instances")?;
        victim.kill_and_start_again(&faults.program)?;
        let written = inputs.written;
        eprintln!("round {round}: killed with {seen} of {written} records copied");
    }
    let written = inputs.written;
    outputs.read_until(written, || all_alive(instances)).await?;
    outputs
        .read_totals_until(written, || all_alive(instances))
        .await?;
    for instance in instances {
        instance.stop().await?;
    }
    outputs.verdict.written = written;
    Ok(outputs.verdict)
}

fn all_alive(instances: &mut [Instance]) -> Result<()> {
    instances.iter_mut().try_for_each(Instance::check_alive)
}
