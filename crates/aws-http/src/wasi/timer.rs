//! Limits the time of an exchange by a timer of the host, which the next exchange takes over.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use ::wasi::clocks::monotonic_clock;

use super::waiting::{Waitable, any};
use crate::transport::Terms;

thread_local! {
    /// The timer of the last exchange, which is over.
    static KEPT: RefCell<Option<Timer>> = const { RefCell::new(None) };
}

/// The longest that a timer of the host runs. As it is the shortest of the usual limits, most exchanges can use it.
const RUNS: Duration = Duration::from_secs(1);

/// Bounds one exchange.
///
/// An exchange takes over the timer of an earlier one if it ends no later than the exchange's own time. Making a timer is a call to the
/// host, and the exchanges of a request seldom take a second together. If the timer ends while the exchange has time left, another
/// one runs for the rest.
pub(super) struct Timer {
    waitable: Waitable,
    /// For how long the host's timer runs in all.
    runs: Duration,
    /// When the exchange began and how long it may take, if the timer may end before that.
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
        // If the clock was set back, the exchange gets its whole time once more, and no more than that.
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

/// Waits. A timer that was kept is useless after that.
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
