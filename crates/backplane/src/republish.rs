use std::str::FromStr;
use std::time::Duration;

use appointment::{AppointmentId, Country, Timestamp};

/// How many shards of the index `pending` each country has, so that no partition of the index takes every write.
pub const SHARDS_PER_COUNTRY: u8 = 4;

/// The shard of the index `pending` with the appointments that were given up. The schedule never queries it.
pub const GIVEN_UP_SHARD: &str = "given_up";

/// The shard of the index `pending` in which an appointment waits for its country: `PE#0` to `PE#3`.
///
/// The shard follows from the random part of the id, so that it is the same each time.
#[must_use]
pub fn pending_shard(country: Country, appointment: AppointmentId) -> String {
    let [.., last] = *appointment.as_uuid().as_bytes();
    shard(country, last % SHARDS_PER_COUNTRY)
}

/// Every shard of the index `pending` in which appointments wait for a country.
pub fn pending_shards(country: Country) -> impl ExactSizeIterator<Item = String> {
    (0..SHARDS_PER_COUNTRY).map(move |number| shard(country, number))
}

fn shard(country: Country, number: u8) -> String {
    format!("{}#{number}", country.code())
}

/// From when, and how often, a command that no country has answered is published again.
///
/// It is the setting `republish_delays_seconds`: whole seconds, separated by commas. The first is the time from the write
/// that creates the state to the first republication; each further one is the time to the next; after the last one the
/// command is given up. All together must be longer than the queues try: receive count x visibility timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepublishSchedule(Vec<Duration>);

/// The text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("republish_delays_seconds must be whole seconds from 1 to 86400, separated by commas, for example 60,60,120")]
pub struct InvalidSchedule;

impl RepublishSchedule {
    /// When an appointment that awaits its country from `now` on may first be republished.
    #[must_use]
    pub fn first(&self, now: Timestamp) -> Timestamp {
        now + self.0.first().copied().unwrap_or_default()
    }

    /// When the next turn comes after the one that makes `attempt` (counted from 1) republications, or `None` if that
    /// turn is the last: then the command is given up in place of being published.
    #[must_use]
    pub fn after(&self, attempt: u32, now: Timestamp) -> Option<Timestamp> {
        let position = usize::try_from(attempt).ok()?;
        self.0.get(position).map(|delay| now + *delay)
    }
}

impl FromStr for RepublishSchedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        text.split(',')
            .map(|seconds| match seconds.trim().parse::<u64>() {
                Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
                _ => Err(InvalidSchedule),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}
