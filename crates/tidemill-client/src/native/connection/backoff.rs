//! How long to wait before the next attempt: longer each time, never the same for everyone.

use std::time::Duration;

/// Exponential, with a bound and ±20 % by a seed, as Kafka's clients since KIP-580.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    attempts: u32,
    seed: u64,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self {
            first,
            max: max.max(first),
            attempts: 0,
            seed,
        }
    }

    /// The wait after one more failure.
    pub(crate) fn next_wait(&mut self) -> Duration {
        const DOUBLINGS_MAX: u32 = 20;
        let doubled = self
            .first
            .saturating_mul(1 << self.attempts.min(DOUBLINGS_MAX))
            .min(self.max);
        self.attempts += 1;
        doubled.mul_f64(0.8 + 0.4 * self.fraction())
    }

    /// It worked: begin anew.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Between 0 and 1, another one each time: splitmix64.
    fn fraction(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 40) as f64 / (1u64 << 24) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_begin_anew() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(1000), 7);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next_wait();
            assert!(
                wait >= ms(expected * 8 / 10) && wait <= ms(expected * 12 / 10),
                "{wait:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_wait() <= ms(120));
    }
}
