//! Our side: the same topology as in `tests/interop/handover/Handover.java`.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use tidemill::prelude::*;
use tidemill::{MINUTE, SECOND};

const COUNTS: StoreName<String, i64> = StoreName::new("counts");
const PER_WINDOW: StoreName<Windowed<String>, i64> = StoreName::new("per-window");
const SESSIONS: StoreName<Windowed<String>, i64> = StoreName::new("sessions");
const ROWS: StoreName<String, String> = StoreName::new("rows");
const GROUPS: StoreName<String, i64> = StoreName::new("groups");

/// How long a window is.
pub(super) const WINDOW_MS: i64 = 10_000;
/// The silence that ends a session.
pub(super) const GAP_MS: i64 = 1_000;

/// The application, as either side is told of it on its command line.
#[derive(Clone, Debug)]
pub struct Program {
    /// The cluster.
    pub bootstrap: String,
    /// The `processing.guarantee`.
    pub guarantee: String,
    /// Where it keeps its state: a folder of its own for each side.
    pub state_dir: PathBuf,
    /// The `application.id`, and the beginning of its topics' names.
    pub app: String,
}

impl Program {
    /// Its arguments on a command line; [`parse`](Self::parse) reads them back.
    pub fn arguments(&self) -> Vec<String> {
        vec![
            self.bootstrap.clone(),
            self.guarantee.clone(),
            self.state_dir.display().to_string(),
            self.app.clone(),
        ]
    }

    /// Reads what [`arguments`](Self::arguments) wrote.
    pub fn parse(words: &[String]) -> Result<Self> {
        let [bootstrap, guarantee, state_dir, app] = words else {
            return Err(anyhow!("BOOTSTRAP GUARANTEE STATE_DIR APP"));
        };
        Ok(Self {
            bootstrap: bootstrap.clone(),
            guarantee: guarantee.clone(),
            state_dir: state_dir.into(),
            app: app.clone(),
        })
    }

    pub(super) fn words(&self) -> Topic<String, String> {
        Topic::named(format!("{}-words", self.app))
    }

    pub(super) fn rows(&self) -> Topic<String, String> {
        Topic::named(format!("{}-rows", self.app))
    }

    /// An output: `totals` (by word), `windows` (by `KEY@START`), `sessions` (by `KEY@START-END`) or `groups` (how many
    /// rows of the table name the group).
    pub(super) fn output(&self, name: &str) -> Topic<String, Option<i64>> {
        Topic::named(format!("{}-{name}", self.app))
    }

    fn topology(&self) -> App {
        let app = App::new(self.app.as_str());
        let words = app.stream(&self.words());
        let counts = words.clone().group_by(|_, word| word.clone()).count(&COUNTS);
        counts.to_stream().to(&self.output("totals"));
        words
            .clone()
            .group_by_key()
            .window(Tumbling::of(10 * SECOND).grace(MINUTE))
            .count(&PER_WINDOW)
            .to_stream()
            .select_key(|window, _| format!("{}@{}", window.key, window.start_ms))
            .to(&self.output("windows"));
        words
            .group_by_key()
            .window(Session::gap(SECOND).grace(MINUTE))
            .count(&SESSIONS)
            .to_stream()
            .select_key(|window, _| format!("{}@{}-{}", window.key, window.start_ms, window.end_ms))
            .to(&self.output("sessions"));
        app.table_as(&self.rows(), &ROWS)
            .group_by(|row, group| (group, row.clone()))
            .count(&GROUPS)
            .to_stream()
            .to(&self.output("groups"));
        app
    }

    /// Runs until its standard input ends.
    pub async fn run(&self) -> Result<()> {
        let config = Config::new()
            .bootstrap_servers(&self.bootstrap)
            .state_dir(&self.state_dir)
            .set("processing.guarantee", &self.guarantee)?
            .set("num.stream.threads", 2)?
            .set("auto.offset.reset", "earliest")?;
        let running = self.topology().start(config).await?;
        let asked = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        tokio::select! {
            state = running.ended() => bail!("it ended as {state}: {:?}", running.stop().await),
            _ = asked => {}
        }
        running.stop().await.context("stopping")
    }
}
