use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// How long each call of a [`Client`](crate::Client) took. Clones share it.
///
/// Reading the clock is a call to the Wasm host, and a client makes one for each of its calls in any case. A call that begins alone
/// reads the clock; this is also the end of the calls before it. Of calls that run side by side, each but the last reads the clock at
/// its own end. The last one ends when the calls are listed ([`calls`](Self::calls)).
#[derive(Clone, Default)]
pub struct CallLog(Arc<Mutex<Calls>>);

/// A call, with all its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedCall {
    /// The service and its operation, such as `dynamodb.PutItem`.
    pub name: String,
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
}

#[derive(Default)]
struct Calls {
    calls: Vec<Call>,
    /// The last reading of the clock.
    read: Option<SystemTime>,
    /// Nothing was waited for since then.
    is_now: bool,
    /// How many calls began without a reading of the clock; the clock is read at the end of as many.
    owed: usize,
}

struct Call {
    name: String,
    started: SystemTime,
    ended: Ended,
}

#[derive(PartialEq, Eq)]
enum Ended {
    Not,
    /// Before the next reading of the clock.
    Since,
    At(SystemTime),
}

impl CallLog {
    /// The log of a request that arrived at this reading of the clock. Its first call begins then, unless the request waits for
    /// something before ([`waited`](Self::waited)).
    #[must_use]
    pub fn since(arrived: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(Calls { read: Some(arrived), is_now: true, ..Calls::default() })))
    }

    /// Says that time has passed since the clock was read.
    pub fn waited(&self) {
        self.lock().is_now = false;
    }

    /// The calls in the order in which they began. Those whose end is not known yet end `now`.
    #[must_use]
    pub fn calls(&self, now: SystemTime) -> Vec<LoggedCall> {
        let log = self.lock();
        let ended = |call: &Call| match call.ended {
            Ended::At(at) => at,
            Ended::Not | Ended::Since => now,
        };
        let told = |call: &Call| LoggedCall { name: call.name.clone(), started: call.started, ended: ended(call) };
        log.calls.iter().map(told).collect()
    }

    /// Ends the calls that are over. For use before something that is not a call, such as a pause.
    pub fn settle(&self) {
        self.lock().settle(SystemTime::now());
    }

    /// Begins a call, which ends when the guard is dropped.
    pub(crate) fn begin(&self, service: &str, operation: &str) -> Running<'_> {
        let mut log = self.lock();
        let is_now = mem::take(&mut log.is_now);
        let started = match log.read {
            Some(read) if is_now => read,
            Some(read) if log.calls.iter().any(|call| call.ended == Ended::Not) => {
                log.owed += 1;
                read
            }
            _ => log.settle(SystemTime::now()),
        };
        log.calls.push(Call { name: format!("{service}.{operation}"), started, ended: Ended::Not });
        Running { log: self, index: log.calls.len() - 1, started }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    fn settle(&mut self, now: SystemTime) -> SystemTime {
        for call in self.calls.iter_mut().filter(|call| call.ended == Ended::Since) {
            call.ended = Ended::At(now);
        }
        self.read = Some(now);
        self.is_now = false;
        now
    }

    fn end(&mut self, index: usize) {
        if let Some(call) = self.calls.get_mut(index) {
            call.ended = Ended::Since;
        }
        if self.owed > 0 && self.calls.iter().any(|call| call.ended == Ended::Not) {
            self.owed -= 1;
            self.settle(SystemTime::now());
        }
    }
}

/// A call that is under way.
pub(crate) struct Running<'a> {
    log: &'a CallLog,
    index: usize,
    pub(crate) started: SystemTime,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.log.lock().end(self.index);
    }
}

impl fmt::Debug for CallLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CallLog").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    const STEP: Duration = Duration::from_millis(5);

    #[test]
    fn a_call_ends_where_the_next_one_begins_and_the_last_one_when_it_is_told() {
        let log = CallLog::default();
        let first = log.begin("dynamodb", "PutItem");
        sleep(STEP);
        drop(first);
        let second = log.begin("sns", "Publish");
        drop(second);
        let now = SystemTime::now() + STEP;
        let calls = log.calls(now);
        assert_eq!(
            calls.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(),
            ["dynamodb.PutItem", "sns.Publish"]
        );
        assert_eq!((calls[0].ended, calls[1].ended), (calls[1].started, now));
        assert!(calls[0].started + STEP <= calls[0].ended);
    }

    #[test]
    fn the_first_call_begins_with_the_request_where_nothing_was_waited_for() {
        let arrived = SystemTime::now() - STEP;
        let log = CallLog::since(arrived);
        drop(log.begin("dynamodb", "PutItem"));
        drop(log.begin("sns", "Publish"));
        let late = CallLog::since(arrived);
        late.waited();
        drop(late.begin("dynamodb", "PutItem"));
        let now = SystemTime::now();
        assert_eq!(log.calls(now)[0].started, arrived);
        assert!(arrived + STEP <= log.calls(now)[1].started);
        assert!(arrived + STEP <= late.calls(now)[0].started);
    }

    #[test]
    fn of_calls_side_by_side_the_first_to_end_has_an_end_of_its_own() {
        let log = CallLog::default();
        let (announcement, slot) = (log.begin("events", "PutEvents"), log.begin("dynamodb", "UpdateItem"));
        drop(slot);
        sleep(STEP);
        drop(announcement);
        let now = SystemTime::now();
        let calls = log.calls(now);
        assert_eq!(calls[0].started, calls[1].started);
        assert_eq!(calls[0].ended, now);
        assert!(calls[1].ended + STEP <= now);
    }

    #[test]
    fn a_pause_belongs_to_no_call() {
        let log = CallLog::default();
        drop(log.begin("dynamodb", "GetItem"));
        log.settle();
        sleep(STEP);
        drop(log.begin("dynamodb", "GetItem"));
        let calls = log.calls(SystemTime::now());
        assert!(calls[0].ended + STEP <= calls[1].started);
    }
}
