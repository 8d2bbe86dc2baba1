//! The time that an exchange has, by a timer of the host that exchanges share one after another.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use ::wasi::clocks::monotonic_clock;

use super::waiting::{Waitable, any};
use crate::transport::Terms;

thread_local! {
    /// The timer of an exchange that is over.
    static KEPT: RefCell<Option<Timer>> = const { RefCell::new(None) };
}

/// The longest that a timer of the host runs: as long as the shortest of the usual limits, so that it serves most exchanges.
const RUNS: Duration = Duration::from_secs(1);

/// Bounds one exchange.
///
/// An exchange takes over the timer of one before, which ends no later than its own time: making a timer is a call of the
/// host, and the exchanges of a request seldom take a second together. Where it ends while the exchange has time left, another
/// one runs for the rest.
pub(super) struct Timer {
    waitable: Waitable,
    /// For how long the host's timer runs in all.
    runs: Duration,
    /// When the exchange began and how long it may take, where that is longer than the timer runs for it.
    longer: Option<(SystemTime, Duration)>,
}

impl Timer {
    pub(super) fn start(terms: &Terms) -> Self {
        let longer = Some((terms.started, terms.limit));
        match KEPT.take() {
            Some(kept) if kept.runs <= terms.limit => Self { longer, ..kept },
            kept => {
                KEPT.set(kept);
                let runs = terms.limit.min(RUNS);
                Self { waitable: timer(runs), runs, longer: longer.filter(|_| runs < terms.limit) }
            }
        }
    }

    /// What to wait for beside the exchange.
    pub(super) fn waitable(&self) -> &Waitable {
        &self.waitable
    }

    /// Whether the exchange's time is over. Asks the host.
    pub(super) fn is_over(&mut self) -> bool {
        if !self.waitable.is_ready() {
            return false;
        }
        let Some((started, limit)) = self.longer.take() else { return true };
        // A clock that was set back gives the exchange its whole time once more, and no more than that.
        let left = limit.saturating_sub(started.elapsed().unwrap_or_default());
        if left.is_zero() {
            return true;
        }
        *self = Self { waitable: timer(left), runs: left, longer: None };
        false
    }

    /// Leaves the timer to the next exchange.
    pub(super) fn keep(self) {
        if let Some(other) = KEPT.replace(Some(self)) {
            other.waitable.leave();
        }
    }
}

/// Waits. No timer that was kept is of use to an exchange after that.
pub(super) async fn sleep(duration: Duration) {
    if let Some(kept) = KEPT.take() {
        kept.waitable.leave();
    }
    let timer = timer(duration);
    loop {
        any(&[&timer]).await;
        if timer.is_ready() {
            return;
        }
    }
}

/// WASI's durations are nanoseconds.
fn timer(duration: Duration) -> Waitable {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Waitable::new(monotonic_clock::subscribe_duration(nanoseconds))
}
