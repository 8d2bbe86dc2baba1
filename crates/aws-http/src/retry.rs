//! When a call is tried again, and after how long.

use std::time::Duration;

/// What the caller knows about sending the same request twice.
///
/// An attempt that certainly did nothing (the host was never reached, the service throttled it or lost a write conflict)
/// is repeated under either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Executing the call twice does no harm: it reads, is conditional, carries a client token, or its receiver takes
    /// duplicates. It is repeated also if the first response was lost.
    Safe,
    /// The call may be executed once only, so it is repeated only if the first attempt certainly did nothing.
    OnlyIfNotSent,
}

/// How often, and with which pauses.
///
/// Pauses are exponential with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog; "Timeouts, retries
/// and backoff with jitter", Amazon Builders' Library): the n-th lasts a random part of `base * 2^(n-1)`, at most `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included; 0 counts as 1.
    pub attempts: u32,
    /// Upper bound of the first pause.
    pub base: Duration,
    /// Upper bound of any pause.
    pub cap: Duration,
}

impl RetryPolicy {
    /// One attempt, no retry.
    pub const NONE: Self = Self { attempts: 1, base: Duration::ZERO, cap: Duration::ZERO };

    /// The pause after the `failed`-th attempt (counted from 1), or `None` after the last.
    pub(crate) fn pause_after(&self, failed: u32) -> Option<Duration> {
        (failed < self.attempts).then(|| self.ceiling_after(failed).mul_f64(fastrand::f64()))
    }

    fn ceiling_after(&self, failed: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failed.saturating_sub(1));
        self.base.saturating_mul(factor).min(self.cap)
    }
}

impl Default for RetryPolicy {
    /// Three attempts, pauses of up to 50 ms and 100 ms (the SDKs' base for DynamoDB is 25 to 50 ms).
    fn default() -> Self {
        Self { attempts: 3, base: Duration::from_millis(50), cap: Duration::from_secs(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_stay_below_their_ceiling() {
        let policy = RetryPolicy { attempts: 6, base: Duration::from_millis(50), cap: Duration::from_millis(300) };
        let ceilings: Vec<_> = (1..=5).map(|failed| policy.ceiling_after(failed).as_millis()).collect();
        assert_eq!(ceilings, [50, 100, 200, 300, 300]);
        for failed in 1..=5 {
            for _ in 0..100 {
                assert!(policy.pause_after(failed).is_some_and(|pause| pause <= policy.ceiling_after(failed)));
            }
        }
        assert_eq!(policy.pause_after(6), None);
        assert_eq!(RetryPolicy::NONE.pause_after(1), None);
    }
}
