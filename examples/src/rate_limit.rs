//! Who asks too often? Each client has a bucket of tokens that fills up again with time.

use std::fmt::Write as _;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;
use tidemill::streams::{Child, Clock, Forward, KeyValues, Processor, Record};

use crate::{Run, sample::START_MS};

/// Requests by client.
pub const REQUESTS: Topic<String, String> = Topic::new("requests");
/// Those that may pass.
pub const ALLOWED: Topic<String, String> = Topic::new("allowed");
/// Those that may not, with the milliseconds to wait.
pub const DENIED: Topic<String, i64> = Topic::new("denied");
/// The buckets of clients that asked lately.
pub const BUCKETS: StoreName<String, Bucket> = StoreName::new("buckets");

/// Requests at once.
const BURST: i64 = 3;
/// How long until one more is allowed.
const REFILL_MS: i64 = 1_000;
const REFUSED: Child<String, i64> = Child::new("refused");

/// When the bucket will be full again: that says how many tokens are in it now.
#[derive(Clone, Copy, Debug, Default, Data, Serialize, Deserialize)]
#[data(json)]
pub struct Bucket {
    full_at_ms: i64,
}

/// The program.
pub fn compose() -> App {
    let app = App::new("rate-limit");
    // A full bucket needs no row.
    let buckets = app.key_values_with_ttl(&BUCKETS, SECOND * (BURST as u32), Clock::StreamTime);
    let limited = app.stream(&REQUESTS).process_with(buckets, Limiter);
    limited.child(&REFUSED).to(&DENIED);
    limited.to(&ALLOWED);
    app
}

struct Limiter(KeyValues<String, Bucket>);

impl Processor<String, String, String, String> for Limiter {
    fn process(
        &mut self,
        request: Record<String, String>,
        to: &mut Forward<'_, String, String>,
    ) -> Result<(), BoxError> {
        let now = request.timestamp.millis();
        let bucket = self.0.get(to, &request.key)?.unwrap_or_default();
        let full_at_ms = bucket.full_at_ms.max(now) + REFILL_MS;
        let wait_ms = full_at_ms - now - BURST * REFILL_MS;
        if wait_ms > 0 {
            return to.forward_to(&REFUSED, request.with_value(wait_ms));
        }
        self.0.put(to, &request.key, &Bucket { full_at_ms })?;
        to.forward(request);
        Ok(())
    }
}

/// Runs the program over [`SAMPLE`], and tells who may pass.
pub async fn run() -> Result<String> {
    let mut report = String::new();
    let run = Run::start(&compose(), &[]).await?;
    for (client, path, at) in SAMPLE {
        let request = Produced::to(&REQUESTS, &client.to_owned(), &path.to_owned())?;
        run.send([Ok(request.timestamp(START_MS + at))]).await?;
    }
    run.processed().await?;
    writeln!(report, "allowed (topic {})", ALLOWED.name())?;
    for record in run.records(ALLOWED.name()).await? {
        let (client, path) = record.decode(&ALLOWED)?;
        writeln!(
            report,
            "  {:>5} ms: {client} asks for {path}",
            record.timestamp - START_MS
        )?;
    }
    writeln!(report, "refused (topic {})", DENIED.name())?;
    for record in run.records(DENIED.name()).await? {
        let (client, wait_ms) = record.decode(&DENIED)?;
        writeln!(
            report,
            "  {:>5} ms: {client} has to wait {wait_ms} ms",
            record.timestamp - START_MS
        )?;
    }
    run.stop().await?;
    Ok(report)
}

/// Requests, by millisecond.
pub const SAMPLE: [(&str, &str, i64); 8] = [
    ("ann", "/1", 0),
    ("ann", "/2", 100),
    ("ann", "/3", 200),
    ("ann", "/4", 300),
    ("bob", "/1", 400),
    ("ann", "/5", 1_100),
    ("ann", "/6", 1_200),
    ("ann", "/7", 60_000),
];

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill::testing::{TestDriver, ms};

    #[test]
    fn a_burst_passes_and_then_one_request_a_second() {
        let mut t = TestDriver::new(&compose());
        for (client, path, at) in SAMPLE {
            t.pipe(&REQUESTS, client, path, ms(at));
        }
        let allowed: Vec<String> = t
            .read(&ALLOWED)
            .into_iter()
            .map(|record| record.key + &record.value)
            .collect();
        assert_eq!(allowed, ["ann/1", "ann/2", "ann/3", "bob/1", "ann/5", "ann/7"]);
        let waits: Vec<i64> = t.read(&DENIED).into_iter().map(|record| record.value).collect();
        assert_eq!(waits, [700, 800]);
    }
}
