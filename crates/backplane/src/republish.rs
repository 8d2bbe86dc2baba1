use std::str::FromStr;
use std::time::Duration;

use appointment::{AppointmentId, Country, StoredCountry, Timestamp};

/// The shard in which an earlier version put every appointment that it gave up. It is still read.
const OLD_GIVEN_UP_SHARD: &str = "given_up";

/// What follows the name of a shard in the name of the one for what was given up in it.
const GIVEN_UP_SUFFIX: &str = "#given_up";

/// How long a row belongs to the run that claimed it. Longer than a run; if a run dies in between, the row is due again then.
pub const CLAIM_DURATION: Duration = Duration::from_secs(10);

/// How many rows of a shard are worked on at once.
pub const CLAIMS_AT_ONCE: usize = 16;

/// How many calls a run makes for a row, one after the other: two to the table, and one to the topic between them.
pub const CALLS_PER_CLAIM: u32 = 3;

/// How many shards of the index `pending` each country has. With one, a single partition of the index would take every write.
/// They are the settings `pending_shards_written` and `pending_shards_read`.
///
/// It may grow: first for those who read, and then for those who write. It may shrink in the opposite order, with all shards
/// read until no row is in those that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingShards(u8);

/// The text is not a number of shards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the number of shards must be a whole number from 1 to 32")]
pub struct InvalidShards;

impl PendingShards {
    /// The shard in which an appointment waits for its country, for example `PE#3`.
    ///
    /// It follows from the random part of the id, so it is the same each time. The row keeps it, also when the number
    /// of shards changes.
    #[must_use]
    pub fn of(self, country: StoredCountry, appointment: AppointmentId) -> String {
        let [.., last] = *appointment.as_uuid().as_bytes();
        shard(country.as_str(), last % self.0)
    }

    /// Every shard in which appointments wait for a country.
    pub fn waiting(self, country: Country) -> impl ExactSizeIterator<Item = String> {
        (0..self.0).map(move |number| shard(country.code(), number))
    }

    /// Every shard with appointments of a country that were given up. The last one has those of all countries, from an
    /// earlier version.
    pub fn given_up(self, country: Country) -> impl Iterator<Item = String> {
        let shards = self.waiting(country).map(|shard| given_up_shard(&shard));
        shards.chain(std::iter::once(OLD_GIVEN_UP_SHARD.to_owned()))
    }
}

impl Default for PendingShards {
    /// Four, as in `spin.toml`.
    fn default() -> Self {
        Self(4)
    }
}

impl FromStr for PendingShards {
    type Err = InvalidShards;

    fn from_str(text: &str) -> Result<Self, InvalidShards> {
        match text.parse() {
            Ok(number @ 1..=32) => Ok(Self(number)),
            _ => Err(InvalidShards),
        }
    }
}

fn shard(country: &str, number: u8) -> String {
    format!("{country}#{number}")
}

/// The shard for what was given up in a shard.
pub(crate) fn given_up_shard(shard: &str) -> String {
    format!("{shard}{GIVEN_UP_SUFFIX}")
}

/// Whether what is in this shard was given up.
pub(crate) fn is_given_up(shard: &str) -> bool {
    shard == OLD_GIVEN_UP_SHARD || shard.ends_with(GIVEN_UP_SUFFIX)
}

/// From when, and how often, a command that no country has decided is published again.
///
/// It is the setting `republish_delays_seconds`: whole seconds, separated by commas. The first is the time from the write
/// that creates the state to the first republication: SNS and SQS keep what they took, so it is longer than the queue tries.
/// Each further one is the time to the next. After the last one the command is given up, which is why that one alone is longer
/// than a command and its outcome can be under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepublishSchedule(Vec<Duration>);

/// The text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "republish_delays_seconds must be whole seconds from 1 to 172800, separated by commas, for example 2400,3600,93600"
)]
pub struct InvalidSchedule;

impl RepublishSchedule {
    /// When an appointment that awaits its country from `now` on may first be republished.
    #[must_use]
    pub fn first(&self, now: Timestamp) -> Timestamp {
        now + self.0.first().copied().unwrap_or_default()
    }

    /// When a row is due again after republication number `attempt` (counted from 1), or `None` if there is no such
    /// republication: then the command is given up instead.
    #[must_use]
    pub fn after(&self, attempt: u32, now: Timestamp) -> Option<Timestamp> {
        let position = usize::try_from(attempt).ok()?;
        self.0.get(position).map(|delay| now + *delay)
    }

    /// How many attempts there are, and when the row is due after the last one, for a command that has waited since `since` and
    /// cannot be published by `now`, when its last attempt would be over had each of them been made; `None` until then.
    #[must_use]
    pub fn last_attempt(&self, since: Timestamp, now: Timestamp) -> Option<(u32, Timestamp)> {
        let (last, before) = self.0.split_last()?;
        let is_over = since + before.iter().sum::<Duration>() <= now;
        Some((u32::try_from(before.len()).ok()?, now + *last)).filter(|_| is_over)
    }
}

impl FromStr for RepublishSchedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        text.split(',')
            .map(|seconds| match seconds.trim().parse::<u64>() {
                Ok(seconds @ 1..=172_800) => Ok(Duration::from_secs(seconds)),
                _ => Err(InvalidSchedule),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// How often, and for how long, a country is asked about an appointment that was given up.
///
/// It is the setting `given_up_schedule_seconds`: the interval, a slash, and for how long: as long as dead letters are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUpSchedule {
    interval: Duration,
    publications: u32,
}

/// The text is not such a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("given_up_schedule_seconds must be an interval and a longer time in whole seconds, for example 3600/1209600")]
pub struct InvalidGivenUpSchedule;

impl GivenUpSchedule {
    /// When a row that is given up `now` is first due.
    #[must_use]
    pub fn first(self, now: Timestamp) -> Timestamp {
        now + self.interval
    }

    /// When a row is due again after publication number `attempt` (counted from 1), or `None` if there were enough.
    #[must_use]
    pub fn after(self, attempt: u32, now: Timestamp) -> Option<Timestamp> {
        (attempt <= self.publications).then(|| now + self.interval)
    }
}

impl FromStr for GivenUpSchedule {
    type Err = InvalidGivenUpSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidGivenUpSchedule> {
        let (interval, period) = text.split_once('/').ok_or(InvalidGivenUpSchedule)?;
        let [interval, period] =
            [interval, period].map(|seconds| seconds.parse::<u32>().map_err(|_| InvalidGivenUpSchedule));
        let (interval, period) = (interval?, period?);
        match period.checked_div(interval) {
            Some(publications @ 1..) => Ok(Self { interval: Duration::from_secs(interval.into()), publications }),
            _ => Err(InvalidGivenUpSchedule),
        }
    }
}
