//! One run of the pipeline: start everything, read all input, match, report; then go on or stop.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidemill::broker::{Broker, BrokerConfig};
use tidemill::client::{Admin, Produced, Producer};
use tidemill::{Config, ConfigError, Running, Start, State};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::api::Api;
use crate::cursors::Cursors;
use crate::evaluation::Interests;
use crate::feed_server::FeedServer;
use crate::intake::{FeedSource, Intake};
use crate::library::Library;
use crate::matcher::Matcher;
use crate::matching::Catalogue;
use crate::model::{Article, Profile, ReaderId};
use crate::options::Options;
use crate::progress::{Progress, Ticker};
use crate::report::{Report, dead_letters};
use crate::topics::{PROFILES, ROUNDS, STANDINGS};
use crate::{feed_sources, quiet, sample, topics, topology};

const THREADS: usize = 2;
// The least that Apache Kafka allows (`group.min.session.timeout.ms`).
const SESSION_TIMEOUT_MS: u32 = 6_000;
// How often to look whether everything has gone through.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
// How often the progress line looks at the clock.
const TICK: Duration = Duration::from_millis(10);
// How often feeds are asked again while serving; servers mostly answer that nothing changed.
const FEED_INTERVAL: Duration = Duration::from_secs(300);
// How often new clicks and articles lead to new recommendations while serving.
const ROUND_INTERVAL: Duration = Duration::from_secs(2);

/// Runs the pipeline as the options say.
pub async fn run(options: Options) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let data_dir = options.data_dir.as_deref().unwrap_or(scratch.path());
    if let Some(bootstrap) = &options.bootstrap_servers {
        return Pipeline::start(&options, bootstrap, data_dir)
            .await?
            .run(&options)
            .await;
    }
    let broker = Broker::start(BrokerConfig::embedded().with_data_dir(data_dir.join("log"))).await?;
    println!("broker in this process at {}", broker.bootstrap());
    let outcome = Pipeline::start(&options, broker.bootstrap(), data_dir)
        .await?
        .run(&options)
        .await;
    broker.shutdown().await;
    outcome
}

/// Everything that runs, apart from the broker.
struct Pipeline {
    bootstrap: String,
    admin: Admin,
    producer: Producer,
    running: Running,
    matcher: Arc<Matcher>,
    progress: Arc<Progress>,
    intake: Intake,
    feeds: Vec<FeedSource>,
    interests: Interests,
    address: SocketAddr,
    // What the last round was made from: a round with nothing new is left out.
    library: Arc<Library>,
    profiles: BTreeMap<ReaderId, Profile>,
    rounds: i64,
    // Serves for as long as it is kept.
    _feed_server: FeedServer,
}

impl Pipeline {
    async fn start(options: &Options, bootstrap: &str, data_dir: &Path) -> Result<Self> {
        let admin = Admin::connect(bootstrap)?;
        topics::create(&admin).await.context("cannot create the topics")?;
        let producer = Producer::connect(bootstrap)?;
        let cursors = Cursors::load(bootstrap, &admin, producer.clone()).await?;
        let (matcher, progress) = (Arc::new(Matcher::default()), Arc::new(Progress::default()));
        let intake = Intake::new(producer.clone(), cursors, progress.clone())?;
        let config = config(bootstrap, data_dir)?;
        let running = topology::topology(matcher.clone(), progress.clone())
            .start(config)
            .await?;
        let api = Api::new(&running, matcher.clone());
        let address = api
            .start(options.listen)
            .await
            .context("cannot listen for questions")?;
        let (feeds, feed_server) = feed_sources::find(options).await?;
        Ok(Self {
            bootstrap: bootstrap.to_owned(),
            admin,
            producer,
            running,
            matcher,
            progress,
            intake,
            feeds,
            interests: interests(options)?,
            address,
            library: Arc::default(),
            profiles: BTreeMap::new(),
            rounds: 0,
            _feed_server: feed_server,
        })
    }

    async fn run(mut self, options: &Options) -> Result<()> {
        let progress = self.progress.clone();
        let mut ticker = Ticker::new(&progress, Duration::from_millis(options.progress_ms));
        watched(&mut ticker, self.read(options)).await?;
        watched(&mut ticker, self.quiet()).await?;
        watched(&mut ticker, self.round()).await?;
        ticker.print();
        self.report().await?;
        if !options.once {
            println!("serving until Ctrl-C");
            self.serve().await?;
        }
        self.running.stop().await?;
        Ok(())
    }

    /// Sends all input there is.
    async fn read(&mut self, options: &Options) -> Result<()> {
        self.intake.feeds(&self.feeds).await?;
        if let Some(corpus) = &options.corpus {
            self.intake.corpus(corpus).await?;
        }
        match &options.clicks {
            Some(clicks) => self.intake.clicks(clicks).await,
            None if options.uses_samples() => self.intake.sample_clicks(sample::clicks().0).await,
            None => Ok(()),
        }
    }

    /// Waits until all that was sent has gone through.
    async fn quiet(&self) -> Result<()> {
        while quiet::waiting(&self.admin).await? > 0 {
            self.check()?;
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    // Without this, a pipeline that stopped at an error would be waited for without end.
    fn check(&self) -> Result<()> {
        let state = self.running.state();
        ensure!(
            !matches!(state, State::Error | State::NotRunning),
            "the pipeline stopped by itself ({state:?})"
        );
        Ok(())
    }

    /// Builds the catalogue from the stores, and has every reader's recommendations worked out by it.
    async fn round(&mut self) -> Result<()> {
        let profiles: BTreeMap<ReaderId, Profile> =
            self.running.store(&PROFILES).all().await?.into_iter().collect();
        let standings = self.running.store(&STANDINGS).all().await?;
        let mut articles: Vec<Article> = standings
            .into_iter()
            .filter_map(|(_, standing)| standing.published())
            .collect();
        articles.sort_by(|a, b| a.id.cmp(&b.id));
        let same_articles = articles == self.library.articles();
        if same_articles && profiles == self.profiles && self.rounds > 0 {
            return Ok(());
        }
        if !same_articles {
            self.library = tokio::task::spawn_blocking(|| Arc::new(Library::of(articles))).await?;
        }
        self.profiles = profiles;
        self.matcher.replace(Arc::new(Catalogue::of(
            self.library.clone(),
            self.profiles.values(),
        )));
        self.rounds += 1;
        for reader in self.profiles.keys() {
            self.producer
                .send(Produced::to(&ROUNDS, reader, &self.rounds)?)
                .await?;
        }
        self.producer.flush().await?;
        self.quiet().await
    }

    async fn report(&self) -> Result<()> {
        let catalogue = self.matcher.catalogue().context("there has been no round")?;
        let standings = self.running.store(&STANDINGS).all().await?;
        let dropped = standings
            .iter()
            .filter(|(_, standing)| standing.article.is_some() && !standing.repeats.is_empty());
        let dead_letters = dead_letters(&self.bootstrap, &self.admin).await?;
        let report = Report {
            catalogue: &catalogue,
            profiles: &self.profiles,
            interests: &self.interests,
            near_duplicates: dropped.count(),
            dead_letters: &dead_letters,
            address: self.address,
        };
        println!("{report}");
        Ok(())
    }

    /// Asks the feeds again from time to time, and matches anew when something came.
    async fn serve(&mut self) -> Result<()> {
        let mut feeds = every(FEED_INTERVAL);
        let mut rounds = every(ROUND_INTERVAL);
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
                _ = feeds.tick() => self.intake.feeds(&self.feeds).await?,
                _ = rounds.tick() => {
                    self.check()?;
                    self.round().await?;
                }
            }
        }
    }
}

fn config(bootstrap: &str, data_dir: &Path) -> Result<Config, ConfigError> {
    let config = Config::new()
        .bootstrap_servers(bootstrap)
        .state_dir(data_dir.join("state"));
    // A start after a crash waits this long until the group gives up the member that died.
    config
        .set("num.stream.threads", THREADS)?
        .set("session.timeout.ms", SESSION_TIMEOUT_MS)?
        .set("heartbeat.interval.ms", SESSION_TIMEOUT_MS / 3)
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

// Prints progress while something else goes on.
async fn watched<T>(ticker: &mut Ticker<'_>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = sleep(TICK) => ticker.tick(),
        }
    }
}

fn interests(options: &Options) -> Result<Interests> {
    match &options.interests {
        Some(path) => {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            Ok(Interests::read(BufReader::new(file))?)
        }
        None if options.uses_samples() && options.clicks.is_none() => Ok(sample::clicks().1),
        None => Ok(Interests::default()),
    }
}
