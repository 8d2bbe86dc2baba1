//! Waiting for the country's outcome in place of the client, who would poll (`Prefer: wait=N`, RFC 7240, section 4.3).
//!
//! Whoever waits holds an instance. Therefore waits have places, in the key-value store, which the instances of a host
//! share; a request that finds its place taken gets its response at once, as if it had not asked to wait.

use std::time::{Duration, SystemTime};

use appointment::{Appointment, AppointmentId, InsuredId};
use aws_http::Transport as _;
use backplane::AppointmentsTable;
use edge_component::{Host, KeyValueStore, SettingError, Variables};
use http::HeaderMap;

use crate::context::RequestContext;
use crate::parameters::preferred_wait;
use crate::settings::WAIT_LIMIT_SECONDS;
use crate::shown::is_final;

/// The most that any request may wait.
const MAX_SECONDS: u32 = 10;

/// How many requests may wait at once, an eighth of the embedded host's instances. A request asks for one of the places by
/// chance, so the more are taken, the fewer get one.
const PLACES: u8 = 64;

/// How often the appointment is read at most.
const READS: u32 = 5;

/// How long a request waits for the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) seconds: u32,
}

/// A place among those that wait. Dropping it makes it free.
struct Place<S: KeyValueStore> {
    store: S,
    key: String,
}

impl Wait {
    /// How long this request is to wait, `None` where it does not ask for that or this host does not allow it.
    pub(crate) fn wanted(headers: &HeaderMap, variables: &Variables<impl Host>) -> Result<Option<Self>, SettingError> {
        let Some(seconds) = preferred_wait(headers) else { return Ok(None) };
        let seconds = seconds.min(MAX_SECONDS).min(WAIT_LIMIT_SECONDS.parse::<u32>(variables)?);
        Ok((seconds > 0).then_some(Self { seconds }))
    }

    /// Follows an appointment until it is final or the time is over, and gives it as it was read last; `None` where all places
    /// are taken. `known` says that it may be final already, so it is read before the first pause.
    ///
    /// A read that fails is made again after the next pause: the client is told what is known in any case.
    pub(crate) async fn follow<H: Host>(
        self,
        table: &AppointmentsTable<'_, H::Transport>,
        insured_id: InsuredId,
        appointment_id: AppointmentId,
        known: bool,
        context: &RequestContext<H>,
    ) -> Option<Option<Appointment>> {
        let _place = Place::take(self, context)?;
        let mut last = None;
        for read in 0..READS {
            let pause = if known { read.checked_sub(1) } else { Some(read) };
            if let Some(step) = pause {
                context.calls.settle();
                context.host.transport().sleep(self.pause(step)).await;
            }
            if let Ok(Some(kept)) = table.get(&insured_id, appointment_id).await {
                let done = is_final(&kept.appointment);
                last = Some(kept.appointment);
                if done {
                    break;
                }
            }
        }
        Some(last)
    }

    /// The pauses double, and end with the time that there is: 1 + 2 + 4 + 8 + 16 = 31 parts of it.
    fn pause(self, step: u32) -> Duration {
        Duration::from_secs(u64::from(self.seconds)) * (1 << step) / ((1 << READS) - 1)
    }
}

impl<S: KeyValueStore> Place<S> {
    /// Takes a place, `None` where it is taken or the store does not respond. What a dead instance held is free after its time.
    ///
    /// The store knows no transaction: two requests that ask for the same place in the same instant may both get it, which
    /// makes the bound a soft one.
    fn take<H: Host<Store = S>>(wait: Wait, context: &RequestContext<H>) -> Option<Self> {
        let store = context.host.open_store().ok()?;
        let key = format!("wait/{}", context.entropy.byte() % PLACES);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let taken_until = store.get(&key).ok()?.and_then(|until| Some(u64::from_be_bytes(until.try_into().ok()?)));
        if taken_until.is_some_and(|until| until > now) {
            return None;
        }
        // The reads take time beside the pauses.
        let until = now + 2 * u64::from(wait.seconds) + 1;
        store.set(&key, &until.to_be_bytes()).ok()?;
        Some(Self { store, key })
    }
}

impl<S: KeyValueStore> Drop for Place<S> {
    fn drop(&mut self) {
        // If this fails, the place is free when its time is over.
        let _ = self.store.delete(&self.key);
    }
}
