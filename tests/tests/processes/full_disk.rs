//! A disk on which there is no more room, under RocksDB: a limit on the size of files (`RLIMIT_FSIZE`) lets its writes
//! fail from one moment on, and is taken back.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tidemill::Response;
use tidemill::broker::{Broker, BrokerConfig};
use tidemill_tests::faults::{Guarantee, Inputs, Names, Outputs, Worker, create_topics};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const RECORDS: u64 = 500;

/// The program in a process of its own, whose writes beyond the limit are errors.
struct Program {
    child: Child,
    said: UnboundedReceiver<String>,
}

impl Program {
    fn start(worker: &Worker) -> Self {
        // Whoever does not ignore this signal is killed by it. Ignored stays ignored in what `exec` runs.
        let ignoring = r#"trap '' XFSZ; exec "$0" "$@""#;
        let mut child = Command::new("sh")
            .args(["-c", ignoring, env!("CARGO_BIN_EXE_faults")])
            .args(worker.arguments())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, said) = unbounded_channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, said }
    }

    fn fill_the_disk(&self) {
        self.limit(Some(0));
    }

    fn make_room(&self) {
        self.limit(getrlimit(Resource::Fsize).current);
    }

    fn limit(&self, current: Option<u64>) {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let pid = Pid::from_child(&self.child);
        prlimit(Some(pid), Resource::Fsize, Rlimit { current, maximum }).unwrap();
    }

    /// Waits until it says of which task's store the rows had no room, and where that is.
    async fn says_what_is_full(&mut self, state_dir: &Path) {
        let place = state_dir.join("").display().to_string();
        loop {
            let line = self.said.recv().await.expect("it says so before it ends");
            let parts = [
                ": task ",
                "store counts: ",
                "write of the state",
                &place,
                "File too large",
            ];
            if parts.iter().all(|part| line.contains(part)) {
                return;
            }
        }
    }

    fn check_alive(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        anyhow::ensure!(ended.is_none(), "the program ended with {ended:?}");
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, what it reads and what it writes.
struct World {
    broker: Broker,
    worker: Worker,
    inputs: Inputs,
    outputs: Outputs,
    // Goes last.
    _state: tempfile::TempDir,
}

impl World {
    async fn new(guarantee: Guarantee, on_failure: Response) -> Self {
        let broker = Broker::start(BrokerConfig::embedded()).await.unwrap();
        let (bootstrap, state) = (broker.bootstrap().to_owned(), tempfile::tempdir().unwrap());
        let names = Names {
            app: "full-disk".to_owned(),
        };
        create_topics(&bootstrap, &names).await.unwrap();
        Self {
            inputs: Inputs::open(&bootstrap, &names).unwrap(),
            outputs: Outputs::open(&bootstrap, &names).await.unwrap(),
            worker: Worker {
                bootstrap,
                names,
                state_dir: state.path().to_owned(),
                guarantee,
                on_failure,
                member: None,
            },
            broker,
            _state: state,
        }
    }

    /// Writes more, and waits until all that was written has been copied and counted.
    async fn all_goes_through(&mut self, program: &mut Program) {
        self.inputs.write(RECORDS).await.unwrap();
        let written = self.inputs.written;
        let Self { outputs, .. } = self;
        outputs
            .read_until(written, || program.check_alive())
            .await
            .unwrap();
        outputs
            .read_totals_until(written, || program.check_alive())
            .await
            .unwrap();
    }

    async fn ends_as_promised(mut self, program: Program) {
        program.stop();
        self.outputs.verdict.written = self.inputs.written;
        let complaints = self.outputs.verdict.complaints(self.worker.guarantee);
        assert_eq!(complaints, [] as [&str; 0]);
        self.broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_whose_disk_is_full_is_replaced_until_there_is_room_and_counts_everything_once() {
    let mut world = World::new(Guarantee::ExactlyOnce, Response::ReplaceThread).await;
    let mut program = Program::start(&world.worker);
    world.all_goes_through(&mut program).await;
    program.fill_the_disk();
    world.inputs.write(RECORDS).await.unwrap();
    program.says_what_is_full(&world.worker.state_dir).await;
    program.make_room();
    world.all_goes_through(&mut program).await;
    world.ends_as_promised(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_whose_disk_is_full_stops_and_loses_nothing() {
    let mut world = World::new(Guarantee::AtLeastOnce, Response::ShutdownClient).await;
    let mut program = Program::start(&world.worker);
    world.all_goes_through(&mut program).await;
    program.fill_the_disk();
    world.inputs.write(RECORDS).await.unwrap();
    program.says_what_is_full(&world.worker.state_dir).await;
    assert!(!program.child.wait().unwrap().success());
    drop(program);
    let mut program = Program::start(&world.worker);
    world.all_goes_through(&mut program).await;
    world.ends_as_promised(program).await;
}
